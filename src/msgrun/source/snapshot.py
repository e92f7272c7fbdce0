"""A copy of the source at one moment, as TEMP tables of one connection."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Final

from sqlalchemy import (
    Column,
    Connection,
    Index,
    MetaData,
    Select,
    Table,
    Text,
    case,
    func,
    insert,
    select,
)
from sqlalchemy.schema import CreateIndex, CreateTable, DropTable

from msgrun.model import Period
from msgrun.schema import RELATIONS, tables
from msgrun.source.checks import check, check_period_days
from msgrun.source.mapping import AnySelect, Relation, reading

_Ids = list[str] | AnySelect

_PREFIX: Final = "msgrun_src_"
_FEW: Final = 500  # so many ids are named in the statement; more go through a table
_INDEXES: Final = {
    "customers": (("code",),),
    "addresses": (("customer", "key"),),
    "clusters": (("name",), ("parent",)),
    "invoices": (("id",), ("customer",)),
    "documents": (("invoice", "transformation"),),
}

_FILTERED: Final = {  # which filter narrows a relation, by which of its columns
    "customers": (("customers", "code"),),
    "addresses": (("customers", "customer"),),
    "invoices": (("customers", "customer"), ("invoices", "id")),
}


@dataclass(slots=True)
class Snapshot:
    """The five relations as tables of one connection; every column is text.

    Empty values are NULL; `customers.suspended` is '0' or '1'; `documents` has no content but
    `has_content`, '0' or '1'. The tables live until `drop()`, or as long as the connection.
    """

    connection: Connection
    customers: Table
    addresses: Table
    clusters: Table
    invoices: Table
    documents: Table

    def drop(self) -> None:
        """Drop the tables, in the caller's transaction where there is one."""
        if self.connection.in_transaction():
            _drop(self.connection)
            return
        with transaction(self.connection, "plain"):
            _drop(self.connection)


def take(
    connection: Connection,
    relations: Mapping[str, Relation],
    *,
    period: Period | None,
    customers: Collection[str] | None,
    invoices: Collection[str] | AnySelect | None,
) -> Snapshot:
    """Copy the relations, in transactions of this function's own; see `Source.snapshot`."""
    temp = _tables(connection.dialect.name)
    made = Snapshot(connection, **{name: temp[name] for name in RELATIONS})
    with transaction(connection, "plain"):
        _drop(connection)
        _create(connection, temp)
        ids = {
            "customers": _noted(connection, temp["wanted_customers"], customers),
            "invoices": _noted(connection, temp["wanted_invoices"], invoices),
        }
    with transaction(connection, "read"):
        if connection.dialect.name == "postgresql":  # all relations as of one moment
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        for name in RELATIONS:
            with reading(name, mapped=relations[name].mapped):
                _copy(connection, relations[name], temp, ids, period)
    with transaction(connection, "plain"):
        _index(connection, temp)
        for name in RELATIONS:
            check(connection, name, temp[name])
    return made


@contextmanager
def transaction(connection: Connection, begin: str) -> Iterator[None]:
    """Run one transaction of the given kind ("plain", "read") on a connection that is in none."""
    before = connection.get_execution_options().get("begin", "plain")
    connection.execution_options(begin=begin)
    try:
        with connection.begin():
            yield
    finally:
        connection.execution_options(begin=before)


@cache
def _tables(dialect: str) -> dict[str, Table]:
    metadata = MetaData(schema="temp" if dialect == "sqlite" else "pg_temp")
    made = {}
    for name in RELATIONS:
        columns = [c for c in tables(dialect).relation(name).c.keys() if c != "content"]  # noqa: SIM118
        if name == "documents":
            columns.append("has_content")
        made[name] = Table(_PREFIX + name, metadata, *(Column(c, Text) for c in columns))
    for name in ("wanted_customers", "wanted_invoices"):
        made[name] = Table(_PREFIX + name, metadata, Column("value", Text, primary_key=True))
    return made


def _drop(connection: Connection) -> None:
    for table in _tables(connection.dialect.name).values():
        connection.execute(DropTable(table, if_exists=True))


def _create(connection: Connection, temp: Mapping[str, Table]) -> None:
    for table in temp.values():
        connection.execute(CreateTable(table))


def _noted(
    connection: Connection, wanted: Table, ids: Collection[str] | AnySelect | None
) -> _Ids | None:
    """Write many ids into their table and return that; return few of them as they are."""
    if ids is None:
        return None
    if isinstance(ids, Select):
        few = list(connection.scalars(ids.limit(_FEW + 1)))
        if len(few) > _FEW:
            connection.execute(insert(wanted).from_select(["value"], ids.distinct()))
    else:
        few = list(dict.fromkeys(ids))
        if len(few) > _FEW:
            connection.execute(insert(wanted), [{"value": value} for value in few])
    return select(wanted.c.value) if len(few) > _FEW else few


def _copy(
    connection: Connection,
    relation: Relation,
    temp: Mapping[str, Table],
    ids: Mapping[str, _Ids | None],
    period: Period | None,
) -> None:
    """Copy what the filters leave of one relation."""
    conditions = []
    for of, column in _FILTERED.get(relation.name, ()):
        values = ids[of]
        if isinstance(values, list):
            conditions.append(relation.equals_any(column, values))
        elif values is not None:
            conditions.append(relation.within(column, values))
    if relation.name == "invoices" and period is not None:
        day = func.coalesce(relation.text_of("period_end"), relation.text_of("date"))
        # Text that is no date falls out of every period unseen: look before filtering.
        check_period_days(connection, relation, day, conditions)
        head = func.substr(day, 1, 10)
        conditions.append(head.between(period.start.isoformat(), period.end.isoformat()))
    if relation.name == "documents" and (period or any(v is not None for v in ids.values())):
        conditions.append(relation.within("invoice", select(temp["invoices"].c.id)))
    names = temp[relation.name].c.keys()
    rows = _rows(relation, names).where(*conditions)
    connection.execute(insert(temp[relation.name]).from_select(names, rows))


def _rows(relation: Relation, names: Sequence[str]) -> AnySelect:
    if relation.name == "documents":
        has_content = case((relation.columns["content"].is_not(None), "1"), else_="0")
        return relation.select(*names[:-1]).add_columns(has_content.label(names[-1]))
    if relation.name == "addresses":
        return relation.distinct_addresses()
    return relation.select(*names)


def _index(connection: Connection, temp: Mapping[str, Table]) -> None:
    for name, indexes in _INDEXES.items():
        table = temp[name]
        for columns in indexes:
            index = Index("_".join((table.name, *columns)), *(table.c[c] for c in columns))
            connection.execute(CreateIndex(index))
            table.indexes.discard(index)  # the Table is shared: leave no trace on it
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"ANALYZE {table.fullname}")
