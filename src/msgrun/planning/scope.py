"""The TEMP table of what a run covers, and the SQL that fills and reads it."""

from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    FromClause,
    MetaData,
    Select,
    String,
    Subquery,
    Table,
    Text,
    and_,
    case,
    cast,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.schema import CreateTable, DropTable

from msgrun.eligibility import LIMIT_CODE, Criteria, guard_select, scope_select
from msgrun.schema import Tables
from msgrun.source import Snapshot

GUARD_CODES: Final = ("MR125", "MR126")
"""Reasons that another run can bring about between planning and writing."""


def scope_table(dialect: str) -> Table:
    """Return the description of the TEMP table: one row an invoice."""
    return Table(
        "msgrun_scope",
        MetaData(),
        Column("invoice", Text, primary_key=True),
        Column("customer", Text, nullable=False),
        Column("reason", Text),  # NULL: to be sent
        Column("bundle", Text, nullable=False),  # with the customer: invoices of one message
        schema="temp" if dialect == "sqlite" else "pg_temp",
        prefixes=["TEMPORARY"],
    )


def fill_scope(
    connection: Connection,
    snapshot: Snapshot,
    ledger: Tables,
    criteria: Criteria,
    *,
    collate: bool,
    whole: bool = False,
) -> Table:
    """Evaluate the rules into a fresh TEMP table and return it.

    Args:
        collate: whether the eligible invoices of a customer share a message.
        whole: see `eligibility.scope_select`.
    """
    scope = scope_table(connection.dialect.name)
    connection.execute(DropTable(scope, if_exists=True))
    connection.execute(CreateTable(scope))
    rows = scope_select(snapshot, ledger, criteria, whole=whole).subquery("rows")
    bundle = (
        case((rows.c.reason.is_(None), ""), else_=rows.c.invoice) if collate else rows.c.invoice
    )
    connection.execute(
        insert(scope).from_select(
            ["invoice", "customer", "reason", "bundle"],
            select(rows.c.invoice, rows.c.customer, rows.c.reason, bundle),
        )
    )
    if criteria.selection.limit is not None:
        _cut(connection, scope, criteria.selection.limit)
    return scope


def _cut(connection: Connection, scope: Table, limit: int) -> None:
    """Skip what lies beyond `--limit`, in order of customer and invoice."""
    place = func.dense_rank().over(order_by=(scope.c.customer, scope.c.bundle))
    ranked = (
        select(scope.c.invoice, place.label("place")).where(scope.c.reason.is_(None)).subquery()
    )
    beyond = select(ranked.c.invoice).where(ranked.c.place > limit)
    _exclude(connection, scope, beyond, LIMIT_CODE)


def _exclude(connection: Connection, scope: Table, which: Select[Any], code: str) -> None:
    connection.execute(
        update(scope).where(scope.c.invoice.in_(which)).values(reason=code, bundle=scope.c.invoice)
    )


def recheck_guard(connection: Connection, scope: Table, ledger: Tables, criteria: Criteria) -> None:
    """Exclude what another run has taken or sent since the scope was filled."""
    for code in GUARD_CODES:
        _exclude(connection, scope, guard_select(scope, ledger, criteria, code), code)


def numbered(scope: Table, after: int = 0) -> Subquery:
    """Return the scope's rows with their message's number in the run, counted from `after` + 1."""
    place = func.dense_rank().over(order_by=(scope.c.customer, scope.c.bundle))
    return select(scope, (place + after).label("number")).subquery("numbered")


def recipients_of(snapshot: Snapshot, key: str, dialect: str) -> Subquery:
    """Return for each customer the JSON list of the addresses under `key`, ordered by address."""
    table = snapshot.addresses
    picked: FromClause = (
        select(table.c.customer, table.c.address, table.c.display_name)
        .where(table.c.key == key)
        .order_by(table.c.customer, table.c.address)
        .subquery("picked")
    )
    parts = ("address", picked.c.address, "display_name", func.coalesce(picked.c.display_name, ""))
    listed: ColumnElement[Any]
    if dialect == "sqlite":
        listed = func.json_group_array(func.json_object(*parts))
    else:
        pair = func.json_build_object(*(_as_text(part) for part in parts))
        listed = cast(func.json_agg(aggregate_order_by(pair, picked.c.address)), Text)
    return (
        select(picked.c.customer, listed.label("recipients"))
        .group_by(picked.c.customer)
        .subquery("recipients")
    )


def _as_text(part: Any) -> Any:
    # PostgreSQL cannot guess the type of a bare parameter in json_build_object.
    return cast(literal(part), Text) if isinstance(part, str) else part


def message_id(uid: str, number: Any, domain: str, revision: int = 1) -> Any:
    """Return SQL for the Message-ID of a message: the same every time it is asked."""
    suffix = f".r{revision}" if revision > 1 else ""
    return literal(f"<{uid}.") + cast(number, String) + literal(f"{suffix}@{domain}>")


def eligible_messages(scope: Table, count: int) -> Select[Any]:
    """Return customer, bundle and invoice of the first `count` messages that would be sent."""
    place = func.dense_rank().over(order_by=(scope.c.customer, scope.c.bundle))
    ranked = select(scope, place.label("place")).where(scope.c.reason.is_(None)).subquery()
    return (
        select(ranked.c.customer, ranked.c.bundle, ranked.c.invoice)
        .where(and_(ranked.c.place <= count))
        .order_by(ranked.c.customer, ranked.c.bundle, ranked.c.invoice)
    )
