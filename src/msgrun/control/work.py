"""Working on a run in this process: take it on, drain it under signals, sum it up."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from msgrun.control.waking import wake
from msgrun.delivery.drain import Drain
from msgrun.delivery.job import Job
from msgrun.errors import AlreadyRunningError, ExitCode, UsageError
from msgrun.events import Event, Listener, RunEnded, RunStarted
from msgrun.failpoints import reach
from msgrun.ledger import messages, runs, views, workers
from msgrun.ledger.rows import Frozen, RunRow, Summary
from msgrun.states import LIVE, UNSENT, RunStatus
from msgrun.workspace import Workspace

RECOVERED: Final = "recovered"
"""The event of a run whose worker was found dead."""


MANY: Final = 2_000
"""Messages from which on a process that composes is worth its start."""

_QUICK: Final = timedelta(milliseconds=10)  # between two messages: one process composes as fast


@dataclass(frozen=True, slots=True)
class Ending:
    """How a command about a run ended.

    Attributes:
        summary: the run with its figures.
        interrupted: exit code of the signal that stopped it (130 or 143); 0 for none.
        note: what a person should know beside the figures.
        code: the exit code where the figures do not decide it.
    """

    summary: Summary
    interrupted: int = 0
    note: str = ""
    code: int | None = None

    @property
    def exit_code(self) -> int:
        """The code that scripts see; the first that applies."""
        if self.code is not None:
            return self.code
        if self.interrupted:
            return self.interrupted
        if self.summary.run.status is RunStatus.PAUSED:
            return ExitCode.PAUSED
        if self.summary.counts.left_over or self.summary.refused:
            return ExitCode.INCOMPLETE
        return ExitCode.DONE


def summary_of(workspace: Workspace, run_id: int) -> Summary:
    """Return a run with its figures, read now."""
    database = workspace.database
    with database.read() as connection, connection.begin():
        run = runs.get_run(connection, database.tables, run_id)
        return views.summarize(connection, database.tables, run)


def merge_journals(workspace: Workspace) -> None:
    """Bring answers that the database could not take into the ledger, before anything else.

    Raises:
        DatabaseError: it still does not take them.
    """
    workspace.journals.merge(workspace.database)


def recover_dead(
    workspace: Workspace, connection: Connection, run: RunRow, *, lock_is_ours: bool
) -> RunRow:
    """Bring a live run whose workers are dead to rest; return it as it is then.

    One that waits for a worker is left as it is.

    Raises:
        AlreadyRunningError: somebody works on it.
    """
    database, tables = workspace.database, workspace.database.tables
    # Locked, or who takes the run on between two looks of ours would be held for dead.
    run = runs.lock_run(connection, tables, run.id)
    alive = workers.live_workers(
        connection, database, run.id, run.definition, lock_is_ours=lock_is_ours
    )
    if alive:
        who = alive[0]
        raise AlreadyRunningError(
            f"run {run.id} of '{run.definition}' is being worked on (pid {who.pid} on {who.host})",
            f"`msgrun watch {run.id}` shows it, `msgrun stop {run.id}` stops it",
        )
    now = database.now(connection)
    dead = workers.dead_tokens(connection, tables, run.id)
    workers.end(connection, tables, dead, now)
    released, doubted = messages.recover(
        connection, tables, run_id=run.id, dead_tokens=dead, now=now
    )
    if run.status in LIVE and not (run.distributed and run.status is RunStatus.PLANNED):
        told = f"worker is gone; {released} given back, {doubted} in doubt"
        runs.add_event(connection, tables, run.id, RECOVERED, now, told)
        told = "its worker is gone" if dead else "it never began"
        runs.move_run(connection, tables, run.id, RunStatus.STOPPED, now, detail=told)
    return runs.get_run(connection, tables, run.id)


def recover_definition(
    workspace: Workspace, definition: str, *, lock_is_ours: bool, but: int | None = None
) -> None:
    """Bring dead live runs of a definition to rest, so that another may start.

    Args:
        but: the run that is about to be restarted.

    Raises:
        AlreadyRunningError: one of them is alive, or was handed over to workers.
    """
    database = workspace.database
    with database.write() as connection:
        for run in runs.list_runs(
            connection, database.tables, limit=10, definition=definition, live=True
        ):
            recover_dead(workspace, connection, run, lock_is_ours=lock_is_ours)
            if run.distributed and run.status is not RunStatus.STOPPING and run.id != but:
                raise AlreadyRunningError(
                    f"run {run.id} of '{definition}' waits for a worker",
                    f"`msgrun restart {run.id}` sends it from here, `msgrun stop {run.id}` "
                    "keeps workers from it",
                )
    reach("recover.committed")


def take_on(workspace: Workspace, connection: Connection, run: RunRow) -> int:
    """Move a run to running and sign up for it; return the token. In the caller's transaction.

    Raises:
        AlreadyRunningError: somebody was quicker.
    """
    tables = workspace.database.tables
    now = workspace.database.now(connection)
    try:
        moved = runs.move_run(connection, tables, run.id, RunStatus.RUNNING, now)
    except IntegrityError as error:
        raise AlreadyRunningError(f"another run of '{run.definition}' is live",
                                  "`msgrun runs` lists them") from error  # fmt: skip
    if not moved:
        raise AlreadyRunningError(f"run {run.id} has been taken on by another process",
                                  f"`msgrun watch {run.id}` shows it")  # fmt: skip
    return workers.register(connection, tables, run.id, now)


def require_many_hosts(workspace: Workspace) -> None:
    """Refuse what several hosts do together where the ledger is one machine's.

    Raises:
        UsageError: the ledger is SQLite.
    """
    if workspace.database.is_sqlite:
        raise UsageError(
            "workers share a PostgreSQL database; this ledger is an SQLite file, which belongs to "
            "one machine",
            "`msgrun start` sends from this machine (--processes N uses more of it); for many "
            "hosts set [database] url to postgresql+psycopg://…",
        )


def hand_over(workspace: Workspace, connection: Connection, run: RunRow) -> None:
    """Leave a run to any `msgrun worker`. In the caller's transaction.

    Raises:
        AlreadyRunningError: somebody works on it, or on another run of its definition.
    """
    now = workspace.database.now(connection)
    try:
        handed = runs.hand_over(connection, workspace.database.tables, run.id, now)
    except IntegrityError as error:
        raise AlreadyRunningError(f"another run of '{run.definition}' is live",
                                  "`msgrun runs` lists them") from error  # fmt: skip
    if not handed:
        raise AlreadyRunningError(f"run {run.id} has been taken on by another process",
                                  f"`msgrun watch {run.id}` shows it")  # fmt: skip


def handed_over(workspace: Workspace, run_id: int) -> Ending:
    """Wake the workers for a run that was left to them; return how the command ended."""
    wake(workspace.database)
    note = f"run {run_id} waits for a worker: `msgrun watch {run_id}` follows it"
    return Ending(summary_of(workspace, run_id), note=note, code=ExitCode.DONE)


def deliver(
    workspace: Workspace,
    run_id: int,
    token: int,
    *,
    wait: bool,
    processes: int | None = None,
    listener: Listener,
) -> Ending:
    """Drain a run that was taken on, until it comes to rest.

    Args:
        workspace: configuration, database, source.
        run_id: the run.
        token: of this process as its worker.
        wait: whether to wait for deferred messages here.
        processes: how many work on it, this one included; None: as many as it is worth.
        listener: told what happens.

    Raises:
        MsgrunError: ledger or source failed; the next start or restart recovers.
    """
    listener = harmless(listener)
    job = job_of(workspace, run_id, token, wait=wait, processes=processes, listener=listener)
    tell_started(workspace, job)
    reach("plan.written")
    status, interrupted = asyncio.run(_drain(job))
    summary = summary_of(workspace, run_id)
    listener(RunEnded(run_id, status, summary.run.reason, summary.run.detail))
    return Ending(summary, interrupted)


def harmless(listener: Listener) -> Listener:
    """Keep a closed terminal, a broken pipe or a letter it cannot show from ending a run."""
    broken = False

    def listen(event: Event) -> None:
        nonlocal broken
        if not broken:
            try:
                listener(event)
            except UnicodeError:
                return  # this one event; the next may be shown
            except (OSError, ValueError):  # a closed file is a ValueError
                broken = True

    return listen


def tell_started(workspace: Workspace, job: Job) -> None:
    """Tell the job's listener what begins."""
    database, run = workspace.database, job.run
    with database.read() as connection, connection.begin():
        unsent = messages.count_in(connection, database.tables, run.id, UNSENT)
        figures = views.summarize(connection, database.tables, run)
    server = workspace.config.servers[job.server]
    job.listener(
        RunStarted(
            run_id=run.id,
            definition=run.definition,
            to_send=unsent,
            already_sent=figures.messages.sent,
            rate_per_minute=server.rate_per_minute,
            server=f"{server.host}:{server.port}",
            redirect_to=run.selection.redirect_to,
        )
    )


