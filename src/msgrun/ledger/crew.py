"""All workers of one run: who may join, who takes over from whom, and who ends the run.

Each decision is one transaction that holds the run's row, so that two of them come one after
the other: whoever leaves second sees that the first has left.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from msgrun.database import Database
from msgrun.ledger import messages, runs, workers
from msgrun.ledger.rows import RunRow, WorkerRow
from msgrun.schema import Tables
from msgrun.states import MessageState, RunStatus

R, M = RunStatus, MessageState

TAKEN_OVER: Final = "taken over"
"""The event of a run of which a worker was found dead while others go on with it."""


def colleagues(
    connection: Connection,
    database: Database,
    run: RunRow,
    *,
    own: int | None = None,
    gone: Collection[int] = (),
) -> list[WorkerRow]:
    """Take over from the dead workers of a run, which the caller holds locked.

    What they had claimed is pending again, what was `sending` is in doubt, and they are
    signed off: once this is committed no write of theirs counts.

    Args:
        own: the token of whoever asks.
        gone: tokens that are known to be dead, whatever their lease says.

    Returns:
        The live workers but for `own`. On SQLite there are none: who asks holds the definition.
    """
    tables = database.tables
    rows = [row for row in workers.open_workers(connection, tables, run.id) if row.id != own]
    now = database.now(connection)
    alive = [] if database.is_sqlite else [row for row in rows if _is_alive(row, now, gone)]
    dead = [row.id for row in rows if row not in alive]
    if dead and not database.is_sqlite:
        workers.end(connection, tables, dead, now)
        released, doubted = messages.recover(
            connection, tables, run_id=run.id, dead_tokens=dead, now=now
        )
        told = f"{len(dead)} gone; {released} given back, {doubted} in doubt"
        runs.add_event(connection, tables, run.id, TAKEN_OVER, now, told)
    return alive


def has_dead(connection: Connection, database: Database, run_id: int) -> bool:
    """Tell whether a worker of a run is dead and was not taken over from yet; locks nothing."""
    now = database.now(connection)
    rows = workers.open_workers(connection, database.tables, run_id)
    return any(not workers.holds_lease(row, now) for row in rows)


def wanted(connection: Connection, database: Database, gone: Collection[int] = ()) -> list[RunRow]:
    """Return the runs in which a further worker has something to do, the loneliest first.

    Args:
        gone: as in `colleagues`.
    """
    tables, now = database.tables, database.now(connection)
    found: list[tuple[int, RunRow]] = []
    for run in runs.handed_over(connection, tables):
        rows = workers.open_workers(connection, tables, run.id)
        alive = sum(_is_alive(row, now, gone) for row in rows)
        deserted = run.status is not R.WAITING and (not alive or alive < len(rows))
        if deserted or is_due(connection, tables, run.id, now):
            found.append((alive, run))
    return [run for _, run in sorted(found, key=lambda each: (each[0], each[1].id))]


def is_due(connection: Connection, tables: Tables, run_id: int, now: datetime) -> bool:
    """Tell whether a run has a message that nobody holds and that may leave now."""
    if messages.is_any_in(connection, tables, run_id, (M.PENDING,)):
        return True
    due = messages.next_due(connection, tables, run_id)
    return due is not None and due <= now


def join(
    connection: Connection,
    database: Database,
    run_id: int,
    token: int,
    gone: Collection[int] = (),
) -> bool:
    """Make a worker that looks for a run one of this run; False when it is nobody's to join.

    Raises:
        sqlalchemy.exc.IntegrityError: another run of its definition is live.
    """
    tables = database.tables
    run = runs.lock_run(connection, tables, run_id)
    if run.status is not R.RUNNING and not (
        run.distributed and run.status in {R.PLANNED, R.WAITING}
    ):
        return False
    now = database.now(connection)
    if not workers.join(connection, tables, token, run_id, now):
        return False
    colleagues(connection, database, run, own=token, gone=gone)
    if run.status is not R.RUNNING:
        runs.move_run(connection, tables, run_id, R.RUNNING, now)
    return True


def leave(
    connection: Connection,
    database: Database,
    run_id: int,
    token: int,
    *,
    ending: tuple[RunStatus, str | None, str | None] | None,
    stays: bool,
) -> RunStatus | None:
    """Sign a worker off, who holds nothing any more; the last one leaves the run where it belongs.

    Args:
        ending: what the worker came to: None, nothing is left; WAITING, only deferred messages;
            PAUSED, with its reason; STOPPED, the run is to stop; any other, it only goes.
        stays: whether it waits for its colleagues rather than leave them the run's end.

    Returns:
        The status of the run, as it is then; None when the worker has to go on: there is
        something left to do after all, or somebody to wait for.
    """
    tables = database.tables
    run = runs.lock_run(connection, tables, run_id)
    if workers.is_signed_off(connection, tables, token):
        return run.status  # others hold it for dead: the run is theirs
    others = colleagues(connection, database, run, own=token)
    now = database.now(connection)
    wish, reason, detail = ending or (R.FINISHED, None, None)
    left = _Left(connection, tables, run_id, now)
    halted = wish not in {R.FINISHED, R.WAITING}
    if run.status is R.RUNNING and not halted and ((others and stays) or left.unlike(wish, others)):
        return None
    if run.status is R.RUNNING and wish is R.STOPPED:
        runs.move_run(connection, tables, run_id, R.STOPPING, now, detail=detail)
        run = runs.get_run(connection, tables, run_id)
    to = run.status
    if run.status is R.RUNNING and wish is R.PAUSED:
        to = R.PAUSED
    elif run.status is R.STOPPING and not others:
        to = R.STOPPED
    elif run.status is R.RUNNING and not others and not halted:
        to = wish
    elif run.status is R.RUNNING and not others and left.nothing:
        to = R.FINISHED
    if to is not run.status:
        runs.move_run(connection, tables, run_id, to, now, reason=reason, detail=detail)
    workers.end(connection, tables, [token], now)
    return to


class _Left:
    """What a run has left that nobody holds, when a worker is about to leave it."""

    def __init__(self, connection: Connection, tables: Tables, run_id: int, now: datetime) -> None:
        self._due = is_due(connection, tables, run_id, now)
        self._deferred = messages.next_due(connection, tables, run_id) is not None

    @property
    def nothing(self) -> bool:
        """Whether every message has come to its end, or is held by somebody."""
        return not self._due and not self._deferred

    def unlike(self, wish: RunStatus, others: Sequence[WorkerRow]) -> bool:
        """Tell whether there is more, or less, than the worker saw when it looked."""
        if self._due:
            return True
        return not others and self._deferred != (wish is R.WAITING)


def _is_alive(row: WorkerRow, now: datetime, gone: Collection[int]) -> bool:
    return row.id not in gone and workers.holds_lease(row, now)
