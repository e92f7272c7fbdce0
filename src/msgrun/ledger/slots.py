"""Schedules and their slots: each slot at most once, held by a unique constraint.

A slot is taken by inserting its row; whoever takes over from a dead process raises `tries`, and
every later write of the dead one, should it wake, is refused. The run's number is written into the
slot in the transaction that writes the run (`attach`), so that there is never a run without its
slot, nor a second run of one slot.
"""

import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, case, select, update

from msgrun.errors import AlreadyRunningError
from msgrun.ledger.runs import actor
from msgrun.ledger.workers import boot_id, is_gone, is_of_this_boot
from msgrun.schema import Tables
from msgrun.states import SlotState

LEASE: Final = timedelta(minutes=30)
"""How long a slot is left to a process of another host that has taken it and plans."""

LONGEST: Final = timedelta(hours=4)
"""The same for a process of this host: its number may be another's by then."""

S = SlotState


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """A schedule as the ledger has it.

    Attributes:
        since: its slots up to then are not run: it was new, paused or changed.
        looked_at: when `run-due` looked last.
    """

    name: str
    cron: str
    timezone: str
    since: datetime
    looked_at: datetime
    paused_at: datetime | None
    paused_by: str | None


@dataclass(frozen=True, slots=True)
class SlotRow:
    """A slot that was taken or missed.

    Attributes:
        tries: how often it was taken; the fencing token.
        due_at: the next try, not before.
        code: exit code of the last try.
    """

    id: int
    schedule: str
    slot: datetime
    state: SlotState
    run_id: int | None
    tries: int
    taken_at: datetime
    taken_by: str
    host: str
    boot_id: str
    pid: int
    due_at: datetime | None
    code: int | None
    detail: str | None
    ended_at: datetime | None

    def is_held(self, now: datetime) -> bool:
        """Tell whether a live process plans its run, as far as this host can tell."""
        if self.state is not S.TAKEN:
            return False
        if is_of_this_boot(self.host, self.boot_id):
            return not is_gone(self.pid) and now < self.taken_at + LONGEST
        return now < self.taken_at + LEASE


def find(connection: Connection, tables: Tables, name: str) -> ScheduleRow | None:
    """Return a schedule; None where nothing ever looked at it."""
    table = tables.schedule
    row = connection.execute(select(table).where(table.c.name == name)).mappings().one_or_none()
    return None if row is None else ScheduleRow(**row)


def know(
    connection: Connection, tables: Tables, name: str, cron: str, timezone: str, now: datetime
) -> ScheduleRow:
    """Return a schedule, its row locked to the transaction's end; note that it was looked at.

    A new one begins now, and so does one whose timetable has changed: slots that the
    configuration did not have at their time are not run.
    """
    table = tables.schedule
    first = {"name": name, "cron": cron, "timezone": timezone, "since": now, "looked_at": now}
    _added(connection, table, first)
    mine = table.c.name == name
    row = connection.execute(select(table).where(mine).with_for_update()).mappings().one()
    seen: dict[str, Any] = {"looked_at": now}
    if (row["cron"], row["timezone"]) != (cron, timezone):
        seen |= {"cron": cron, "timezone": timezone, "since": now}
    connection.execute(update(table).where(mine).values(**seen))
    return ScheduleRow(**{**row, **seen})


def begin_anew(connection: Connection, tables: Tables, name: str, now: datetime) -> None:
    """Leave out the slots up to now."""
    table = tables.schedule
    connection.execute(update(table).where(table.c.name == name).values(since=now))


def pause(connection: Connection, tables: Tables, name: str, now: datetime) -> None:
    """Keep a schedule from starting or resuming anything."""
    values = {"paused_at": now, "paused_by": actor()}
    _change(connection, tables, name, values)


def unpause(connection: Connection, tables: Tables, name: str, now: datetime) -> None:
    """Let a schedule go on; the slots in between are not run."""
    _change(connection, tables, name, {"paused_at": None, "paused_by": None, "since": now})


def _change(connection: Connection, tables: Tables, name: str, values: dict[str, Any]) -> None:
    table = tables.schedule
    connection.execute(update(table).where(table.c.name == name).values(**values))


def newest(connection: Connection, tables: Tables, name: str, *states: SlotState) -> SlotRow | None:
    """Return the latest slot on record, of certain states if any are named."""
    table = tables.slot
    which = [table.c.state.in_(states)] if states else []
    found = _read(connection, table, table.c.schedule == name, *which, last=True)
    return found[0] if found else None


def find_slot(connection: Connection, tables: Tables, name: str, slot: datetime) -> SlotRow | None:
    """Return a slot; None where it was neither taken nor missed."""
    table = tables.slot
    found = _read(connection, table, table.c.schedule == name, table.c.slot == slot)
    return found[0] if found else None


def open_slots(connection: Connection, tables: Tables, name: str) -> list[SlotRow]:
    """Return the slots that are not over, the earliest first."""
    table = tables.slot
    going_on = table.c.state.in_((S.TAKEN, S.WAITING, S.STARTED))
    return _read(connection, table, table.c.schedule == name, going_on)


def _read(
    connection: Connection, table: Table, *which: ColumnElement[bool], last: bool = False
) -> list[SlotRow]:
    query = select(table).where(*which)
    query = query.order_by(table.c.slot.desc()).limit(1) if last else query.order_by(table.c.slot)
    rows = connection.execute(query).mappings()
    return [SlotRow(**{**row, "state": SlotState(row["state"])}) for row in rows]


