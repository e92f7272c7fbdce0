"""One worker drains one run: a feeder, senders, and a watch that looks for a stop."""

import asyncio
import gc
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection, select

from msgrun.clock import boot_seconds
from msgrun.delivery.feeder import Feeder
from msgrun.delivery.floor import Floor
from msgrun.delivery.job import Job
from msgrun.delivery.pace import Pace
from msgrun.delivery.record import Recorder
from msgrun.delivery.sender import Sender
from msgrun.failpoints import reach
from msgrun.ledger import crew, runs, workers
from msgrun.states import RunStatus

LOOK_SECONDS: Final = 0.15
"""How often the worker looks whether somebody asked it to stop."""

_LOOK_AGAIN_SECONDS: Final = 0.5


class Drain:
    """Sends what a run has left, until nothing is left, somebody stops it, or the server fails.

    Made and used inside a running event loop.
    """

    def __init__(self, job: Job) -> None:
        self._pace = Pace(job.listener)
        self._job = replace(job, listener=self._pace)
        self._tables = job.database.tables
        self._floor = Floor(self._job)
        self._next_beat = 0.0
        self._drained = False
        self._paused = False

    @property
    def sent(self) -> int:
        """How many messages this worker has had accepted."""
        return self._pace.sent

    async def run(self) -> RunStatus:
        """Drain the run; return the status that it is left in.

        Raises:
            MsgrunError: ledger or source cannot be used; the next start recovers what was held.
        """
        merged = False
        # What lives until the end anyway is not looked through again and again for garbage.
        gc.collect()
        gc.freeze()
        try:
            await self._show_life()
            while (status := await self._work()) is None:
                if not self._floor.halt.is_set():
                    self._floor.ending = None
                    await self._floor.pause(_LOOK_AGAIN_SECONDS, self._floor.halt)
            reach("finish.committed")
            merged = True
            return status
        except BaseExceptionGroup as group_of_errors:
            raise _first(group_of_errors) from None
        finally:
            gc.unfreeze()
            self._job.journal.close(merged=merged)
            self._floor.writer.close()

    async def _work(self) -> RunStatus | None:
        """Send until nothing is left here or a halt; return how the run was left (`crew.leave`)."""
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._watch())
            async with asyncio.TaskGroup() as work:
                work.create_task(Feeder(self._floor).feed())
                recorder = Recorder(self._floor)
                for _ in range(self._job.connections):
                    work.create_task(Sender(self._floor, recorder).serve())
            watch.cancel()
        if self._floor.error is not None:
            raise self._floor.error
        return await self._floor.write(self._finish)

    def stop(self, why: str) -> None:
        """Stop the run: start nothing new; what is in flight finishes."""
        self._floor.halt_with(RunStatus.STOPPED, None, why)

    def leave(self, why: str) -> None:
        """Leave the run to others: start nothing new; what is in flight finishes."""
        self._floor.halt_with(RunStatus.RUNNING, None, why)

    def abort(self) -> None:
        """Also drop the messages that have not come to their intent; after `stop` or `leave`."""
        self.stop("aborted")
        for task in self._floor.unspent - self._floor.aborted:
            self._floor.aborted.add(task)
            task.cancel()

    async def _watch(self) -> None:
        """Extend the lease; look for a stop; say when no connection stands before its dot."""
        while self._floor.error is None:
            try:
                await self._look()
            except Exception as error:  # noqa: BLE001 - raised when the senders have ended
                self._floor.fail(error)
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        floor = self._floor
        if not floor.halt.is_set():
            status = await floor.write(self._status)
            if status is not RunStatus.RUNNING:
                floor.halt_with(RunStatus.STOPPING, None, "asked to stop")
        if floor.halt.is_set() and not floor.near_dot and not self._drained:
            self._drained = True
            await floor.write(
                lambda connection: workers.set_drained(connection, self._tables, self._job.token)
            )
        if floor.halt.is_set():
            await self._give_back()
        if not self._job.database.is_sqlite:
            await self._look_to_colleagues()
        if boot_seconds() >= self._next_beat:
            await self._show_life()

    async def _give_back(self) -> None:
        """Release what no sender has begun with: all of them may wait long for an answer."""
        queue = self._floor.queue
        waiting = [queue.get_nowait() for _ in range(queue.qsize())]
        for each in waiting:
            if each is None:
                queue.put_nowait(each)
        ids = [each.claim.id for each in waiting if each is not None]
        if ids:
            await self._floor.release(ids)
            for key in ids:
                self._floor.let_go(key)

    async def _look_to_colleagues(self) -> None:
        """Have them stop at once with a run that is paused; take over from those that died."""
        floor = self._floor
        if floor.ending and floor.ending[0] is RunStatus.PAUSED and not self._paused:
            self._paused = True
            await floor.write(self._pause)
        if boot_seconds() >= self._next_beat and await floor.write(self._has_dead):
            await floor.write(self._take_over)

    async def _show_life(self) -> None:
        asked = boot_seconds()
        if await self._floor.write(self._beat):
            # Counted from before the write: by our clock the lease never lasts longer than by
            # the database's.
            self._floor.lease_over = asked + workers.LEASE.total_seconds()
        else:
            self.leave("another process held this worker for dead and took over")
        self._next_beat = asked + workers.HEARTBEAT.total_seconds()

    def _status(self, connection: Connection) -> RunStatus:
        run = self._tables.run
        status = connection.execute(select(run.c.status).where(run.c.id == self._job.run.id))
        return RunStatus(status.scalar_one())

    def _beat(self, connection: Connection) -> bool:
        now = self._job.database.now(connection)
        return workers.heartbeat(
            connection,
            self._tables,
            self._job.token,
            now,
            sent=self._pace.sent,
            per_minute=self._pace.per_minute(),
        )

    def _pause(self, connection: Connection) -> None:
        """Say at once that the run is paused; who pauses it stays until its answers are in."""
        status, reason, detail = self._floor.ending or (RunStatus.PAUSED, None, None)
        run = runs.lock_run(connection, self._tables, self._job.run.id)
        signed_off = workers.is_signed_off(connection, self._tables, self._job.token)
        if run.status is RunStatus.RUNNING and not signed_off:
            now = self._job.database.now(connection)
            runs.move_run(
                connection, self._tables, run.id, status, now, reason=reason, detail=detail
            )

    def _has_dead(self, connection: Connection) -> bool:
        return crew.has_dead(connection, self._job.database, self._job.run.id)

    def _take_over(self, connection: Connection) -> None:
        run = runs.lock_run(connection, self._tables, self._job.run.id)
        if not workers.is_signed_off(connection, self._tables, self._job.token):
            crew.colleagues(connection, self._job.database, run, own=self._job.token)

    def _finish(self, connection: Connection) -> RunStatus | None:
        """Show the last figures and sign off, unless there is more to do after all."""
        job = self._job
        runs.lock_run(connection, self._tables, job.run.id)  # first, as whoever takes over does
        self._beat(connection)
        status = crew.leave(
            connection,
            job.database,
            job.run.id,
            job.token,
            ending=self._floor.ending,
            stays=not job.leaves,
        )
        reach("finish.writing")
        return status


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error that started it all."""
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
