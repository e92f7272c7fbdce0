"""Recording what a try intends and what came of it: in the ledger, else in the journal."""

import asyncio
from collections.abc import Callable, Sequence
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
from msgrun.ledger import messages, servers, settling
from msgrun.ledger.journal import Entry
from msgrun.ledger.messages import Intent
from msgrun.ledger.settling import Settlement
from msgrun.ledger.writer import ApartError
from msgrun.model import Outcome, Stage
from msgrun.states import MessageState

MOST_LOST_INTENTS: Final = 5
"""So many intents in a row that the database did not take, then sending stops."""


class Recorder:
    """Writes intents and settlements for the senders of one floor, many in one statement."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._job = floor.job
        self._tables = floor.job.database.tables
        self._late: set[asyncio.Task[None]] = set()

    def intend(self, ready: Ready) -> asyncio.Future[bool]:
        """Mark a message `sending`; holds whether it may leave, or a DatabaseError."""
        message = ready.message
        intent = Intent(
            ready.claim.id, message.date, message.sha256, len(message.data), ready.context
        )
        return self._floor.writer.submit_to(self._intend_all, intent)

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
            await self._write_late(work, self._kept(ready, settlement))
        reach("record.committed")
        self._tell(ready, settlement, due_at)

    def accept(self, ready: Ready, settlement: Settlement) -> asyncio.Future[None]:
        """Record an acceptance while its sender goes on; done once it is durable.

        Where it cannot be recorded, the answer is in the journal and `Floor.error` is set.
        """
        recorded = asyncio.get_running_loop().create_future()
        written = self._floor.writer.submit_to(self._accept_all, (ready, settlement))

        def on_written(written: asyncio.Future[None]) -> None:
            if written.exception() is None:
                self._accepted(ready, settlement, recorded)
                return
            # At once: the sender learns of the same trouble next, and must not be quicker.
            entry = self._kept(ready, settlement)
            late = asyncio.create_task(self._accept_late(ready, settlement, recorded, entry))
            self._late.add(late)
            late.add_done_callback(self._late.discard)

        written.add_done_callback(on_written)
        return recorded

    def _accepted(
        self, ready: Ready, settlement: Settlement, recorded: asyncio.Future[None]
    ) -> None:
        reach("record.committed")
        self._tell(ready, settlement, None)
        self._floor.let_go(ready.claim.id)
        if not recorded.done():
            recorded.set_result(None)

    async def _accept_late(
        self,
        ready: Ready,
        settlement: Settlement,
        recorded: asyncio.Future[None],
        entry: Entry | None,
    ) -> None:
        """Record an acceptance that the database did not take at once."""

        def work(connection: Connection) -> None:
            self._settle(connection, ready, settlement)

        try:
            await self._write_late(work, entry)
        except Exception as error:  # noqa: BLE001 - raised when the senders have ended
            self._floor.fail(error)
            self._floor.let_go(ready.claim.id)
            if not recorded.done():
                recorded.set_result(None)
        else:
            self._accepted(ready, settlement, recorded)

    def _kept(self, ready: Ready | Unsendable, settlement: Settlement) -> Entry | None:
        """Keep what must not be forgotten in the journal; None for what may be."""
        if not (is_answer(settlement) and isinstance(ready, Ready)):
            return None
        entry = self._entry(ready, settlement)
        self._keep(self._job.journal.add, entry)
        return entry

    async def _write_late(self, work: Callable[[Connection], None], entry: Entry | None) -> None:
        """Try for a while to write what the database did not take; then the journal need not."""
        await self._floor.write(work)
        if entry is not None:
            self._keep(self._job.journal.take_back, entry)

    def _intend_all(self, connection: Connection, intents: Sequence[Intent]) -> list[bool]:
        job = self._job
        marked = messages.intend(
            connection,
            self._tables,
            run_id=job.run.id,
            token=job.token,
            intents=intents,
            now=job.database.now_of_group(connection),
        )
        if not marked and len(intents) > 1:
            raise ApartError
        return [marked] * len(intents)

    def _accept_all(
        self, connection: Connection, accepted: Sequence[tuple[Ready, Settlement]]
    ) -> list[None]:
        whole: list[tuple[int, Outcome]] = []
        for ready, settlement in accepted:
            outcome = settlement.outcome
            if outcome is None or outcome.refused or outcome.refused_bcc or len(accepted) == 1:
                self._settle(connection, ready, settlement)
            else:
                whole.append((ready.claim.id, outcome))
        now = self._job.database.now_of_group(connection)
        ours = not whole or settling.accept(
            connection, self._tables, token=self._job.token, accepted=whole, now=now
        )
        if not ours:
            raise ApartError
        return [None] * len(accepted)

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
