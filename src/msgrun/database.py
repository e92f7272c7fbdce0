"""Engines, connections and transactions, and what their errors mean to a person (MR001)."""

import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, NullPool, create_engine, event, func, inspect, select
from sqlalchemy import exc as sa_exc
from sqlalchemy.engine import URL, make_url

from msgrun.clock import steady_clock
from msgrun.errors import DatabaseError, MsgrunError
from msgrun.schema import REVISION, Tables, tables

BUSY_SECONDS: Final = 60
"""How long a locked SQLite database is waited for."""

_LIBPQ: Final = {
    "connect_timeout": 10,
    # A server that vanishes without a word is noticed within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
_CLOCK: Final = select(func.clock_timestamp())
_NOW: Final = "now of this transaction"
_FULL: Final = 2  # what PRAGMA synchronous calls it

_WAL_SAFE: Final = ((3, 51, 3), (3, 50, 7), (3, 44, 6))


def wal_is_safe(version: tuple[int, int, int]) -> bool:
    """Tell whether this SQLite keeps WAL commits when two connections write.

    3.7.0 to 3.51.2 can lose them, but for the repaired 3.44.6 and 3.50.7.
    """
    newest, *repaired = _WAL_SAFE
    return version >= newest or version in repaired or version < (3, 7, 0)


class Database:
    """One database: SQLite or PostgreSQL, with msgrun's tables in it.

    Args:
        url: an SQLAlchemy URL; SQLite paths are absolute, PostgreSQL means psycopg 3.
        attach: further SQLite files by name, visible (read-only) to `read(attach=True)` alone.
        clock: goes by it on SQLite; by default one that nobody can set in mid-run.
    """

    def __init__(
        self,
        url: str,
        attach: Mapping[str, Path] | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self.url: URL = make_url(url)
        self.dialect = self.url.get_backend_name()
        self.tables: Tables = tables(self.dialect)
        self.attach = dict(attach or {})
        self._clock = clock or steady_clock()
        self._engine = self._make_engine()

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes; the other one opens its own connections."""
        return Database, (self.url.render_as_string(hide_password=False), self.attach)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is an SQLite file."""
        return self.dialect == "sqlite"

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return Path(self.url.database or "")

    def describe(self) -> str:
        """Return the URL as text, without the password."""
        return self.url.render_as_string(hide_password=True)

    def _make_engine(self) -> Engine:
        if self.is_sqlite:
            engine = create_engine(
                f"sqlite:///{self.path.as_uri()}?uri=true",
                poolclass=NullPool,
                connect_args={"isolation_level": None, "timeout": BUSY_SECONDS},
            )
            event.listen(engine, "connect", _prepare_sqlite)
        else:
            engine = create_engine(self.url, poolclass=NullPool, connect_args=dict(_LIBPQ))
            event.listen(engine, "connect", _prepare_postgresql)
        event.listen(engine, "begin", _begin)
        return engine

    @contextmanager
    def connect(self, *, attach: bool = False) -> Iterator[Connection]:
        """Open a connection that starts its transactions as told by `begin` (default: plain).

        Args:
            attach: whether the attached billing files are visible; such a connection must
                never write while they are (BEGIN IMMEDIATE locks attached files too).

        Raises:
            DatabaseError: with a hint, for everything that a person can mend.
        """
        with self.translated(), self._engine.connect() as connection:
            if attach and self.is_sqlite:
                attach_files(connection, self.attach)
            yield connection

    @contextmanager
    def read(self, *, attach: bool = False) -> Iterator[Connection]:
        """Open a read-only transaction."""
        with self.connect(attach=attach) as connection:
            yield connection.execution_options(begin="read")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a write transaction; it is committed at the end, rolled back on an exception."""
        with self.connect() as connection:
            writing = connection.execution_options(begin="write")
            with writing.begin():
                yield writing

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn the driver's errors into one sentence and a hint.

        Raises:
            DatabaseError: instead of SQLAlchemy's DBAPI errors that concern the database itself.
        """
        try:
            yield
        except sa_exc.IntegrityError:
            raise
        except sa_exc.DBAPIError as error:
            raise self.explain(error) from error

    def explain(self, error: sa_exc.DBAPIError) -> MsgrunError:
        """Return the error a person should see for a driver's error."""
        text = str(error.orig).strip()
        first = text.splitlines()[0] if text else type(error.orig).__name__
        where = self.describe()
        for pattern, hint in _HINTS:
            if re.search(pattern, text, re.IGNORECASE):
                return DatabaseError(f"database {where}: {first} (MR001)", hint)
        return DatabaseError(f"database {where}: {first} (MR001)", "see `msgrun doctor`")

    def now(self, connection: Connection) -> datetime:
        """Return the clock that leases and permits go by: the server's, or on SQLite our own."""
        if self.is_sqlite:
            return self._clock()
        instant: datetime = connection.execute(_CLOCK).scalar_one()
        return instant.astimezone(UTC)

    def now_of_group(self, connection: Connection) -> datetime:
        """Return `now` as it was when this transaction first asked: one question for many writes.

        A lease that has run out since is another worker's only once that worker has changed the
        row; and whoever holds it asks its own clock again when the commit is durable.
        """
        known: datetime | None = connection.info.get(_NOW)
        if known is None or self.is_sqlite:
            known = connection.info[_NOW] = self.now(connection)
        return known

    def current_revision(self) -> str | None:
        """Return the revision the database is at; None when msgrun's tables are not there.

        Raises:
            DatabaseError: it cannot be reached.
        """
        if self.is_sqlite and not self.path.exists():
            return None
        name, schema = version_table(self.dialect)
        with self.read() as connection:
            if not inspect(connection).has_table(name, schema=schema):
                return None
            qualified = name if schema is None else f"{schema}.{name}"
            row = connection.exec_driver_sql(f"SELECT version_num FROM {qualified}")  # noqa: S608
            revision: str | None = row.scalar_one_or_none()
            return revision

    def ensure(self) -> None:
        """Make sure the ledger is there and of this version.

        On SQLite a missing ledger is made; on PostgreSQL that is `msgrun db upgrade`'s to do.

        Raises:
            DatabaseError: it is missing on PostgreSQL, older, or newer than the program.
        """
        revision = self.current_revision()
        if revision == REVISION:
            return
        if revision is None and self.is_sqlite:
            self.upgrade()
            return
        where = self.describe()
        if revision is None:
            raise DatabaseError(
                f"database {where} has no msgrun tables yet (MR001)", "run `msgrun db upgrade` once"
            )
        if revision > REVISION:
            raise DatabaseError(
                f"database {where} is at revision {revision}, newer than this program's "
                f"{REVISION} (MR001)",
                "install the msgrun version that wrote it, or a newer one",
            )
        raise DatabaseError(
            f"database {where} is at revision {revision}, this program wants {REVISION} (MR001)",
            "run `msgrun db upgrade`",
        )

    def upgrade(self) -> str:
        """Bring the tables to this program's revision, in one transaction; return the revision.

        Raises:
            DatabaseError: it cannot be reached or written.
        """
        from msgrun.migrations import migrate

        if self.is_sqlite and not self.path.parent.is_dir():
            raise DatabaseError(
                f"the folder {self.path.parent} of the database does not exist (MR001)",
                "create it, or correct [database] url",
            )
        if self.is_sqlite and not self.path.exists():
            # It will hold addresses: SQLite gives its journals the mode of the file.
            with suppress(FileExistsError):
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with self.write() as connection:
            migrate(connection)
        return REVISION


def version_table(dialect: str) -> tuple[str, str | None]:
    """Return name and schema of the table that holds the revision."""
    return ("msgrun_version", None) if dialect == "sqlite" else ("version", "msgrun")


def attach_files(connection: Connection, files: Mapping[str, Path]) -> None:
    """Attach SQLite files read-only, outside any transaction.

    Raises:
        DatabaseError: a file does not exist.
    """
    raw = connection.connection.driver_connection
    for name, path in files.items():
        if not path.is_file():
            raise DatabaseError(
                f"the file to attach as '{name}' does not exist: {path} (MR001)",
                f"correct attach.{name} under [source]",
            )
        raw.execute(f'ATTACH DATABASE ? AS "{name}"', (path.as_uri() + "?mode=ro",))  # type: ignore[union-attr]


def detach_files(connection: Connection, files: Mapping[str, Path]) -> None:
    """Detach them again: from here on the connection may write."""
    raw = connection.connection.driver_connection
    for name in files:
        raw.execute(f'DETACH DATABASE "{name}"')  # type: ignore[union-attr]


def _begin(connection: Connection) -> None:
    """Start the transaction as the connection's `begin` option says."""
    connection.info.pop(_NOW, None)
    mode = connection.get_execution_options().get("begin", "plain")
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE" if mode == "write" else "BEGIN")
    elif mode == "read":
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")


def _prepare_sqlite(raw: sqlite3.Connection, _record: Any) -> None:
    """Set what makes a commit durable, and check that it took."""
    # A journal that is emptied, not removed, spares each commit two syncs of its folder.
    journal = "wal" if wal_is_safe(sqlite3.sqlite_version_info) else "truncate"
    raw.execute("PRAGMA foreign_keys = ON")
    if raw.execute("PRAGMA journal_mode").fetchone()[0] != journal:
        raw.execute(f"PRAGMA journal_mode = {journal}")
    raw.execute("PRAGMA synchronous = FULL")
    found = (
        raw.execute("PRAGMA journal_mode").fetchone()[0],
        raw.execute("PRAGMA synchronous").fetchone()[0],
    )
    if found != (journal, _FULL):
        raise DatabaseError(
            f"SQLite would not take journal_mode={journal}, synchronous=FULL: {found}",
            "close other programs that have the database open",
        )


def _prepare_postgresql(raw: Any, _record: Any) -> None:
    """Set what makes a commit durable and dates readable."""
    with raw.cursor() as cursor:
        cursor.execute("SET synchronous_commit = on")
        cursor.execute("SET datestyle = 'ISO, YMD'")
    raw.commit()


_HINTS: Final = (
    (
        r"database is locked|database table is locked",
        "another program holds it: close it, then try again",
    ),
    (r"readonly database|read-only", "give this user the right to write the file and its folder"),
    (r"unable to open database file", "check [database] url, and the rights on the folder"),
    (r"not a database|malformed", "the file is not an SQLite database: check [database] url"),
    (r"disk is full|No space left", "free disk space, then try again"),
    (
        r"password authentication failed|role .* does not exist",
        "check user and password in [database] url",
    ),
    (r"database .* does not exist", "create it, or correct [database] url"),
    (
        r"Connection refused|could not connect|timeout expired|failed to resolve|is starting up",
        "check host and port in [database] url, and that the server runs",
    ),
    (r"permission denied", "grant this user the rights on schema msgrun and the billing tables"),
)
