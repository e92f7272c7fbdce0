"""Who works on a run, or looks for one: registered, seen, and known to be dead.

SQLite: a file lock for each definition, which the kernel releases with the process.
PostgreSQL: a lease by the database's clock, cut short where the process is known to be dead.
"""

import hashlib
import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from msgrun.database import Database
from msgrun.errors import AlreadyRunningError
from msgrun.ledger.rows import WorkerRow
from msgrun.schema import Tables
from msgrun.states import MessageState

LEASE: Final = timedelta(seconds=30)
"""How long others keep off after a worker's last sign of life."""

HEARTBEAT: Final = timedelta(seconds=5)
"""How often a worker shows that it lives."""


def boot_id() -> str:
    """Return what changes when this host restarts; "" where the system does not tell.

    It names the PID namespace too: from one container, the processes of another cannot be
    seen, although host name and kernel may be the same.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _lock_path(database: Database, definition: str) -> Path:
    name = definition
    if not re.fullmatch(r"[\w-]{1,60}", definition, re.ASCII):
        name = hashlib.sha256(definition.encode()).hexdigest()[:16]
    return database.path.with_name(f"{database.path.name}.{name}.lock")


@contextmanager
def definition_lock(database: Database, definition: str) -> Iterator[None]:
    """Hold a definition for this process, as long as it lives; PostgreSQL goes by leases instead.

    Raises:
        AlreadyRunningError: another process holds it.
    """
    if not database.is_sqlite:
        yield
        return
    from filelock import FileLock, Timeout

    # A doctor or a stop that looks takes the lock for an instant: hence the second's patience.
    lock = FileLock(_lock_path(database, definition), timeout=1)
    try:
        lock.acquire()
    except Timeout:
        raise AlreadyRunningError(
            f"definition '{definition}' is being run by another process",
            "`msgrun watch` shows it, `msgrun stop` stops it",
        ) from None
    try:
        yield
    finally:
        lock.release()


def _lock_is_free(database: Database, definition: str) -> bool:
    from filelock import FileLock, Timeout

    path = _lock_path(database, definition)
    if not path.exists():
        return True
    try:
        with FileLock(path, blocking=False):
            return True
    except Timeout:
        return False


def live_workers(
    connection: Connection,
    database: Database,
    run_id: int,
    definition: str,
    *,
    lock_is_ours: bool = False,
) -> Sequence[WorkerRow]:
    """Return the workers of a run that are alive, as far as this host can tell.

    Args:
        lock_is_ours: this process holds `definition_lock`, so nobody else is alive (SQLite).
    """
    rows = open_workers(connection, database.tables, run_id)
    if not rows:
        return ()
    if database.is_sqlite:
        return () if lock_is_ours or _lock_is_free(database, definition) else rows
    now = database.now(connection)
    return [row for row in rows if holds_lease(row, now)]


def holds_lease(row: WorkerRow, now: datetime) -> bool:
    """Tell whether a worker that has not signed off is alive, as far as this host can tell."""
    return row.lease_until > now and not _is_dead_here(row)


def open_workers(connection: Connection, tables: Tables, run_id: int) -> list[WorkerRow]:
    """Return the workers of a run that never signed off, dead or alive."""
    worker = tables.worker
    mine = worker.c.run_id == run_id
    return _read(connection, tables, mine, worker.c.ended_at.is_(None))


def list_workers(connection: Connection, tables: Tables, *, ended: bool) -> list[WorkerRow]:
    """Return who works or looks for work, in the order of signing up; also `ended` ones."""
    return _read(connection, tables, *([] if ended else [tables.worker.c.ended_at.is_(None)]))


def _read(connection: Connection, tables: Tables, *which: ColumnElement[bool]) -> list[WorkerRow]:
    rows = connection.execute(select(tables.worker).where(*which).order_by(tables.worker.c.id))
    fields = WorkerRow.__dataclass_fields__
    return [WorkerRow(**{name: row[name] for name in fields}) for row in rows.mappings()]


def last_worker(connection: Connection, tables: Tables, run_id: int) -> WorkerRow | None:
    """Return the worker that last registered for a run."""
    worker = tables.worker
    row = connection.execute(
        select(worker).where(worker.c.run_id == run_id).order_by(worker.c.id.desc()).limit(1)
    )
    found = row.mappings().one_or_none()
    if found is None:
        return None
    return WorkerRow(**{name: found[name] for name in WorkerRow.__dataclass_fields__})


def _is_dead_here(row: WorkerRow) -> bool:
    """Tell whether a worker of this very host and boot has no process any more."""
    return is_of_this_boot(row.host, row.boot_id) and is_gone(row.pid)


def is_of_this_boot(host: str, boot: str) -> bool:
    """Tell whether a process of that host and boot can be looked for from here."""
    return host == socket.gethostname() and boot != "" and boot == boot_id()


def is_gone(pid: int) -> bool:
    """Tell whether there is no such process here."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def register(
    connection: Connection,
    tables: Tables,
    run_id: int | None,
    now: datetime,
    *,
    standing: bool = False,
) -> int:
    """Sign up as a worker of a run; return the token that fences its claims.

    Args:
        run_id: None for one that looks for a run (see `join`).
        standing: whether it goes on to the next run after this one.
    """
    token: int = connection.execute(
        insert(tables.worker)
        .values(
            run_id=run_id,
            host=socket.gethostname(),
            boot_id=boot_id(),
            pid=os.getpid(),
            started_at=now,
            seen_at=now,
            lease_until=now + LEASE,
            drained=False,
            standing=standing,
        )
        .returning(tables.worker.c.id)
    ).scalar_one()
    return token


