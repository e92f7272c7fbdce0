"""From claims to bytes: what the source has now, composed beside the event loop."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection

from msgrun.compose.message import compose
from msgrun.delivery.job import Job
from msgrun.errors import ComposeError, DatabaseError
from msgrun.failpoints import reach
from msgrun.ledger.context import context_of
from msgrun.ledger.rows import Claim
from msgrun.model import ComposedMessage, Envelope, MessageContext
from msgrun.source import Source
from msgrun.workspace import Revision


@dataclass(frozen=True, slots=True)
class Ready:
    """A claimed message, composed from `context`. `invoices` are numbers as people see them."""

    claim: Claim
    invoices: tuple[str, ...]
    envelope: Envelope
    message: ComposedMessage
    context: MessageContext


@dataclass(frozen=True, slots=True)
class Unsendable:
    """A claimed message that cannot be composed, and why."""

    claim: Claim
    invoices: tuple[str, ...]
    error: ComposeError


class Composer:
    """Composes on a thread of its own, with one reading connection kept open."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._thread = ThreadPoolExecutor(1, "composer")
        self._stack = ExitStack()
        self._connection: Connection | None = None

    async def compose(self, claims: Sequence[Claim]) -> list[Ready | Unsendable]:
        """Compose claims from what the source has now, in their order.

        Raises:
            SourceError: the billing data is not as the contract wants it.
            DatabaseError: it cannot be read.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._compose, claims)

    def close(self) -> None:
        """Give the connection back."""
        self._thread.submit(self._stack.close).result()
        self._thread.shutdown()

    def _compose(self, claims: Sequence[Claim]) -> list[Ready | Unsendable]:
        try:
            if self._connection is None:
                self._connection = self._stack.enter_context(self._job.database.read(attach=True))
            return self._compose_on(self._connection, claims)
        except DatabaseError:
            # The connection may be gone: the next try opens another one.
            self._connection = None
            with suppress(DatabaseError):
                self._stack.close()
            raise

    def _compose_on(
        self, connection: Connection, claims: Sequence[Claim]
    ) -> list[Ready | Unsendable]:
        made: dict[int, Ready | Unsendable] = {}
        with self._job.database.translated():
            for number in {claim.revision for claim in claims}:
                revision = self._job.revisions[number]
                group = [claim for claim in claims if claim.revision == number]
                with connection.begin():
                    composed = _compose_group(connection, self._job.source, revision, group)
                made |= {claim.id: each for claim, each in zip(group, composed, strict=True)}
        reach("compose.done")
        return [made[claim.id] for claim in claims]


def compose_claim(
    connection: Connection, source: Source, revision: Revision, claim: Claim
) -> Ready | Unsendable:
    """Compose one message from what the source has now, or a resend from what was stored.

    Raises:
        SourceError: the billing data is not as the contract wants it.
    """
    return _compose_group(connection, source, revision, [claim])[0]


def _compose_group(
    connection: Connection, source: Source, revision: Revision, claims: Sequence[Claim]
) -> list[Ready | Unsendable]:
    contexts = source.load(
        connection,
        [(claim.customer, claim.invoices) for claim in claims],
        key=revision.key,
        transformations=revision.transformations,
    )
    return [
        _compose_one(revision, claim, context)
        for claim, context in zip(claims, contexts, strict=True)
    ]


def _compose_one(
    revision: Revision, claim: Claim, context: MessageContext | None
) -> Ready | Unsendable:
    if claim.resend is not None and claim.resend.context:
        context = context_of(claim.resend.context, context)
    if context is None:
        what = f"customer {claim.customer} or invoice {', '.join(claim.invoices)}"
        gone = ComposeError("MR121", f"{what} is no longer in the billing data")
        return Unsendable(claim, claim.invoices, gone)
    labels = tuple(invoice.label for invoice in context.invoices)
    if not _is_about(context, claim):
        mixed = f"what message {claim.id} would be made of is not customer {claim.customer}'s"
        return Unsendable(claim, labels, ComposeError("MR512", mixed, "report this as a fault"))
    try:
        envelope, message = compose(
            revision.recipe,
            revision.renderer,
            context,
            recipients=claim.recipients,
            message_id=claim.message_id,
            date=claim.date or datetime.now(UTC).replace(microsecond=0),
        )
    except ComposeError as error:
        return Unsendable(claim, labels, error)
    if claim.resend is not None and claim.resend.sha256 != message.sha256:
        other = ComposeError("MR507", "its bytes would differ from those that may have left")
        return Unsendable(claim, labels, other)
    return Ready(claim, labels, envelope, message, context)


def _is_about(context: MessageContext, claim: Claim) -> bool:
    """Tell whether a context is the one that a claim asked for: addresses may be shared."""
    invoices = sorted(invoice.id for invoice in context.invoices)
    return context.customer.code == claim.customer and invoices == sorted(claim.invoices)
