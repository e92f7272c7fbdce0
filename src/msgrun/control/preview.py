"""A look at one customer's message before anything leaves; nothing is written or sent."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from uuid import uuid4

from msgrun.control.example import compose_example
from msgrun.delivery.composing import Unsendable
from msgrun.eligibility import RULES, Criteria, verdicts
from msgrun.errors import NotFoundError
from msgrun.ledger.rows import Frozen
from msgrun.model import CONCEPT, ComposedMessage, Envelope, Selection
from msgrun.planning.draft import draft_run
from msgrun.planning.outline import Planned
from msgrun.source import Narrowing
from msgrun.workspace import Workspace, message_id_domain

_NAMED = 5
_PLACES = {rule.code: place for place, rule in enumerate(RULES)}


@dataclass(frozen=True, slots=True)
class PreviewedInvoice:
    """One invoice of the customer.

    Attributes:
        number: as people see it.
        reason: why a run would skip it; None where it would be sent.
    """

    id: str
    number: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Preview:
    """What the customer would get.

    Attributes:
        messages: how many messages the customer would get.
        chosen: the invoices of the message that is shown.
        others: those of the customer's other messages, and those that are skipped.
        envelope, message: the message; None where there is none.
        reason: why there is none: a finding code; None where there is one.
        detail: the same in words, where the code alone does not say it.
        hint: what to do about it.
    """

    definition: str
    customer: str
    period: str | None
    messages: int
    chosen: Sequence[PreviewedInvoice]
    others: Sequence[PreviewedInvoice]
    envelope: Envelope | None = None
    message: ComposedMessage | None = None
    reason: str | None = None
    detail: str = ""
    hint: str = ""


def preview(
    workspace: Workspace,
    name: str,
    customer: str,
    *,
    today: date,
    cluster: str | None = None,
    period: str | None = None,
    invoice: str | None = None,
    again: bool = False,
) -> Preview:
    """Compose the message that a run would send to a customer; nothing is written or sent.

    Args:
        workspace: configuration, database, source.
        name: the definition.
        customer: a code.
        today: from which words such as "previous-month" are seen.
        cluster: None takes the definition's usual one.
        period: likewise.
        invoice: id or number; None takes the first message.
        again: show it even if it was sent before, or another run holds it.

    Raises:
        NotFoundError: no such definition, cluster, customer or invoice.
        PreflightError: from key unknown (MR202), or a template does not compile (MR301).
    """
    frozen = workspace.freeze(name)
    selection = workspace.selection(
        workspace.config.definition(name),
        today=today,
        cluster=cluster,
        period=period,
        customers=[customer],
    )
    criteria = workspace.criteria(frozen, selection, guarded=not again)
    with draft_run(workspace.database, workspace.source, frozen, criteria) as draft:
        planned = list(draft.outline())
    numbers = _numbers(workspace, planned)
    label = selection.period.label if selection.period else None
    sendable = [each for each in planned if each.reason is None]
    empty = Preview(name, customer, label, len(sendable), (), ())
    if not planned:
        reason = _out_of_scope(workspace, criteria, customer)
        return replace(empty, reason=reason, hint=_doctor(customer))
    shown = (sendable or planned)[0] if invoice is None else _with(planned, numbers, invoice)
    told = replace(
        empty,
        chosen=_invoices([shown], numbers),
        others=_invoices([each for each in planned if each is not shown], numbers),
    )
    if shown.reason is not None:
        return replace(told, reason=shown.reason, hint=_hint(shown.reason, customer))
    return _composed(workspace, frozen, selection, shown, told)


def _composed(
    workspace: Workspace, frozen: Frozen, selection: Selection, shown: Planned, told: Preview
) -> Preview:
    domain = message_id_domain(workspace.sender_of(frozen))
    message_id = f"<{uuid4().hex}.{shown.number}@{domain}>"
    made = compose_example(workspace, frozen, selection, shown, message_id)
    if isinstance(made, Unsendable):
        error = made.error
        hint = "; ".join(filter(None, (error.hint, _doctor(told.customer))))
        return replace(told, reason=error.finding, detail=error.message, hint=hint)
    return replace(told, envelope=made.envelope, message=made.message)


def _numbers(workspace: Workspace, planned: Sequence[Planned]) -> dict[str, str]:
    ids = [invoice for each in planned for invoice in each.invoices]
    with workspace.database.read(attach=True) as connection, connection.begin():
        found = workspace.source.numbers(connection, ids)
    return {id_: found[id_].label if id_ in found else CONCEPT for id_ in ids}


def _with(planned: Sequence[Planned], numbers: dict[str, str], wanted: str) -> Planned:
    """Return the message with an invoice, by id or else by number.

    Raises:
        NotFoundError: the customer has none like that here.
    """
    for each in planned:
        if wanted in each.invoices:
            return each
    for each in planned:
        if any(numbers[invoice] == wanted for invoice in each.invoices):
            return each
    known = ", ".join(list(dict.fromkeys(numbers.values()))[:_NAMED])
    customer = planned[0].customer
    raise NotFoundError(
        f"customer '{customer}' has no invoice '{wanted}' in this selection",
        f"there are {known}; --period all looks further",
    )


def _invoices(planned: Sequence[Planned], numbers: dict[str, str]) -> tuple[PreviewedInvoice, ...]:
    return tuple(
        PreviewedInvoice(invoice, numbers[invoice], each.reason)
        for each in planned
        for invoice in each.invoices
    )


def _out_of_scope(workspace: Workspace, criteria: Criteria, customer: str) -> str:
    """Return why nothing of a customer is in scope: of the invoice that comes furthest."""
    database, source = workspace.database, workspace.source
    with database.connect(attach=True) as connection:
        facts = source.live(connection, Narrowing(customers=[customer]))
        with connection.begin():
            found = verdicts(connection, facts, database.tables, criteria, customer)
    reasons = [each.reason for each in found if each.reason is not None]
    return max(reasons, key=lambda code: _PLACES[code], default="MR121")


def _hint(reason: str, customer: str) -> str:
    if reason in {"MR125", "MR126"}:
        return f"--resend shows it all the same; {_doctor(customer)}"
    return _doctor(customer)


def _doctor(customer: str) -> str:
    return f"`msgrun doctor {customer}` walks through it"
