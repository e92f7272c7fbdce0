"""What is wrong with the billing data (MR006): the rows that break the contract, by name."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Table,
    and_,
    false,
    func,
    literal,
    or_,
    select,
    true,
)

from msgrun.errors import SourceError
from msgrun.plain import PlainDecimal
from msgrun.source.contract import CONTRACTS, DECIMAL, is_day, parse_meta
from msgrun.source.mapping import Relation

_SHOWN: Final = 3  # so many of the bad rows are named
_BATCH: Final = 5000
_HEAD: Final = 11  # a day and what parts it from a time: few distinct values among many


def check(connection: Connection, relation: str, table: Table) -> None:
    """Check the copied rows of one relation.

    Raises:
        SourceError: the first rule that rows break, with column and rows (MR006).
    """
    _check_rows(connection, relation, table)
    if "meta" in table.c:
        _check_meta(connection, relation, table)


def _check_rows(connection: Connection, relation: str, table: FromClause) -> None:
    for name in CONTRACTS[relation].filled:
        _check_none(connection, relation, name, "is empty", table, table.c[name].is_(None))
    _check_unique(connection, relation, table)
    if relation == "customers":
        unknown = table.c.suspended.not_in(["0", "1"])
        _check_none(connection, relation, "suspended", "is neither true nor false", table, unknown)
    if relation == "invoices":
        _check_days(connection, table)
        odd = _odd_total(table.c.total)
        _check_none(connection, relation, "total", "is not a decimal number", table, odd)


def check_own(
    connection: Connection,
    relation: Relation,
    conditions: Sequence[ColumnElement[bool]] = (),
    *,
    few: bool = False,
) -> None:
    """Check one of msgrun's own tables where it stands; the database keeps its keys unique.

    One look at each row as it is kept comes first; only what looks odd there is searched for.

    Args:
        conditions: which of its rows are meant.
        few: whether an index leads to those. Else the first look is at all rows: odd ones are
            rare, and to tell which are meant costs more.

    Raises:
        SourceError: the first rule that rows break, with column and rows (MR006).
    """
    contract, kept = CONTRACTS[relation.name], relation.columns
    odd: list[ColumnElement[bool]] = [kept[name] == "" for name in contract.filled]
    if relation.name == "customers":
        plain = or_(kept["suspended"].is_(true()), kept["suspended"].is_(false()))
        odd.append(~plain)
    if relation.name == "invoices":
        days = func.coalesce(func.nullif(kept["period_end"], ""), func.nullif(kept["date"], ""))
        odd += [days.is_(None), _odd_total(kept["total"])]
    looked_at = conditions if few else ()
    look = select(literal(1)).select_from(relation.from_).where(*looked_at, or_(*odd)).limit(1)
    heads = [func.substr(kept[name], 1, _HEAD) for name in contract.days]
    names = [name for name in kept if name != "content"]
    rows = relation.select(*names).where(*conditions).subquery(relation.name)
    strange = connection.execute(look).first() is not None
    if strange or not _are_days(connection, relation, heads, looked_at):
        _check_rows(connection, relation.name, rows)
    if "meta" in kept:
        _check_meta(connection, relation.name, rows)


def _odd_total(total: ColumnElement[Any]) -> ColumnElement[bool]:
    return ~or_(PlainDecimal(total), total.regexp_match(DECIMAL))


def _are_days(
    connection: Connection,
    relation: Relation,
    heads: Sequence[ColumnElement[Any]],
    conditions: Sequence[ColumnElement[bool]],
) -> bool:
    if not heads:
        return True
    query = select(*heads).select_from(relation.from_).where(*conditions).distinct()
    rows = connection.execute(query)
    with rows:
        return all(not value or is_day(value) for row in rows for value in row)


def check_period_days(
    connection: Connection,
    relation: Relation,
    day: ColumnElement[Any],
    conditions: Sequence[ColumnElement[bool]],
) -> None:
    """Check the period days of the source's invoices before a period narrows them.

    Args:
        connection: in the transaction that reads the source.
        relation: the invoices.
        day: the expression that places an invoice in a period.
        conditions: what else narrows the invoices.

    Raises:
        SourceError: a day is not a date, or an invoice has none (MR006).
    """
    head = func.substr(day, 1, _HEAD)
    heads = connection.scalars(
        select(head).select_from(relation.from_).where(*conditions).distinct()
    )
    if all(value is not None and is_day(value) for value in heads):
        return
    rows = relation.select("id", "period_end", "date").where(*conditions).subquery()
    _check_placed(connection, rows)
    _check_day(connection, rows, "period_end")
    _check_day(connection, rows, "date")


def _check_days(connection: Connection, invoices: FromClause) -> None:
    for name in CONTRACTS["invoices"].days:
        _check_day(connection, invoices, name)
    _check_placed(connection, invoices)


def _check_placed(connection: Connection, rows: FromClause) -> None:
    problem = "is empty, and so is invoices.date: no period holds such an invoice"
    _check_none(connection, "invoices", "period_end", problem, rows, _nowhere(rows))


def _nowhere(rows: FromClause) -> ColumnElement[bool]:
    return and_(rows.c.period_end.is_(None), rows.c.date.is_(None))


def _check_day(connection: Connection, rows: FromClause, column: str) -> None:
    head = func.substr(rows.c[column], 1, _HEAD)
    heads = connection.scalars(select(head).where(rows.c[column].is_not(None)).distinct())
    bad = [value for value in heads if not is_day(value)]
    if bad:
        problem = "is not a date (YYYY-MM-DD)"
        _check_none(connection, "invoices", column, problem, rows, head.in_(bad[:_SHOWN]))


def _check_unique(connection: Connection, relation: str, table: FromClause) -> None:
    key = [table.c[name] for name in CONTRACTS[relation].key]
    twice = select(*key).group_by(*key).having(func.count() > 1).order_by(*key).limit(_SHOWN)
    rows = connection.execute(twice).mappings().all()
    if rows:
        raise _fault(relation, ", ".join(CONTRACTS[relation].key), "comes more than once", rows)


def _check_meta(connection: Connection, relation: str, table: FromClause) -> None:
    key = table.c[CONTRACTS[relation].key[0]]
    metas = connection.execute(
        select(key, table.c.meta).where(table.c.meta.is_not(None)),
        execution_options={"yield_per": _BATCH},
    )
    with metas:
        for row in metas:
            try:
                parse_meta(row.meta)
            except ValueError:
                bad = [{key.name: row[0], "meta": row.meta}]
                raise _fault(relation, "meta", "is not a JSON object", bad) from None


def _check_none(
    connection: Connection,
    relation: str,
    column: str,
    problem: str,
    rows: FromClause,
    bad: ColumnElement[bool],
) -> None:
    """Raise when `bad` holds for any of the rows."""
    key = CONTRACTS[relation].key
    names = key if column in key else (*key, column)
    found = connection.execute(
        select(*(rows.c[name] for name in names))
        .where(bad)
        .order_by(*(rows.c[name] for name in key))
        .limit(_SHOWN)
    )
    listed = found.mappings().all()
    if listed:
        raise _fault(relation, column, problem, listed)


def _fault(relation: str, column: str, problem: str, rows: Sequence[Any]) -> SourceError:
    shown = "; ".join(
        ", ".join(
            f"{name}={'NULL' if value is None else repr(value)}" for name, value in row.items()
        )
        for row in rows
    )
    return SourceError(
        f"{relation}.{column} {problem} (MR006): {shown}",
        f"correct these rows, or `{relation}` under [source] where it is set",
    )
