"""The feeder: claims messages, has them composed, and knows when nothing is left."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from sqlalchemy import Connection

from msgrun.clock import boot_seconds
from msgrun.delivery.composing import Composer, Ready, Unsendable
from msgrun.delivery.floor import DATABASE_PATIENCE, Floor
from msgrun.errors import DatabaseError, SourceError
from msgrun.events import WaitingForDeferred
from msgrun.failpoints import reach
from msgrun.ledger import messages, workers
from msgrun.ledger.rows import Claim
from msgrun.states import MessageState, RunStatus

_LOOK_AGAIN_SECONDS: Final = 1.0
_LOOK_FOR_RESENDS_SECONDS: Final = 30.0  # a person may resolve a doubt while we wait

LEAST_AHEAD: Final = 24
"""Messages held at least, so that few connections do not make a commit of every claim."""


class Feeder:
    """Keeps the senders' queue filled, two messages a connection ahead, or `LEAST_AHEAD`."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._job = floor.job
        self._tables = floor.job.database.tables
        self._told_due: datetime | None = None
        self._last_number = 0  # of those claimed
        self._whole_look_at = 0.0  # of the boot clock

    async def feed(self) -> None:
        """Feed until nothing is left or a halt; then send the senders home."""
        floor = self._floor
        composer = Composer(self._job)
        try:
            while not floor.halt.is_set():
                floor.stirred.clear()
                claims = await self._claim()
                if claims:
                    await self._compose(composer, claims)
                elif not await self._more_may_come():
                    return
        except Exception as error:  # noqa: BLE001 - raised when the senders have ended
            floor.fail(error)
        finally:
            composer.close()
            for _ in range(self._job.connections):
                floor.queue.put_nowait(None)

    async def _compose(self, composer: Composer, claims: Sequence[Claim]) -> None:
        """Queue what was composed; when the source itself is broken, pause the run."""
        floor = self._floor
        ids = [claim.id for claim in claims]
        try:
            composed = await self._composed(composer, claims)
        except SourceError as error:
            floor.halt_with(RunStatus.PAUSED, "MR006", error.message)
            await floor.release(ids)
            floor.held.difference_update(ids)
            return
        for ready in composed:
            floor.queue.put_nowait(ready)

    async def _composed(
        self, composer: Composer, claims: Sequence[Claim]
    ) -> Sequence[Ready | Unsendable]:
        """Compose; a database that went away is waited for as in `Floor.write`."""
        until = boot_seconds() + DATABASE_PATIENCE
        while True:
            try:
                return await composer.compose(claims)
            except DatabaseError:
                if boot_seconds() >= until or self._floor.error is not None:
                    raise
                await self._floor.pause(_LOOK_AGAIN_SECONDS, self._floor.halt)

    async def _claim(self) -> Sequence[Claim]:
        job, floor = self._job, self._floor
        ahead = max(3 * job.connections, LEAST_AHEAD)
        if len(floor.held) > ahead - ahead // 3:
            return ()
        tries = 0
        # The writer's thread must not read what this one changes.
        held = frozenset(floor.held)
        # What is pending again lies behind: looked for once a second, and before the end.
        whole = boot_seconds() >= self._whole_look_at

        def work(connection: Connection) -> Sequence[tuple[Claim, float]]:
            nonlocal tries
            now = job.database.now(connection)
            heard = boot_seconds()
            if tries:
                # The COMMIT before this one may have happened: those claims are nobody's.
                messages.release_unknown(
                    connection, self._tables, token=job.token, known=held, now=now
                )
            tries += 1
            claim = partial(
                messages.claim,
                connection,
                self._tables,
                run_id=job.run.id,
                server=job.server,
                token=job.token,
                wanted=ahead - len(held),
                every=job.every,
                now=now,
                lease=workers.LEASE,
                held=held,
            )
            claims = () if whole else claim(after=self._last_number)
            if not claims:
                messages.wake_deferred(connection, self._tables, job.run.id, now)
                claims = claim()
            return [(each, heard + (each.not_before - now).total_seconds()) for each in claims]

        claims = await floor.write(work)
        reach("claim.written")
        if whole:
            self._whole_look_at = boot_seconds() + _LOOK_AGAIN_SECONDS
        for claim, leaves_at in claims:
            self._last_number = max(self._last_number, claim.number)
            floor.held.add(claim.id)
            floor.leaves_at[claim.id] = leaves_at
        return [claim for claim, _ in claims]

    async def _more_may_come(self) -> bool:
        """Wait until a claim may find something again; False when nothing is left to do here."""
        floor = self._floor
        if floor.held:
            await floor.pause(_LOOK_AGAIN_SECONDS, floor.stirred)
            return True
        left = await floor.write(self._left)
        if left.pending:
            await floor.pause(_LOOK_AGAIN_SECONDS, floor.stirred)
            return True
        if left.due is None:
            return False
        if not self._job.wait:
            floor.ending = (RunStatus.WAITING, "MR505", f"{left.deferred} deferred")
            return False
        if left.due != self._told_due:
            self._told_due = left.due
            self._job.listener(WaitingForDeferred(left.due, left.deferred))
        await floor.pause(min(left.due_in, _LOOK_FOR_RESENDS_SECONDS), floor.halt)
        return True

    def _left(self, connection: Connection) -> "_Left":
        run_id = self._job.run.id
        due = messages.next_due(connection, self._tables, run_id)
        now = self._job.database.now(connection)
        return _Left(
            messages.count_in(connection, self._tables, run_id, (MessageState.PENDING,)),
            messages.count_in(connection, self._tables, run_id, (MessageState.DEFERRED,)),
            due,
            (due - now).total_seconds() if due else 0.0,
        )


@dataclass(frozen=True, slots=True)
class _Left:
    """What a run has left that nobody holds; `due` is by the database's clock."""

    pending: int
    deferred: int
    due: datetime | None
    due_in: float
