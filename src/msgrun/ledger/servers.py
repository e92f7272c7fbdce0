"""What all runs share about one mail server: its rate, and a daily quota that is used up."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, update

from msgrun.ratelimit import permits
from msgrun.schema import Tables


def take_permits(
    connection: Connection,
    tables: Tables,
    name: str,
    wanted: int,
    every: timedelta,
    now: datetime,
) -> Sequence[datetime]:
    """Take up to `wanted` permits of a server's rate, its row locked to the transaction's end."""
    if not every:
        return [now] * wanted
    server = tables.server
    connection.execute(_insert(connection, tables, name).on_conflict_do_nothing())
    row = select(server.c.next_free_at).where(server.c.name == name).with_for_update()
    moments, free = permits(connection.execute(row).scalar_one(), now, every, wanted)
    connection.execute(update(server).where(server.c.name == name).values(next_free_at=free))
    return moments


def close(connection: Connection, tables: Tables, name: str, until: datetime) -> None:
    """Note that a server's daily quota is used up."""
    connection.execute(
        _insert(connection, tables, name, closed_until=until).on_conflict_do_update(
            index_elements=["name"], set_={"closed_until": until}
        )
    )


def closed_until(
    connection: Connection, tables: Tables, name: str, now: datetime
) -> datetime | None:
    """Return until when a server's daily quota is taken to be used up; None if it is not."""
    server = tables.server
    found = connection.execute(select(server.c.closed_until).where(server.c.name == name))
    until: datetime | None = found.scalar_one_or_none()
    return until if until and until > now else None


def _insert(connection: Connection, tables: Tables, name: str, **values: Any) -> Any:
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    return insert(tables.server).values(name=name, **values)
