"""Run rows: created, moved along the table of moves, with an event for each step."""

import getpass
import socket
import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, func, insert, literal, select, update

from msgrun.errors import NotFoundError
from msgrun.ledger.rows import Frozen, RunRow
from msgrun.model import Selection
from msgrun.schema import Tables
from msgrun.states import LIVE, RunStatus, run_sources_of

_MOST_DIGITS: Final = 18  # more do not fit the column


def actor() -> str:
    """Return who acts, as user@host."""
    user = "unknown"
    with suppress(KeyError, OSError):
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()}"


def create_run(
    connection: Connection,
    tables: Tables,
    frozen: Frozen,
    selection: Selection,
    now: datetime,
) -> RunRow:
    """Write a planned run with its frozen definition.

    Raises:
        sqlalchemy.exc.IntegrityError: the definition has a live run already.
    """
    period = selection.period
    row = connection.execute(
        insert(tables.run)
        .values(
            uid=uuid.uuid4().hex,
            definition=frozen.name,
            status=RunStatus.PLANNED,
            cluster=selection.cluster,
            children=selection.children,
            period=period.label if period else None,
            period_start=period.start if period else None,
            period_end=period.end if period else None,
            customers=list(selection.customers),
            message_limit=selection.limit,
            redirect_to=selection.redirect_to,
            bcc=list(selection.bcc),
            resend=selection.resend,
            created_by=actor(),
            created_at=now,
        )
        .returning(tables.run)
    )
    run = RunRow.of(row.mappings().one())
    add_revision(connection, tables, run.id, frozen, now)
    add_event(connection, tables, run.id, "planned", now)
    return run


def add_revision(
    connection: Connection, tables: Tables, run_id: int, frozen: Frozen, now: datetime
) -> int:
    """Store a definition with the run; return the revision's number, from 1."""
    table = tables.run_revision
    numbers = connection.execute(select(table.c.number).where(table.c.run_id == run_id))
    number = max(numbers.scalars(), default=0) + 1
    content = {
        "name": frozen.name,
        "definition": dict(frozen.definition),
        "templates": {part: list(pair) for part, pair in frozen.templates.items()},
    }
    connection.execute(
        insert(table).values(run_id=run_id, number=number, frozen=content, created_at=now)
    )
    return number


def revisions(connection: Connection, tables: Tables, run_id: int) -> Mapping[int, Frozen]:
    """Return every frozen definition of a run by its number."""
    table = tables.run_revision
    rows = connection.execute(
        select(table.c.number, table.c.frozen)
        .where(table.c.run_id == run_id)
        .order_by(table.c.number)
    )
    return {number: _frozen(content) for number, content in rows}


def _frozen(content: Mapping[str, Any]) -> Frozen:
    templates = {part: (pair[0], pair[1]) for part, pair in content["templates"].items()}
    return Frozen(content["name"], content["definition"], templates)


def add_event(
    connection: Connection,
    tables: Tables,
    run_id: int,
    kind: str,
    now: datetime,
    detail: str | None = None,
) -> None:
    """Note who did what to a run."""
    connection.execute(
        insert(tables.event).values(run_id=run_id, at=now, actor=actor(), kind=kind, detail=detail)
    )


def events(connection: Connection, tables: Tables, run_id: int) -> list[Mapping[str, Any]]:
    """Return a run's events, oldest first."""
    table = tables.event
    rows = connection.execute(select(table).where(table.c.run_id == run_id).order_by(table.c.id))
    return [dict(row) for row in rows.mappings()]


def newest_events(
    connection: Connection, tables: Tables, *, run_id: int | None = None, limit: int | None = None
) -> list[Mapping[str, Any]]:
    """Return events with the definition of their runs, newest first: of one run, or of all."""
    event, run = tables.event, tables.run
    query = select(event, run.c.definition).join(run, run.c.id == event.c.run_id)
    if run_id is not None:
        query = query.where(event.c.run_id == run_id)
    rows = connection.execute(query.order_by(event.c.id.desc()).limit(limit))
    return [dict(row) for row in rows.mappings()]


