"""The TEMP table of what a run covers, and the SQL that fills and reads it."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Integer,
    MetaData,
    Numeric,
    Select,
    String,
    Subquery,
    Table,
    Text,
    case,
    cast,
    func,
    insert,
    literal,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.schema import CreateTable, DropTable

from msgrun.eligibility import LIMIT_CODE, Criteria, Facts, guard_select, scope_select
from msgrun.schema import Tables
from msgrun.source.mapping import AnyRow

MONEY: Final = 10_000
"""So many parts of a total's unit are counted."""

GUARD_CODES: Final = ("MR125", "MR126")
"""Reasons that another run can bring about between planning and writing."""


def scope_table(dialect: str) -> Table:
    """Return the description of the TEMP table: one row an invoice.

    It has all that the run is written from, so that the rules and the run see the same moment.
    """
    return Table(
        "msgrun_scope",
        MetaData(),
        Column("place", Integer, primary_key=True),  # in order of customer and invoice, from 1
        Column("invoice", Text, nullable=False),
        Column("customer", Text, nullable=False),
        Column("reason", Text),  # NULL: to be sent
        Column("bundle", Text, nullable=False),  # with the customer: invoices of one message
        Column("recipients", Text),  # JSON, as the ledger keeps them; NULL or [] for none
        Column("currency", Text),
        Column("amount", BigInteger),  # the total in ten-thousandths
        schema="temp" if dialect == "sqlite" else "pg_temp",
        prefixes=["TEMPORARY"],
    )