def take(
    connection: Connection, tables: Tables, name: str, slot: datetime, now: datetime
) -> SlotRow | None:
    """Take a slot for this process; None when it is somebody else's."""
    values = {"schedule": name, "slot": slot, "state": S.TAKEN, "tries": 1, **_here(now)}
    taken = _added(connection, tables.slot, values)
    return find_slot(connection, tables, name, slot) if taken else None


def miss(
    connection: Connection,
    tables: Tables,
    name: str,
    missed: Iterable[datetime],
    now: datetime,
    why: str,
) -> list[SlotRow]:
    """Record slots as missed that nobody took; return those that nobody else recorded."""
    recorded = []
    for slot in missed:
        values = {
            "schedule": name, "slot": slot, "state": S.MISSED, "tries": 0, "detail": why,
            "ended_at": now, **_here(now),
        }  # fmt: skip
        added = _added(connection, tables.slot, values)
        if added and (row := find_slot(connection, tables, name, slot)) is not None:
            recorded.append(row)
    return recorded


def retake(connection: Connection, tables: Tables, row: SlotRow, now: datetime) -> SlotRow | None:
    """Take a slot over whose run could not start, or whose process died; None: it is gone."""
    values = {"state": S.TAKEN, "tries": row.tries + 1, "due_at": None, **_here(now)}
    taken = _move(connection, tables, row, (S.TAKEN, S.WAITING), values)
    return find_slot(connection, tables, row.schedule, row.slot) if taken else None


def attach(connection: Connection, tables: Tables, row: SlotRow, run_id: int, name: str) -> None:
    """Tie a slot to its run, in the transaction that writes the run.

    Args:
        name: of the slot, as the run shows it.

    Raises:
        AlreadyRunningError: another process has taken the slot over.
    """
    if not _move(connection, tables, row, (S.TAKEN,), {"state": S.STARTED, "run_id": run_id}):
        raise AlreadyRunningError(
            f"the slot {name} of schedule '{row.schedule}' was taken over by another process",
            "`msgrun schedule list` shows its run",
        )
    run = tables.run
    connection.execute(
        update(run).where(run.c.id == run_id).values(schedule=row.schedule, slot=name)
    )


def try_again(
    connection: Connection, tables: Tables, row: SlotRow, due_at: datetime
) -> SlotRow | None:
    """Claim the next try at a started slot's run; None when another process was quicker."""
    values = {"tries": row.tries + 1, "due_at": due_at}
    if not _move(connection, tables, row, (S.STARTED,), values):
        return None
    return find_slot(connection, tables, row.schedule, row.slot)


def postpone(
    connection: Connection,
    tables: Tables,
    row: SlotRow,
    *,
    due_at: datetime,
    code: int,
    detail: str,
) -> None:
    """Note why a slot's run did not start, or did not go on; it is tried again."""
    run_id = tables.slot.c.run_id
    values = {
        "state": case((run_id.is_(None), S.WAITING.value), else_=S.STARTED.value),
        "due_at": due_at,
        "code": code,
        "detail": detail,
    }
    _move(connection, tables, row, (S.TAKEN, S.STARTED), values)


def note(
    connection: Connection, tables: Tables, row: SlotRow, now: datetime, *, code: int, detail: str,
    over: SlotState | None,
) -> bool:  # fmt: skip
    """Note how a slot stands; with `over`, that it is over. Tell whether it was this process's."""
    values: dict[str, Any] = {"code": code, "detail": detail}
    if over is not None:
        values |= {"state": over, "ended_at": now, "due_at": None}
    return _move(connection, tables, row, (S.TAKEN, S.WAITING, S.STARTED), values)


def _move(
    connection: Connection,
    tables: Tables,
    row: SlotRow,
    sources: tuple[SlotState, ...],
    values: dict[str, Any],
) -> bool:
    """Change a slot if it stands as this process last saw it."""
    table = tables.slot
    mine = (table.c.id == row.id, table.c.tries == row.tries, table.c.state.in_(sources))
    return bool(connection.execute(update(table).where(*mine).values(**values)).rowcount)


def tell_once(
    connection: Connection, tables: Tables, row: SlotRow, kind: str, now: datetime
) -> bool:
    """Note that a kind of news of a slot is told; False when it was before."""
    values = {"schedule": row.schedule, "slot": row.slot, "kind": kind, "told_at": now}
    return _added(connection, tables.news, values)


def told_badly(
    connection: Connection, tables: Tables, row: SlotRow, kind: str, problem: str
) -> None:
    """Note why news did not arrive."""
    table = tables.news
    which = (table.c.schedule == row.schedule, table.c.slot == row.slot, table.c.kind == kind)
    connection.execute(update(table).where(*which).values(problem=problem))


def _here(now: datetime) -> dict[str, Any]:
    return {
        "taken_at": now,
        "taken_by": actor(),
        "host": socket.gethostname(),
        "boot_id": boot_id(),
        "pid": os.getpid(),
    }


def _added(connection: Connection, table: Table, values: dict[str, Any]) -> bool:
    """Insert a row unless there is one of its kind; tell whether it was inserted."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    # Asked for a column, because the number of rows is not to be had for an INSERT everywhere.
    statement = insert(table).values(**values).on_conflict_do_nothing()
    return connection.execute(statement.returning(*table.primary_key)).first() is not None