def join(connection: Connection, tables: Tables, token: int, run_id: int, now: datetime) -> bool:
    """Let a worker that looks for a run be one of this run; False when it was signed off."""
    worker = tables.worker
    joined = connection.execute(
        update(worker)
        .where(worker.c.id == token, worker.c.run_id.is_(None), worker.c.ended_at.is_(None))
        .values(run_id=run_id, started_at=now, seen_at=now, lease_until=now + LEASE)
    )
    return bool(joined.rowcount)


def forget_idle(
    connection: Connection, tables: Tables, now: datetime, token: int | None = None
) -> None:
    """Remove those that never had a run: the one that leaves, and all whose lease is over."""
    worker = tables.worker
    gone = worker.c.lease_until < now
    connection.execute(
        delete(worker).where(worker.c.run_id.is_(None), gone | (worker.c.id == (token or 0)))
    )


def any_standing(connection: Connection, database: Database) -> bool:
    """Tell whether a `msgrun worker` lives anywhere, at work or looking for some."""
    return count_standing(connection, database) > 0


def count_standing(connection: Connection, database: Database) -> int:
    """Return how many `msgrun worker`s live, at work or looking for some."""
    now = database.now(connection)
    rows = list_workers(connection, database.tables, ended=False)
    return sum(row.standing and holds_lease(row, now) for row in rows)


def heartbeat(
    connection: Connection,
    tables: Tables,
    token: int,
    now: datetime,
    *,
    sent: int = 0,
    per_minute: int = 0,
) -> bool:
    """Show a sign of life and extend the lease of all that is held; False when signed off.

    Args:
        sent: messages of this run that this worker has had accepted.
        per_minute: the same over its last minute, or since it began.
    """
    worker, message = tables.worker, tables.message
    alive = connection.execute(
        update(worker)
        .where(worker.c.id == token, worker.c.ended_at.is_(None))
        .values(seen_at=now, lease_until=now + LEASE, sent=sent, per_minute=per_minute)
    )
    if not alive.rowcount:
        return False
    # Named, so that the index of the run's states is used.
    run_id = select(worker.c.run_id).where(worker.c.id == token).scalar_subquery()
    connection.execute(
        update(message)
        .where(
            message.c.run_id == run_id,
            message.c.token == token,
            message.c.state.in_((MessageState.CLAIMED, MessageState.SENDING)),
        )
        .values(lease_until=now + LEASE)
    )
    return True


def is_signed_off(connection: Connection, tables: Tables, token: int) -> bool:
    """Tell whether a worker has ended, or was held for dead by another process."""
    ended = connection.execute(
        select(tables.worker.c.ended_at).where(tables.worker.c.id == token)
    ).scalar_one()
    return ended is not None


def set_drained(connection: Connection, tables: Tables, token: int) -> None:
    """Say that a stop was seen, and that no connection stands between commit and dot."""
    worker = tables.worker
    connection.execute(update(worker).where(worker.c.id == token).values(drained=True))


def end(connection: Connection, tables: Tables, tokens: Sequence[int], now: datetime) -> None:
    """Sign off: this worker's own, or dead ones'."""
    worker = tables.worker
    connection.execute(
        update(worker)
        .where(worker.c.id.in_(tokens), worker.c.ended_at.is_(None))
        .values(ended_at=now, drained=True)
    )


def dead_tokens(connection: Connection, tables: Tables, run_id: int) -> list[int]:
    """Return the tokens of workers that never signed off; the caller knows that none is alive."""
    return [row.id for row in open_workers(connection, tables, run_id)]
