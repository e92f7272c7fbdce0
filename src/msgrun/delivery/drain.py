"""One worker drains one run: a feeder, senders, and a watch that looks for a stop."""

import asyncio
from typing import Final

from sqlalchemy import Connection, select

from msgrun.clock import boot_seconds
from msgrun.delivery.feeder import Feeder
from msgrun.delivery.floor import Floor
from msgrun.delivery.job import Job
from msgrun.delivery.record import Recorder
from msgrun.delivery.sender import Sender
from msgrun.failpoints import reach
from msgrun.ledger import runs, workers
from msgrun.states import RunStatus

LOOK_SECONDS: Final = 0.15
"""How often the worker looks whether somebody asked it to stop."""


class Drain:
    """Sends what a run has left, until nothing is left, somebody stops it, or the server fails.

    Made and used inside a running event loop.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._tables = job.database.tables
        self._floor = Floor(job)
        self._next_beat = 0.0
        self._drained = False

    async def run(self) -> RunStatus:
        """Drain the run; return the status that it is left in.

        Raises:
            MsgrunError: ledger or source cannot be used; the next start recovers what was held.
        """
        merged = False
        try:
            await self._show_life()
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
            status = await self._floor.write(self._finish)
            reach("finish.committed")
            merged = True
            return status
        except BaseExceptionGroup as group_of_errors:
            raise _first(group_of_errors) from None
        finally:
            self._job.journal.close(merged=merged)
            self._floor.writer.close()

    def stop(self, why: str) -> None:
        """Start nothing new; what is in flight finishes."""
        self._floor.halt_with(RunStatus.STOPPED, None, why)

    def abort(self) -> None:
        """Also drop the messages that have not come to their intent."""
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
                self.stop("asked to stop")
        if floor.halt.is_set() and not floor.near_dot and not self._drained:
            self._drained = True
            await floor.write(
                lambda connection: workers.set_drained(connection, self._tables, self._job.token)
            )
        if boot_seconds() >= self._next_beat:
            await self._show_life()

    async def _show_life(self) -> None:
        asked = boot_seconds()
        if await self._floor.write(self._beat):
            # Counted from before the write: by our clock the lease never lasts longer than by
            # the database's.
            self._floor.lease_over = asked + workers.LEASE.total_seconds()
        else:
            self.stop("another process held this worker for dead and took over")
        self._next_beat = asked + workers.HEARTBEAT.total_seconds()

    def _status(self, connection: Connection) -> RunStatus:
        run = self._tables.run
        status = connection.execute(select(run.c.status).where(run.c.id == self._job.run.id))
        return RunStatus(status.scalar_one())

    def _beat(self, connection: Connection) -> bool:
        now = self._job.database.now(connection)
        return workers.heartbeat(connection, self._tables, self._job.token, now)

    def _finish(self, connection: Connection) -> RunStatus:
        """Leave the run where it belongs, and sign off."""
        run_id, tables = self._job.run.id, self._tables
        if workers.is_signed_off(connection, tables, self._job.token):
            return self._status(connection)  # the run is another worker's now
        now = self._job.database.now(connection)
        status, reason, detail = self._floor.ending or (RunStatus.FINISHED, None, None)
        if status is RunStatus.STOPPED:
            runs.move_run(connection, tables, run_id, RunStatus.STOPPING, now, detail=detail)
        moved = runs.move_run(connection, tables, run_id, status, now, reason=reason, detail=detail)
        if not moved:
            # A stop from outside came while we were at another end.
            status = RunStatus.STOPPED
            runs.move_run(connection, tables, run_id, status, now, reason=reason, detail=detail)
        workers.end(connection, tables, [self._job.token], now)
        reach("finish.writing")
        return status


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error that started it all."""
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