def move_run(
    connection: Connection,
    tables: Tables,
    run_id: int,
    to: RunStatus,
    now: datetime,
    *,
    reason: str | None = None,
    detail: str | None = None,
) -> bool:
    """Move a run if the table of moves allows it from where it stands; tell whether it moved."""
    run = tables.run
    values: dict[str, Any] = {"status": to, "reason": reason, "detail": detail}
    if to is RunStatus.PLANNED:
        values["finished_at"] = None
    elif to is RunStatus.RUNNING:
        values |= {
            "started_at": func.coalesce(run.c.started_at, literal(now, run.c.started_at.type)),
            "finished_at": None,
        }
    elif to not in LIVE and to is not RunStatus.WAITING:
        values["finished_at"] = now
    moved = connection.execute(
        update(run).where(run.c.id == run_id, run.c.status.in_(run_sources_of(to))).values(**values)
    )
    if moved.rowcount:
        add_event(connection, tables, run_id, to.value, now, detail)
    return bool(moved.rowcount)


def hand_over(connection: Connection, tables: Tables, run_id: int, now: datetime) -> bool:
    """Leave a run, planned, to any worker that comes; False when it is live elsewhere.

    Raises:
        sqlalchemy.exc.IntegrityError: the definition has another live run.
    """
    run = tables.run
    if get_run(connection, tables, run_id).status is not RunStatus.PLANNED and not move_run(
        connection, tables, run_id, RunStatus.PLANNED, now
    ):
        return False
    handed = connection.execute(
        update(run)
        .where(run.c.id == run_id, run.c.status == RunStatus.PLANNED)
        .values(distributed=True)
    )
    add_event(connection, tables, run_id, "handed over", now, "to any worker")
    return bool(handed.rowcount)


def handed_over(connection: Connection, tables: Tables) -> list[RunRow]:
    """Return the runs that workers may take on or join, oldest first.

    Those that are drained now, those that wait for a worker, and those of them with deferred
    messages alone; whether anything is left to do in one is not looked at.
    """
    run = tables.run
    kept = run.c.distributed & run.c.status.in_((RunStatus.PLANNED, RunStatus.WAITING))
    query = select(run).where((run.c.status == RunStatus.RUNNING) | kept).order_by(run.c.id)
    return [RunRow.of(row) for row in connection.execute(query).mappings()]


def get_run(connection: Connection, tables: Tables, run_id: int) -> RunRow:
    """Return a run.

    Raises:
        NotFoundError: there is none with this number.
    """
    row = connection.execute(select(tables.run).where(tables.run.c.id == run_id))
    found = row.mappings().one_or_none()
    if found is None:
        raise NotFoundError(f"there is no run {run_id}", "`msgrun runs` lists them")
    return RunRow.of(found)


def lock_run(connection: Connection, tables: Tables, run_id: int) -> RunRow:
    """Return a run as it is now; nobody else moves it until this transaction ends."""
    row = connection.execute(select(tables.run).where(tables.run.c.id == run_id).with_for_update())
    return RunRow.of(row.mappings().one())


def find_run(
    connection: Connection, tables: Tables, reference: str, *, prefer_live: bool = False
) -> RunRow:
    """Return the run that a person means: a number, or `last` (the newest, or newest live, one).

    Raises:
        NotFoundError: no such run, or none at all.
    """
    if reference != "last":
        if not reference.isdecimal() or len(reference) > _MOST_DIGITS:
            raise NotFoundError(
                f"'{reference}' is no run: a number, or 'last'", "`msgrun runs` lists them"
            )
        return get_run(connection, tables, int(reference))
    newest = list_runs(connection, tables, limit=1)
    if prefer_live:
        newest = list_runs(connection, tables, limit=1, live=True) or newest
    if not newest:
        raise NotFoundError("there is no run yet", "`msgrun start` makes the first")
    return newest[0]


def list_runs(
    connection: Connection,
    tables: Tables,
    *,
    limit: int,
    definition: str | None = None,
    live: bool = False,
) -> list[RunRow]:
    """Return runs, newest first."""
    run = tables.run
    query = select(run).order_by(run.c.id.desc()).limit(limit)
    if definition is not None:
        query = query.where(run.c.definition == definition)
    if live:
        query = query.where(run.c.status.in_(LIVE))
    return [RunRow.of(row) for row in connection.execute(query).mappings()]
