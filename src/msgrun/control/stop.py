"""Stopping and cancelling, from any terminal or host."""

import time
from datetime import datetime
from typing import Final

from sqlalchemy import select, update

from msgrun.clock import boot_seconds
from msgrun.control.work import Ending, merge_journals, recover_dead, summary_of
from msgrun.errors import AlreadyRunningError, ExitCode, UsageError
from msgrun.ledger import runs, workers
from msgrun.ledger.messages import give_up_resends
from msgrun.ledger.rows import RunRow, WorkerRow
from msgrun.states import LIVE, MessageState, RunStatus
from msgrun.workspace import Workspace

_LOOK_SECONDS: Final = 0.05
_ANSWERS_SECONDS: Final = 1.0


def stop(workspace: Workspace, reference: str) -> Ending:
    """Ask a run to stop; return when no further dot can leave (answers may still arrive).

    Raises:
        NotFoundError: no such run.
    """
    database, tables = workspace.database, workspace.database.tables
    merge_journals(workspace)
    with database.write() as connection:
        run = runs.find_run(connection, tables, reference, prefer_live=True)
        run = runs.lock_run(connection, tables, run.id)  # a worker may be about to take it on
        now = database.now(connection)
        asked = runs.move_run(connection, tables, run.id, RunStatus.STOPPING, now)
        if not asked and run.status is not RunStatus.STOPPING:
            asked = runs.move_run(connection, tables, run.id, RunStatus.STOPPED, now)
    if not asked and run.status not in LIVE:
        note = f"run {run.id} is {run.status} already"
        return Ending(summary_of(workspace, run.id), note=note, code=ExitCode.DONE)
    _until_drained(workspace, run)
    _until_answers(workspace, run)
    return Ending(summary_of(workspace, run.id), note=f"run {run.id} stopped", code=ExitCode.DONE)


def _until_drained(workspace: Workspace, run: RunRow) -> None:
    """Wait for every live worker to say that it has drained; bring a dead one's run to rest."""
    database, leases = workspace.database, _Leases()
    while True:
        with database.read() as connection, connection.begin():
            current = runs.get_run(connection, database.tables, run.id)
            alive = workers.live_workers(connection, database, run.id, run.definition)
        # A frozen worker that wakes after its lease looks at the clock and sends no dot.
        drained = all(worker.drained or leases.are_over(worker) for worker in alive)
        if drained and (alive or current.status not in LIVE):
            return
        if not alive:
            try:
                with database.write() as connection:
                    current = runs.get_run(connection, database.tables, run.id)
                    recover_dead(workspace, connection, current, lock_is_ours=False)
                return
            except AlreadyRunningError:
                pass  # taken on again between the two looks
        time.sleep(_LOOK_SECONDS)


class _Leases:
    """Tells which leases are over, by the time that passes while we look.

    The moment in the table is by another process's clock, and the host's may have been set
    since; who lives renews it long before a whole lease has passed.
    """

    def __init__(self) -> None:
        self._seen: dict[int, tuple[datetime, float]] = {}

    def are_over(self, worker: WorkerRow) -> bool:
        now = boot_seconds()
        lease, since = self._seen.get(worker.id, (None, now))
        if lease != worker.lease_until:
            self._seen[worker.id] = worker.lease_until, now
            return False
        return now - since > workers.LEASE.total_seconds()


def _until_answers(workspace: Workspace, run: RunRow) -> None:
    """Give answers that are on their way a moment, so that the figures shown are final."""
    database, until = workspace.database, time.monotonic() + _ANSWERS_SECONDS
    while time.monotonic() < until:
        with database.read() as connection, connection.begin():
            current = runs.get_run(connection, database.tables, run.id)
        if current.status not in LIVE:
            return
        time.sleep(_LOOK_SECONDS)


def cancel(workspace: Workspace, reference: str) -> Ending:
    """Give up what a run has not sent, and free it for another run. In doubt stays in doubt.

    Raises:
        NotFoundError: no such run.
        UsageError: the run is finished: nothing is left to give up.
        AlreadyRunningError: its worker still waits for answers.
    """
    database, tables = workspace.database, workspace.database.tables
    merge_journals(workspace)
    with database.read() as connection, connection.begin():
        run = runs.find_run(connection, tables, reference)
    if run.status is RunStatus.CANCELLED:
        note = f"run {run.id} is cancelled already"
        return Ending(summary_of(workspace, run.id), note=note, code=ExitCode.DONE)
    if run.status is RunStatus.FINISHED:
        raise UsageError(f"run {run.id} is finished: nothing is left to cancel",
                         "`msgrun show` has its figures")  # fmt: skip
    if run.status in LIVE:
        stop(workspace, str(run.id))
    with database.write() as connection:
        run = runs.get_run(connection, tables, run.id)
        recover_dead(workspace, connection, run, lock_is_ours=False)
        now = database.now(connection)
        if not runs.move_run(connection, tables, run.id, RunStatus.CANCELLED, now):
            raise AlreadyRunningError(
                f"run {run.id} was taken on by another process meanwhile",
                f"`msgrun stop {run.id}` stops it",
            )
        message = tables.message
        unsent = (
            message.c.run_id == run.id,
            message.c.state.in_((MessageState.PENDING, MessageState.DEFERRED)),
        )
        give_up_resends(connection, tables, unsent, now)
        given_up = connection.execute(
            update(message)
            .where(*unsent)
            .values(state=MessageState.SKIPPED, reason="MR128", due_at=None, updated_at=now)
        )
        link = tables.message_invoice
        theirs = select(message.c.id).where(
            message.c.run_id == run.id,
            message.c.state == MessageState.SKIPPED,
            message.c.reason == "MR128",
        )
        connection.execute(update(link).where(link.c.message_id.in_(theirs)).values(holds=False))
        number = given_up.rowcount
        told = f"{number} message{'' if number == 1 else 's'} given up"
    return Ending(summary_of(workspace, run.id), note=f"run {run.id} cancelled: {told}",
                  code=ExitCode.DONE)  # fmt: skip
