"""Definitions that would send the same invoices (MR207)."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Column, Connection, MetaData, Table, Text, func, insert, literal, or_, select
from sqlalchemy.schema import CreateTable, DropTable

from msgrun.doctor.context import Context
from msgrun.doctor.findings import Finding, Stage, Status, found
from msgrun.eligibility import scope_select
from msgrun.model import Period
from msgrun.workspace import Workspace

_HELD: Final = ("MR125", "MR126")
"""Reasons of the ledger: they do not make an invoice belong to a definition any less."""

_SHOWN: Final = 3


def check_overlaps(workspace: Workspace, contexts: Sequence[Context]) -> list[Finding]:
    """Return MR207 for each pair of definitions whose usual selections share invoices.

    Args:
        contexts: of enabled definitions, each with its usual selection.

    Raises:
        SourceError: rows break the contract (MR006).
    """
    if len(contexts) < 2:
        return []
    by_name = {context.name: context for context in contexts}
    with workspace.database.connect(attach=True) as connection:
        snapshot = workspace.source.snapshot(connection, period=_span(contexts))
        with connection.begin():
            table = _fresh_table(connection)
            for context in contexts:
                if context.selection is None:
                    continue
                criteria = workspace.criteria(context.frozen, context.selection)
                scope = scope_select(snapshot, workspace.database.tables, criteria).subquery()
                eligible = or_(scope.c.reason.is_(None), scope.c.reason.in_(_HELD))
                rows = select(literal(context.name), scope.c.invoice).where(eligible)
                connection.execute(insert(table).from_select(["definition", "invoice"], rows))
            shared = _shared(connection, table)
            return [
                _overlap(connection, table, by_name[one], by_name[other], number)
                for one, other, number in shared
            ]


def _span(contexts: Sequence[Context]) -> Period | None:
    """Return the shortest period that holds all of theirs; None where one has no end."""
    periods = [context.selection.period for context in contexts if context.selection]
    known = [period for period in periods if period is not None]
    if len(known) < len(periods) or not known:
        return None
    start, end = min(each.start for each in known), max(each.end for each in known)
    return Period(start, end, f"{start}..{end}")


def _fresh_table(connection: Connection) -> Table:
    table = Table(
        "msgrun_overlap",
        MetaData(),
        Column("definition", Text, primary_key=True),
        Column("invoice", Text, primary_key=True),
        schema="temp" if connection.dialect.name == "sqlite" else "pg_temp",
        prefixes=["TEMPORARY"],
    )
    connection.execute(DropTable(table, if_exists=True))
    connection.execute(CreateTable(table))
    return table


def _shared(connection: Connection, table: Table) -> list[tuple[str, str, int]]:
    """Return each pair of definitions with the number of invoices that both select."""
    one, other = table.alias("one"), table.alias("other")
    pairs = (
        select(one.c.definition, other.c.definition, func.count())
        .join(other, one.c.invoice == other.c.invoice)
        .where(one.c.definition < other.c.definition)
        .group_by(one.c.definition, other.c.definition)
        .order_by(one.c.definition, other.c.definition)
    )
    return [(row[0], row[1], row[2]) for row in connection.execute(pairs)]


def _overlap(
    connection: Connection, table: Table, one: Context, other: Context, number: int
) -> Finding:
    theirs = select(table.c.invoice).where(table.c.definition == other.name)
    both = select(table.c.invoice).where(
        table.c.definition == one.name, table.c.invoice.in_(theirs)
    )
    examples = connection.scalars(both.order_by(table.c.invoice).limit(_SHOWN))
    keys = [each.frozen.definition["recipient_key"] for each in (one, other)]
    same = keys[0] == keys[1]
    to = f"both go to the key '{keys[0]}'" if same else f"to the keys '{keys[0]}' and '{keys[1]}'"
    plural = "s" if number > 1 else ""
    return found(
        "MR207", Stage.DEFINITION,
        f"'{one.name}' and '{other.name}' share {number} invoice{plural}, {to}",
        f"for example {', '.join(examples)}",
        status=Status.WARN, subject=f"{one.name}, {other.name}",
        remedy="narrow the cluster, the period or the statuses of one of them, or leave it: "
        "each sends an invoice once",
    )  # fmt: skip