def fill_scope(
    connection: Connection,
    facts: Facts,
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
    dialect = connection.dialect.name
    scope = scope_table(dialect)
    connection.execute(DropTable(scope, if_exists=True))
    connection.execute(CreateTable(scope))
    rows = _rules(facts, ledger, criteria, dialect, whole=whole).subquery("rows")
    bundle = (
        case((rows.c.reason.is_(None), ""), else_=rows.c.invoice) if collate else rows.c.invoice
    )
    connection.execute(
        insert(scope).from_select(
            [name for name in scope.c.keys() if name != "place"],  # noqa: SIM118
            select(rows.c.invoice, rows.c.customer, rows.c.reason, bundle,
                   rows.c.recipients, rows.c.currency, rows.c.amount)
            .order_by(rows.c.customer, rows.c.invoice),
        )
    )  # fmt: skip
    if dialect == "postgresql":
        connection.exec_driver_sql(f"ANALYZE {scope.fullname}")
    if criteria.selection.limit is not None:
        _cut(connection, scope, criteria.selection.limit, collate=collate)
    return scope


def _rules(
    facts: Facts, ledger: Tables, criteria: Criteria, dialect: str, *, whole: bool
) -> Select[Any]:
    """Return the rules' answers, each with the customer's addresses and the invoice's total."""
    invoice = facts.invoices
    recipients, joined = _recipients(facts, criteria.recipient_key, dialect)
    rows = scope_select(facts, ledger, criteria, whole=whole).add_columns(
        recipients.label("recipients"),
        invoice.c.currency.label("currency"),
        parts_of(invoice.c.total).label("amount"),
    )
    if joined is not None:
        rows = rows.outerjoin(joined, joined.c.customer == invoice.c.customer)
    return rows


def parts_of(total: ColumnElement[Any]) -> ColumnElement[int]:
    """Return a total as a whole number of parts, which add up exactly: SQLite has no decimals."""
    return cast(func.round(cast(total, Numeric(20, 4)) * MONEY), BigInteger)


def _recipients(facts: Facts, key: str, dialect: str) -> tuple[ColumnElement[Any], Subquery | None]:
    """Return the JSON list of a customer's addresses under `key`, ordered by address.

    SQLite asks for each customer; PostgreSQL joins: each is slow where the other is fast.
    """
    address = facts.addresses
    parts = ("address", "display_name")
    if dialect == "sqlite":
        theirs = (
            select(address.c.address, address.c.display_name)
            .where(address.c.customer == facts.invoices.c.customer, address.c.key == key)
            .order_by(address.c.address)
            .correlate(facts.invoices)
            .subquery("theirs")
        )
        shown = func.coalesce(theirs.c.display_name, "")
        pair = func.json_object(parts[0], theirs.c.address, parts[1], shown)
        return select(func.json_group_array(pair)).select_from(theirs).scalar_subquery(), None
    # PostgreSQL cannot guess the type of a bare parameter in json_build_object.
    names = [cast(literal(part), Text) for part in parts]
    shown = func.coalesce(address.c.display_name, "")
    pair = func.json_build_object(names[0], address.c.address, names[1], shown)
    listed = cast(func.json_agg(aggregate_order_by(pair, address.c.address)), Text)
    joined = (
        select(address.c.customer, listed.label("recipients"))
        .where(address.c.key == key)
        .group_by(address.c.customer)
        .subquery("recipients")
    )
    return joined.c.recipients, joined


def _key_of(connection: Connection, scope: Table, nth: int, *, collate: bool) -> AnyRow | None:
    """Return customer and bundle of the nth message that would be sent, counted from 0."""
    order = (scope.c.customer, scope.c.bundle)
    keys = select(*order).where(scope.c.reason.is_(None))
    keys = keys.group_by(*order).order_by(*order) if collate else keys.order_by(scope.c.place)
    return connection.execute(keys.offset(nth).limit(1)).first()


def _cut(connection: Connection, scope: Table, limit: int, *, collate: bool) -> None:
    """Skip what lies beyond `--limit`, in order of customer and invoice."""
    beyond = _key_of(connection, scope, limit, collate=collate)
    if beyond is None:
        return
    later = (scope.c.customer == beyond.customer) & (scope.c.bundle >= beyond.bundle)
    connection.execute(
        update(scope)
        .where(scope.c.reason.is_(None), (scope.c.customer > beyond.customer) | later)
        .values(reason=LIMIT_CODE, bundle=scope.c.invoice)
    )


def _exclude(connection: Connection, scope: Table, which: Select[Any], code: str) -> None:
    connection.execute(
        update(scope).where(scope.c.invoice.in_(which)).values(reason=code, bundle=scope.c.invoice)
    )


def recheck_guard(connection: Connection, scope: Table, ledger: Tables, criteria: Criteria) -> None:
    """Exclude what another run has taken or sent since the scope was filled."""
    for code in GUARD_CODES:
        _exclude(connection, scope, guard_select(scope, ledger, criteria, code), code)


def numbered(scope: Table, *, collate: bool) -> Subquery:
    """Return the scope's rows, each with its message's `number` and whether it is the `first`."""
    if not collate:  # a message for each row
        return select(scope, scope.c.place.label("number"), true().label("first")).subquery("rows")
    order = (scope.c.customer, scope.c.bundle)
    number = func.dense_rank().over(order_by=order).label("number")
    within = func.row_number().over(partition_by=order, order_by=scope.c.invoice)
    return select(scope, number, (within == 1).label("first")).subquery("rows")


def message_id(uid: str, number: Any, domain: str, revision: int = 1) -> Any:
    """Return SQL for the Message-ID of a message: the same every time it is asked."""
    suffix = f".r{revision}" if revision > 1 else ""
    return literal(f"<{uid}.") + cast(number, String) + literal(f"{suffix}@{domain}>")


def eligible_rows(
    connection: Connection, scope: Table, count: int, *, collate: bool
) -> Sequence[AnyRow]:
    """Return customer, bundle and invoice of the first `count` messages that would be sent."""
    rows = (
        select(scope.c.customer, scope.c.bundle, scope.c.invoice)
        .where(scope.c.reason.is_(None))
        .order_by(scope.c.place)
    )
    if not collate:
        return connection.execute(rows.limit(count)).all()
    beyond = _key_of(connection, scope, count, collate=True)
    if beyond is not None:
        rows = rows.where(scope.c.customer < beyond.customer)
    return connection.execute(rows).all()
