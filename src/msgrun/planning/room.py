"""How a connection is set for planning very many messages."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection

_CACHE: Final = 8 * 1024
"""Kilobytes of pages that SQLite keeps for the database, and as many for TEMP tables."""

_SORTING: Final = "128MB"
"""What PostgreSQL may use for one sort or hash: sets of a million keys fit."""


def give_room(connection: Connection) -> None:
    """Let the database use enough memory for a million rows; the program's own stays as it is.

    Args:
        connection: in no transaction.
    """
    if connection.dialect.name == "sqlite":
        raw = connection.connection.driver_connection
        for schema in ("main", "temp"):
            raw.execute(f"PRAGMA {schema}.cache_size = -{_CACHE}")  # type: ignore[union-attr]
        return
    with connection.begin():
        connection.exec_driver_sql(f"SET work_mem = '{_SORTING}'")
        # Compiling takes longer than what it saves.
        connection.exec_driver_sql("SET jit = off")


@contextmanager
def one_moment(connection: Connection) -> Iterator[None]:
    """Run a transaction that sees the database as of one moment; it may make TEMP tables."""
    with connection.begin():
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield
