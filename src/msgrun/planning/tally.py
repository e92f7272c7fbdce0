"""TEMP tables in which a planned run is counted beside an earlier one."""

from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Connection, MetaData, Select, Table, Text, insert
from sqlalchemy.schema import CreateTable, DropTable

_CHUNK: Final = 5_000  # rows that a program adds with one statement


class Tally:
    """Makes and fills the tables; they are gone with the connection.

    Args:
        connection: of the draft.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sqlite = connection.dialect.name == "sqlite"

    def people(self, name: str) -> Table:
        """Describe a table with one row a customer: messages, addresses, bytes, reason to skip."""
        return self._table(
            name,
            Column("customer", Text, primary_key=True),
            Column("number", BigInteger),
            Column("recipients", Text),
            Column("bytes", BigInteger),
            Column("reason", Text),
        )

    def reasons(self, name: str) -> Table:
        """Describe a table with a reason for each customer."""
        return self._table(name, Column("customer", Text, primary_key=True), Column("reason", Text))

    def numbers(self, name: str) -> Table:
        """Describe a table with figures of customers."""
        return self._table(name, Column("customer", Text), Column("number", BigInteger))

    def money(self, name: str) -> Table:
        """Describe a table with what customers had to pay, and invoices that are gone since."""
        return self._table(
            name,
            Column("customer", Text),
            Column("currency", Text),
            Column("amount", BigInteger),
            Column("gone", BigInteger),
        )

    def fill(self, table: Table, rows: Select[Any] | None) -> None:
        """Make a table anew, of what a SELECT returns in the order of its columns."""
        self._connection.execute(DropTable(table, if_exists=True))
        self._connection.execute(CreateTable(table))
        if rows is None:
            return
        self._connection.execute(insert(table).from_select([*table.c.keys()], rows))
        if not self._sqlite:
            self._connection.exec_driver_sql(f"ANALYZE {table.fullname}")

    def add(self, table: Table, rows: Iterable[tuple[Any, ...]]) -> None:
        """Add rows, their values in the order of the columns."""
        names = table.c.keys()
        left = iter(rows)
        while chunk := list(islice(left, _CHUNK)):
            self._connection.execute(
                insert(table), [dict(zip(names, row, strict=True)) for row in chunk]
            )

    def _table(self, name: str, *columns: Column[Any]) -> Table:
        return Table(
            f"msgrun_{name}",
            MetaData(),
            *columns,
            schema="temp" if self._sqlite else "pg_temp",
            prefixes=["TEMPORARY"],
        )
