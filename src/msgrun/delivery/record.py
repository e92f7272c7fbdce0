"""Recording what came of a try: in the ledger, and where it cannot be, in the journal."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection

from msgrun.delivery.composing import Ready, Unsendable
from msgrun.delivery.floor import Floor
from msgrun.delivery.policy import QUOTA_PAUSE
from msgrun.errors import DatabaseError
from msgrun.events import MessageSettled
from msgrun.failpoints import reach
from msgrun.ledger import servers, settling
from msgrun.ledger.journal import Entry
from msgrun.ledger.settling import Settlement
from msgrun.model import Stage
from msgrun.states import MessageState

MOST_LOST_INTENTS: Final = 5
"""So many intents in a row that the database did not take, then sending stops."""


class Recorder:
    """Writes settlements for one sender."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._job = floor.job
        self._tables = floor.job.database.tables

    async def record(self, ready: Ready | Unsendable, settlement: Settlement) -> None:
        """Record a settlement; an answer that the database does not take goes to the journal.

        Raises:
            DatabaseError: the ledger does not take it; what must not be forgotten is in the
                journal then.
        """
        due_at: datetime | None = None
        if settlement.retry_in is not None:
            settlement = replace(settlement, give_up_in=self._job.deadline)

        def work(connection: Connection) -> None:
            nonlocal due_at
            due_at = self._settle(connection, ready, settlement)

        try:
            await self._floor.write(work, patience=0)
        except DatabaseError:
            entry = None
            if is_answer(settlement) and isinstance(ready, Ready):
                entry = self._entry(ready, settlement)
                self._keep(self._job.journal.add, entry)
            await self._floor.write(work)
            if entry is not None:
                self._keep(self._job.journal.take_back, entry)
        reach("record.committed")
        self._tell(ready, settlement, due_at)

    async def not_sent(self, ready: Ready, error: DatabaseError) -> None:
        """Give back a message whose intent the database may or may not have; no dot has left.

        Raises:
            DatabaseError: the ledger does not take that; the journal says it then.
        """
        try:
            await self._floor.release([ready.claim.id])
        except DatabaseError:
            entry = self._entry(ready, Settlement(MessageState.PENDING, counts=False))
            self._keep(self._job.journal.add, entry)
            raise
        self._floor.intents_lost += 1
        if self._floor.intents_lost >= MOST_LOST_INTENTS:
            raise error

    async def close_server(self) -> datetime:
        """Note that the server's quota is used up; return until when it is left alone."""
        job = self._job

        def work(connection: Connection) -> datetime:
            until = job.database.now(connection) + QUOTA_PAUSE
            servers.close(connection, self._tables, job.server, until)
            return until

        return await self._floor.write(work)

    def _settle(
        self, connection: Connection, ready: Ready | Unsendable, settlement: Settlement
    ) -> datetime | None:
        job, key = self._job, ready.claim.id
        now = job.database.now_of_group(connection)
        settled = settling.settle(
            connection,
            self._tables,
            message_id=key,
            token=job.token,
            settlement=settlement,
            now=now,
        )
        if not settled and is_answer(settlement) and isinstance(ready, Ready):
            # Taken over meanwhile: the server's answer still settles the doubt.
            settling.credit(
                connection,
                self._tables,
                message_id=key,
                token=job.token,
                sha256=ready.message.sha256,
                settlement=settlement,
                now=now,
            )
        if settlement.retry_in is None:
            return None
        return now + settlement.retry_in

    def _entry(self, ready: Ready, settlement: Settlement) -> Entry:
        return Entry(
            self._job.run.uid,
            ready.claim.id,
            self._job.token,
            ready.message.sha256,
            settlement,
            datetime.now(UTC),
        )

    def _keep(self, write: Callable[[Entry], None], entry: Entry) -> None:
        """Keep in the journal what the ledger does not know; a disk that is full is the end."""
        try:
            write(entry)
        except OSError as error:
            told = f"neither the database nor the journal takes an answer: {error}"
            self._floor.fail(DatabaseError(told, "free disk space, then restart the run"))

    def _tell(
        self, ready: Ready | Unsendable, settlement: Settlement, due_at: datetime | None
    ) -> None:
        outcome = settlement.outcome
        answer = settlement.detail or ""
        if outcome is not None:
            answer = str(outcome.reply or outcome.text)
        self._job.listener(
            MessageSettled(
                customer=ready.claim.customer,
                recipients=tuple(each.address for each in ready.claim.recipients),
                invoices=ready.invoices,
                state=settlement.to,
                reason=settlement.reason,
                answer=answer,
                due_at=due_at,
            )
        )


def is_answer(settlement: Settlement) -> bool:
    """Tell whether it holds a definite answer to the final dot."""
    outcome = settlement.outcome
    at_dot = outcome is not None and outcome.stage is Stage.DOT
    return at_dot and settlement.to is not MessageState.IN_DOUBT
