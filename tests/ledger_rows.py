"""How many rows the ledger has: what somebody wrote, or did not."""

from collections.abc import Iterator

from sqlalchemy import Table, delete, func, select

from billing_world import World
from msgrun.schema import RELATIONS


def _tables(world: World) -> Iterator[tuple[str, Table]]:
    """Yield name and table of all that a run may write to, those that refer to others first."""
    tables = world.database.tables
    names = {getattr(tables, name): name for name in tables.__dataclass_fields__
             if name not in {*RELATIONS, "metadata"}}  # fmt: skip
    for table in reversed(tables.metadata.sorted_tables):
        if table in names:
            yield names[table], table


def count_rows(world: World) -> dict[str, int]:
    """Return table to number of rows, without the billing data."""
    with world.database.read() as connection, connection.begin():
        return {
            name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in _tables(world)
        }


def empty_ledger(world: World) -> None:
    """Forget every run."""
    with world.database.write() as connection:
        for _, table in _tables(world):
            connection.execute(delete(table))
    assert not any(count_rows(world).values())
