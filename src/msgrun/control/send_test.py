"""One real message to the operator: composed as for a customer, sent as a run would send it."""

import asyncio
import time
from dataclasses import dataclass
from datetime import date
from uuid import uuid4

from msgrun.control.example import compose_example
from msgrun.delivery.composing import Ready
from msgrun.errors import PreflightError
from msgrun.ledger.rows import Frozen
from msgrun.ledger.servers import take_permits
from msgrun.model import ComposedMessage, Envelope, Outcome, Selection
from msgrun.planning.draft import draft_run
from msgrun.preflight import check_funnel, check_sender
from msgrun.workspace import Workspace, message_id_domain


@dataclass(frozen=True, slots=True)
class Tested:
    """What became of a test.

    Attributes:
        customer: whose message was taken as the example.
        invoices: their numbers as people see them.
        to: the operator; nobody else was sent anything.
        size: bytes of the message.
        server: name, host and port of the mail server.
    """

    definition: str
    customer: str
    invoices: tuple[str, ...]
    to: str
    message_id: str
    size: int
    server: str
    outcome: Outcome


def send_test(
    workspace: Workspace,
    name: str,
    to: str,
    *,
    today: date,
    customer: str | None = None,
    cluster: str | None = None,
    period: str | None = None,
) -> Tested:
    """Send the operator what a customer would get, and say what the server answered.

    No run is written and no invoice is taken; blind copies are left out. It costs one permit of
    the server's rate.

    Args:
        workspace: configuration, database, source.
        name: the definition.
        to: the operator's address; the transport sends to no other.
        today: from which words such as "previous-month" are seen.
        customer: a code; None takes the first customer who would get a message.
        cluster: None takes the definition's usual one.
        period: likewise.

    Raises:
        NotFoundError: no such definition, cluster or customer.
        UsageError: there is no period, and no customer either.
        PreflightError: nobody would get a message, or this one cannot be composed.
    """
    frozen = workspace.freeze(name)
    check_sender(workspace, frozen)
    selection = workspace.selection(
        workspace.config.definition(name),
        today=today,
        cluster=cluster,
        period=period,
        customers=[customer] if customer is not None else [],
        redirect_to=to,
    )
    example = _example(workspace, frozen, selection)
    message = example.message
    server, settings = workspace.server_of(frozen)
    _wait_for_permit(workspace, frozen, server)
    outcome = asyncio.run(_sent(workspace, frozen, selection, example.envelope, message))
    return Tested(
        name,
        example.claim.customer,
        example.invoices,
        to,
        message.message_id,
        len(message.data),
        f"{server} ({settings.host}:{settings.port})",
        outcome,
    )


def _example(workspace: Workspace, frozen: Frozen, selection: Selection) -> Ready:
    """Return the first message of such a run.

    Raises:
        PreflightError: there is none, or it cannot be composed.
    """
    criteria = workspace.criteria(frozen, selection)
    with draft_run(workspace.database, workspace.source, frozen, criteria) as draft:
        check_funnel(workspace, frozen, draft.plan)
        planned = next(draft.outline(sendable=True))
    domain = message_id_domain(workspace.sender_of(frozen))
    made = compose_example(workspace, frozen, selection, planned, f"<{uuid4().hex}.test@{domain}>")
    if isinstance(made, Ready):
        return made
    error, code = made.error, planned.customer
    raise PreflightError(
        f"the message for customer '{code}' cannot be composed: {error.message} ({error.finding})",
        f"{error.hint}; `msgrun doctor {code}`",
    ) from error


def _wait_for_permit(workspace: Workspace, frozen: Frozen, server: str) -> None:
    """Wait for the server's rate, which the test shares with runs."""
    database = workspace.database
    every = workspace.interval_of(frozen)
    with database.write() as connection:
        now = database.now(connection)
        (moment,) = take_permits(connection, database.tables, server, 1, every, now)
    time.sleep(max(0.0, (moment - now).total_seconds()))


async def _sent(
    workspace: Workspace,
    frozen: Frozen,
    selection: Selection,
    envelope: Envelope,
    message: ComposedMessage,
) -> Outcome:
    transport = workspace.transport_of(frozen, selection)()

    async def intent() -> bool:
        return True

    try:
        return await transport.send(envelope, message, intent)
    finally:
        await transport.close()
