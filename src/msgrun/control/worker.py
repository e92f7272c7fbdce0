"""A worker: drains whatever runs of a database somebody wants sent, one after the other.

It asks the ledger again and again, and needs nothing else; `waking` only has it ask at once.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy.exc import IntegrityError

from msgrun.clock import boot_seconds
from msgrun.control.restart import closed_until
from msgrun.control.waking import SAFETY_SECONDS, Bell
from msgrun.control.work import (
    harmless,
    job_of,
    merge_journals,
    require_many_hosts,
    signals,
    tell_started,
)
from msgrun.delivery.drain import Drain
from msgrun.delivery.job import Job
from msgrun.errors import ConfigError, DatabaseError, MsgrunError
from msgrun.events import Listener, RunEnded, ignore
from msgrun.ledger import crew, runs, workers
from msgrun.ledger.rows import RunRow
from msgrun.states import RunStatus
from msgrun.workspace import Workspace

POLL_SECONDS: Final = 1.0
"""How often an idle worker looks for a run."""

KEEP_OFF_SECONDS: Final = 60.0
"""How long a worker leaves a run alone that cannot be sent from its host."""

Tell = Callable[[MsgrunError], None]


@dataclass(frozen=True, slots=True)
class Drained:
    """A run that a worker has had a part in.

    Attributes:
        sent: messages that this worker has had accepted.
        status: of the run, when it left it; still running where others go on with it.
    """

    run: int
    definition: str
    sent: int
    status: RunStatus


def work(
    workspace: Workspace,
    *,
    poll: float | None = None,
    until_idle: bool = False,
    processes: int = 1,
    listener: Listener = ignore,
    tell: Tell = lambda _error: None,
) -> list[Drained]:
    """Drain runs until a signal, or until no run is left to drain.

    A first SIGINT or SIGTERM lets what is in flight finish, and the runs go on without this
    worker; a second one also drops what has not come to its intent.

    Args:
        workspace: configuration, database, source.
        poll: seconds between two looks for a run; None: longer where it is woken.
        until_idle: whether to end when no run is left that could be drained now.
        processes: how many work on a run here, this one included.
        listener: told what happens in the runs.
        tell: told of errors that the worker outlives.

    Returns:
        The runs that it had a part in, in order.

    Raises:
        UsageError: the ledger is SQLite.
        MsgrunError: with `until_idle`, a run could not be drained from here, or the database fails.
    """
    require_many_hosts(workspace)
    worker = _Worker(workspace, poll, processes, harmless(listener), tell)
    return asyncio.run(worker.work(until_idle=until_idle))


class _Worker:
    """One process: the run that it drains now, and how it looks for the next."""

    def __init__(
        self,
        workspace: Workspace,
        poll: float | None,
        processes: int,
        listener: Listener,
        tell: Tell,
    ) -> None:
        self._workspace = workspace
        self._processes = processes
        self._database = workspace.database
        self._poll = poll
        self._listener = listener
        self._tell = tell
        self._bell = Bell(self._database, tell)
        self._going = asyncio.Event()
        self._why = ""
        self._drain: Drain | None = None
        self._token: int | None = None
        self._next_beat = 0.0
        self._gone: set[int] = set()
        self._kept_off: dict[int, float] = {}
        self._trouble: MsgrunError | None = None
        self._done: list[Drained] = []

    async def work(self, *, until_idle: bool) -> list[Drained]:
        """See `work`."""
        with signals(self._on_signal):
            if not until_idle:
                self._bell.hang()
            while not self._going.is_set():
                try:
                    if await self._drain_next():
                        continue
                    if until_idle and not self._busy():
                        break
                except DatabaseError as error:
                    if until_idle:
                        raise
                    self._hear(error)
                await self._pause()
            self._sign_off()
            await self._bell.take_down()
        if until_idle and self._trouble is not None:
            raise self._trouble
        return self._done

    def _on_signal(self, number: int, _code: int) -> None:
        if self._going.is_set():
            if self._drain is not None:
                self._drain.abort()
            return
        self._going.set()
        self._why = f"{signal.Signals(number).name} received"
        if self._drain is not None:
            self._drain.leave(self._why)

    async def _pause(self) -> None:
        """Wait for the next look: until the bell rings, or the poll is due."""
        self._bell.answer()
        poll = self._poll or (SAFETY_SECONDS if self._bell.works else POLL_SECONDS)
        waits = [asyncio.create_task(each.wait()) for each in (self._going, self._bell.rung)]
        await asyncio.wait(waits, timeout=poll, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()
        self._bell.rung.clear()

    async def _drain_next(self) -> bool:
        """Drain one run; False when there is none for us now."""
        merge_journals(self._workspace)
        token = self._show_life()
        with self._database.read() as connection, connection.begin():
            found = crew.wanted(connection, self._database, self._gone)
        for run in found:
            if self._kept_off.get(run.id, 0.0) > boot_seconds() or not self._can_send(run):
                continue
            if self._join(run, token):
                self._token = None
                await self._drain_it(run, token)
                return True
        return False

    def _show_life(self) -> int:
        """Return the token of a worker without a run, its lease extended where it is time."""
        tables, now = self._database.tables, boot_seconds()
        if self._token is not None and now < self._next_beat:
            return self._token
        with self._database.write() as connection:
            at = self._database.now(connection)
            known = self._token
            if known is None or not workers.heartbeat(connection, tables, known, at):
                workers.forget_idle(connection, tables, at)
                known = workers.register(connection, tables, None, at, standing=True)
        self._token, self._next_beat = known, now + workers.HEARTBEAT.total_seconds()
        return known

    def _can_send(self, run: RunRow) -> bool:
        """Tell whether this host has what a run needs, before others rely on it."""
        workspace, database = self._workspace, self._database
        try:
            with database.read() as connection, connection.begin():
                stored = runs.revisions(connection, database.tables, run.id)
            newest = stored[max(stored)]
            made = [workspace.revision(each, run.selection) for each in stored.values()]
            workspace.transport_of(newest, run.selection)
            root = workspace.source.documents_root
            if any(each.transformations for each in made) and not os.access(
                root, os.R_OK | os.X_OK
            ):
                raise ConfigError(
                    f"documents_root {root} cannot be read on this host: run {run.id} attaches "
                    "documents",
                    "mount it here, or correct documents_root under [source]",
                )
            if run.status is RunStatus.WAITING:
                return closed_until(workspace, newest) is None
        except DatabaseError:
            raise
        except MsgrunError as error:
            self._keep_off(run, error)
            return False
        return True

    def _keep_off(self, run: RunRow, error: MsgrunError) -> None:
        self._kept_off[run.id] = boot_seconds() + KEEP_OFF_SECONDS
        self._hear(error)

    def _hear(self, error: MsgrunError) -> None:
        """Tell an error, once while it stays the same."""
        if self._trouble is None or str(self._trouble) != str(error):
            self._tell(error)
        self._trouble = error

    def _join(self, run: RunRow, token: int) -> bool:
        try:
            with self._database.write() as connection:
                return crew.join(connection, self._database, run.id, token, self._gone)
        except IntegrityError:
            return False  # another run of its definition is live: this one waits for it

    async def _drain_it(self, run: RunRow, token: int) -> None:
        """Drain a run that was joined; what fails here is others' to go on with."""
        try:
            job = job_of(
                self._workspace,
                run.id,
                token,
                wait=False,
                leaves=True,
                processes=self._processes,
                listener=self._listener,
            )
            await self._drain_job(job)
        except MsgrunError as error:
            self._gone.add(token)
            self._keep_off(run, error)
        finally:
            self._drain = None

    async def _drain_job(self, job: Job) -> None:
        tell_started(self._workspace, job)
        self._drain = drain = Drain(job)
        if self._going.is_set():
            drain.leave(self._why)
        status = await drain.run()
        database = self._database
        with database.read() as connection, connection.begin():
            run = runs.get_run(connection, database.tables, job.run.id)
        self._listener(RunEnded(run.id, status, run.reason, run.detail))
        self._done.append(Drained(run.id, run.definition, drain.sent, status))

    def _busy(self) -> bool:
        """Tell whether a run is left that somebody drains, or should."""
        now = boot_seconds()
        with self._database.read() as connection, connection.begin():
            left = runs.handed_over(connection, self._database.tables)
        return any(
            run.status is not RunStatus.WAITING and self._kept_off.get(run.id, 0.0) <= now
            for run in left
        )

    def _sign_off(self) -> None:
        if self._token is None:
            return
        try:
            with self._database.write() as connection:
                at = self._database.now(connection)
                workers.forget_idle(connection, self._database.tables, at, self._token)
        except DatabaseError as error:
            self._hear(error)  # its lease ends by itself
