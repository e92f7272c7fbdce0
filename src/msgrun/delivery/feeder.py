"""The feeder: claims messages, has them composed, and knows when nothing is left."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from sqlalchemy import Connection

from msgrun.clock import boot_seconds
from msgrun.delivery.composers import AT_ONCE, Composer, ProcessComposer, ThreadComposer
from msgrun.delivery.composing import Kitchen, Ready
from msgrun.delivery.floor import Floor
from msgrun.errors import SourceError
from msgrun.events import WaitingForDeferred
from msgrun.failpoints import reach
from msgrun.ledger import messages, workers
from msgrun.ledger.rows import Claim
from msgrun.states import MessageState, RunStatus

_LOOK_AGAIN_SECONDS: Final = 1.0
_LOOK_FOR_RESENDS_SECONDS: Final = 30.0  # a person may resolve a doubt while we wait

LEAST_AHEAD: Final = 120
"""Messages held at least, so that few connections do not make a commit of every claim."""

_AHEAD_BYTES: Final = 32 * 1024 * 1024  # of composed messages that wait, about
_MOST_CLAIMED: Final = 144  # messages at a time
_BATCH: Final = 48  # messages composed at a time: the first of them leaves when the last is made


class Feeder:
    """Keeps the senders' queue filled, while wire and commits go on."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._job = floor.job
        self._tables = floor.job.database.tables
        self._told_due: datetime | None = None
        self._most_ahead = max(8 * self._job.connections, LEAST_AHEAD)
        self._ahead = self._most_ahead
        self._composers: list[Composer] = []
        self._idle: asyncio.Queue[Composer] = asyncio.Queue()
        self._off_duty: Composer | None = None
        self._last_number = 0  # of those claimed
        self._whole_look_at = 0.0  # of the boot clock

    async def feed(self) -> None:
        """Feed until nothing is left or a halt; then send the senders home."""
        floor = self._floor
        try:
            async with asyncio.TaskGroup() as composing:
                self._employ(ThreadComposer(self._kitchen()))
                beginning = [
                    composing.create_task(self._begin_process())
                    for _ in range(1, self._job.processes)
                ]
                await self._claim_all(composing)
                for each in beginning:
                    each.cancel()
        except Exception as error:  # noqa: BLE001 - raised when the senders have ended
            floor.fail(error.exceptions[0] if isinstance(error, ExceptionGroup) else error)
        finally:
            for composer in self._composers:
                composer.close()
            for _ in range(self._job.connections):
                floor.queue.put_nowait(None)

    def _kitchen(self) -> Kitchen:
        job = self._job
        return Kitchen(job.database, job.source, job.revisions)

    def _employ(self, composer: Composer) -> None:
        self._composers.append(composer)
        for _ in range(AT_ONCE):
            self._idle.put_nowait(composer)

    async def _begin_process(self) -> None:
        """Have a process compose instead of the thread here, once it has started."""
        composer, ready = ProcessComposer(self._kitchen()), False
        try:
            ready = await composer.begin()
        finally:
            if not ready:  # there can be none, or nothing is left to compose: it may still start
                await asyncio.to_thread(composer.close)
        if ready:
            self._employ(composer)
            self._off_duty = self._composers[0]

    async def _claim_all(self, composing: asyncio.TaskGroup) -> None:
        """Claim again and again and have each batch composed, until a halt or nothing is left."""
        floor = self._floor
        while not floor.halt.is_set():
            floor.stirred.clear()
            claims = await self._claim()
            for start in range(0, len(claims), _BATCH):
                composer = await self._next_idle()
                composing.create_task(self._compose(composer, claims[start : start + _BATCH]))
            if not claims and not await self._more_may_come():
                return

    async def _next_idle(self) -> Composer:
        while (composer := await self._idle.get()) is self._off_duty:
            pass
        return composer

    async def _compose(self, composer: Composer, claims: Sequence[Claim]) -> None:
        """Queue what was composed; when the source itself is broken, pause the run."""
        floor = self._floor
        try:
            if floor.halt.is_set():
                return await self._give_back(claims)
            composed = await floor.patiently(lambda: composer.compose(claims))
        except SourceError as error:
            floor.halt_with(RunStatus.PAUSED, "MR006", error.message)
            return await self._give_back(claims)
        finally:
            self._idle.put_nowait(composer)
        reach("compose.done")
        sizes = [len(each.message.data) for each in composed if isinstance(each, Ready)]
        if sizes:
            self._ahead = min(self._most_ahead, max(_AHEAD_BYTES * len(sizes) // sum(sizes), 1))
        for ready in composed:
            floor.queue.put_nowait(ready)
        return None

    async def _give_back(self, claims: Sequence[Claim]) -> None:
        await self._floor.release([claim.id for claim in claims])
        for claim in claims:
            self._floor.let_go(claim.id)

    async def _claim(self) -> Sequence[Claim]:
        job, floor = self._job, self._floor
        # With few connections less at a time, or one of several workers would hold a whole run.
        at_once = max(min(_MOST_CLAIMED, self._ahead // 3), min(_BATCH, self._ahead))
        wanted = min(self._ahead - len(floor.held), at_once)
        floor.enough = self._ahead - min(at_once, self._ahead // 3)
        if len(floor.held) > floor.enough:
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
                    connection,
                    self._tables,
                    run_id=job.run.id,
                    token=job.token,
                    known=held,
                    now=now,
                )
            tries += 1
            claim = partial(
                messages.claim,
                connection,
                self._tables,
                run_id=job.run.id,
                server=job.server,
                token=job.token,
                wanted=wanted,
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
            floor.held[claim.id] = leaves_at
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
        if left.elsewhere and not self._job.leaves:
            await floor.pause(_LOOK_AGAIN_SECONDS, floor.stirred)  # it may be given back
            return True
        if left.due is None or left.elsewhere:
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
            messages.is_any_in(connection, self._tables, run_id, (MessageState.PENDING,)),
            messages.count_in(connection, self._tables, run_id, (MessageState.DEFERRED,)),
            due,
            (due - now).total_seconds() if due else 0.0,
            messages.held_elsewhere(connection, self._tables, run_id, self._job.token),
        )


@dataclass(frozen=True, slots=True)
class _Left:
    """What a run has left that we do not hold; `due` is by the database's clock.

    Attributes:
        elsewhere: whether another worker holds messages.
    """

    pending: bool
    deferred: int
    due: datetime | None
    due_in: float
    elsewhere: bool