def job_of(
    workspace: Workspace,
    run_id: int,
    token: int,
    *,
    wait: bool,
    leaves: bool = False,
    processes: int | None = None,
    listener: Listener,
) -> Job:
    """Return all that a worker needs for a run, and make its journal.

    Args:
        workspace, run_id, token, wait, processes, listener: as for `deliver`.
        leaves: as `Job` has it.

    Raises:
        MsgrunError: it cannot be sent from this host.
    """
    database = workspace.database
    with database.read() as connection, connection.begin():
        run = runs.get_run(connection, database.tables, run_id)
        frozen = runs.revisions(connection, database.tables, run_id)
        unsent = messages.count_in(connection, database.tables, run_id, UNSENT)
    newest: Frozen = frozen[max(frozen)]
    name, server = workspace.server_of(newest)
    deadline = workspace.definition_of(newest).deadline_delta
    every = workspace.interval_of(newest)
    return Job(
        database=database,
        source=workspace.source,
        run=run,
        token=token,
        journal=workspace.journals.open(token),
        revisions={
            number: workspace.revision(each, run.selection) for number, each in frozen.items()
        },
        transport=workspace.transport_of(newest, run.selection),
        server=name,
        connections=server.connections,
        every=every,
        deadline=deadline,
        wait=wait,
        processes=processes or worth_processes(unsent, every),
        leaves=leaves,
        listener=listener,
    )


def worth_processes(unsent: int, every: timedelta) -> int:
    """Return how many processes a run is worth: a second one where it shortens it noticeably.

    Args:
        unsent: messages to send.
        every: time between two of them under the server's rate.
    """
    slow = every > _QUICK
    return 1 if unsent < MANY or slow or (os.cpu_count() or 1) < 2 else 2


async def _drain(job: Job) -> tuple[RunStatus, int]:
    drain = Drain(job)
    received: list[int] = []

    def on_signal(number: int, code: int) -> None:
        received.append(code)
        if len(received) == 1:
            drain.stop(f"{signal.Signals(number).name} received")
        else:
            drain.abort()

    with signals(on_signal):
        status = await drain.run()
    return status, received[0] if received else 0


@contextmanager
def signals(handler: Callable[[int, int], None]) -> Iterator[None]:
    """Let SIGINT and SIGTERM drain; a closed terminal (SIGHUP) does not end a run."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    codes = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}
    for number, code in codes.items():
        loop.add_signal_handler(number, handler, number, code)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    try:
        yield
    finally:
        for number in (*codes, signal.SIGHUP):
            loop.remove_signal_handler(number)
