"""The workers of a ledger, as a person wants to see them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, select

from msgrun.database import Database
from msgrun.ledger import workers
from msgrun.ledger.rows import WorkerRow

_SILENT: Final = 2 * workers.HEARTBEAT


class WorkerState(StrEnum):
    """What a worker does, as far as this host can tell."""

    WORKING = "working"  # drains its run
    IDLE = "idle"  # looks for a run
    SILENT = "silent"  # missed a sign of life; its lease still holds
    DEAD = "dead"  # process gone or lease over, never signed off: others take over
    ENDED = "ended"  # signed off


@dataclass(frozen=True, slots=True)
class Seen:
    """A worker, and what it does."""

    worker: WorkerRow
    state: WorkerState


def take_census(connection: Connection, database: Database, *, ended: bool) -> Sequence[Seen]:
    """Return the workers, in the order of signing up; with `ended`, all there ever were."""
    rows = workers.list_workers(connection, database.tables, ended=ended)
    return [Seen(row, _state(connection, database, row)) for row in rows]


def _state(connection: Connection, database: Database, row: WorkerRow) -> WorkerState:
    if row.ended_at is not None:
        return WorkerState.ENDED
    now = database.now(connection)
    if not _is_alive(connection, database, row):
        return WorkerState.DEAD
    if now - row.seen_at > _SILENT:
        return WorkerState.SILENT
    return WorkerState.IDLE if row.run_id is None else WorkerState.WORKING


def _is_alive(connection: Connection, database: Database, row: WorkerRow) -> bool:
    if not database.is_sqlite:
        return workers.holds_lease(row, database.now(connection))
    run = database.tables.run
    of = select(run.c.definition).where(run.c.id == row.run_id)
    definition: str = connection.execute(of).scalar_one()
    alive = workers.live_workers(connection, database, row.run_id or 0, definition)
    return row.id in {each.id for each in alive}
