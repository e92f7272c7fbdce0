"""From claims to bytes: what the source has now, loaded and composed in batches."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from msgrun.compose.message import compose
from msgrun.database import Database
from msgrun.errors import ComposeError, DatabaseError
from msgrun.ledger.context import context_of, context_text
from msgrun.ledger.rows import Claim
from msgrun.model import ComposedMessage, Envelope, MessageContext
from msgrun.source import Source
from msgrun.workspace import Revision


@dataclass(frozen=True, slots=True)
class Ready:
    """A claimed message, composed.

    Attributes:
        invoices: their numbers as people see them.
        context: what it was composed from, as JSON text (`ledger.context`).
    """

    claim: Claim
    invoices: tuple[str, ...]
    envelope: Envelope
    message: ComposedMessage
    context: str


@dataclass(frozen=True, slots=True)
class Unsendable:
    """A claimed message that cannot be composed, and why."""

    claim: Claim
    invoices: tuple[str, ...]
    error: ComposeError


class Kitchen:
    """Loads and composes batches of claims, on one reading connection that is kept open.

    Args:
        database: where the source is read; never written to.
        source: the billing data.
        revisions: the run's definitions, by number.
    """

    def __init__(
        self, database: Database, source: Source, revisions: Mapping[int, Revision]
    ) -> None:
        self._database = database
        self._source = source
        self._revisions = revisions
        self._stack = ExitStack()
        self._connection: Connection | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to a process of its own, without the connection."""
        return Kitchen, (self._database, self._source, dict(self._revisions))

    def compose(self, claims: Sequence[Claim]) -> list[Ready | Unsendable]:
        """Compose claims from what the source has now, in their order.

        Raises:
            SourceError: the billing data is not as the contract wants it.
            DatabaseError: it cannot be read.
        """
        try:
            if self._connection is None:
                self._connection = self._stack.enter_context(self._database.read(attach=True))
            return self._compose_on(self._connection, claims)
        except DatabaseError:
            # The connection may be gone: the next try opens another one.
            self._connection = None
            with suppress(DatabaseError):
                self._stack.close()
            raise

    def close(self) -> None:
        """Give the connection back."""
        self._stack.close()

    def _compose_on(
        self, connection: Connection, claims: Sequence[Claim]
    ) -> list[Ready | Unsendable]:
        made: dict[int, Ready | Unsendable] = {}
        for number in {claim.revision for claim in claims}:
            revision = self._revisions[number]
            group = [claim for claim in claims if claim.revision == number]
            # Nothing is composed in the transaction: on SQLite, commits wait for readers.
            with self._database.translated(), connection.begin():
                contexts = _load(connection, self._source, revision, group)
            for claim, context in zip(group, contexts, strict=True):
                made[claim.id] = _compose_one(revision, claim, context)
        return [made[claim.id] for claim in claims]


def compose_claim(
    connection: Connection, source: Source, revision: Revision, claim: Claim
) -> Ready | Unsendable:
    """Compose one message from what the source has now, or a resend from what was stored.

    Raises:
        SourceError: the billing data is not as the contract wants it.
    """
    return _compose_one(revision, claim, _load(connection, source, revision, [claim])[0])


def _load(
    connection: Connection, source: Source, revision: Revision, claims: Sequence[Claim]
) -> Sequence[MessageContext | None]:
    return source.load(
        connection,
        [(claim.customer, claim.invoices) for claim in claims],
        key=revision.key,
        transformations=revision.transformations,
    )


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
    return Ready(claim, labels, envelope, message, context_text(context))


def _is_about(context: MessageContext, claim: Claim) -> bool:
    """Tell whether a context is the one that a claim asked for: addresses may be shared."""
    invoices = sorted(invoice.id for invoice in context.invoices)
    return context.customer.code == claim.customer and invoices == sorted(claim.invoices)
