"""From claims to bytes: what the source has now, composed beside the event loop."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection

from msgrun.compose.message import compose
from msgrun.delivery.job import Job
from msgrun.errors import ComposeError
from msgrun.ledger.rows import Claim
from msgrun.model import ComposedMessage, Envelope, MessageContext
from msgrun.workspace import Revision


@dataclass(frozen=True, slots=True)
class Ready:
    """A claimed message, composed. `invoices` are the numbers as people see them."""

    claim: Claim
    invoices: tuple[str, ...]
    envelope: Envelope
    message: ComposedMessage


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
        if self._connection is None:
            self._connection = self._stack.enter_context(self._job.database.read(attach=True))
        made: dict[int, Ready | Unsendable] = {}
        for number in {claim.revision for claim in claims}:
            revision = self._job.revisions[number]
            group = [claim for claim in claims if claim.revision == number]
            with self._connection.begin():
                contexts = self._job.source.load(
                    self._connection,
                    [(claim.customer, claim.invoices) for claim in group],
                    key=revision.key,
                    transformations=revision.transformations,
                )
            for claim, context in zip(group, contexts, strict=True):
                made[claim.id] = _compose_one(revision, claim, context)
        return [made[claim.id] for claim in claims]


def _compose_one(
    revision: Revision, claim: Claim, context: MessageContext | None
) -> Ready | Unsendable:
    if context is None:
        what = f"customer {claim.customer} or invoice {', '.join(claim.invoices)}"
        gone = ComposeError("MR121", f"{what} is no longer in the billing data")
        return Unsendable(claim, claim.invoices, gone)
    labels = tuple(invoice.label for invoice in context.invoices)
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
    return Ready(claim, labels, envelope, message)
