"""What the doctor says when it cannot begin: unknown customer (MR101), bad settings (MR005)."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, func, select

from msgrun.doctor.findings import Report, Stage, found
from msgrun.errors import ConfigError, ExitCode
from msgrun.ledger import views
from msgrun.model import Customer
from msgrun.source import FOUND_AT_MOST, Snapshot
from msgrun.workspace import Workspace

_SHOWN = 5


def no_customer(connection: Connection, workspace: Workspace, text: str) -> Report:
    """Return MR101 with the nearest codes and names, and what names the code all the same.

    Args:
        connection: in no transaction.
    """
    snapshot = workspace.source.snapshot(connection, customers=[text])
    with connection.begin():
        return _no_customer(connection, workspace, snapshot, text)


def _no_customer(
    connection: Connection, workspace: Workspace, snapshot: Snapshot, text: str
) -> Report:
    near = workspace.near_customers(connection, text, _SHOWN)
    shown = ", ".join(f"{code} {name}" for code, name in near)
    evidence = [f"there is no customer '{text}'", f"nearest: {shown}" if shown else ""]
    tables = workspace.database.tables
    for row in list(views.messages(connection, tables, customer=text))[-_SHOWN:]:
        reason = f" {row.reason}" if row.reason else ""
        evidence.append(f"run {row.run_id} of {row.definition} has a row: {row.state}{reason}")
    invoice = snapshot.invoices
    named = select(func.coalesce(invoice.c.number, invoice.c.id)).where(invoice.c.customer == text)
    if numbers := list(connection.scalars(named.order_by(invoice.c.id).limit(_SHOWN))):
        evidence.append(f"invoices name it: {', '.join(numbers)}")
    return _report(text, f"No such customer: '{text}'", evidence, shown)


def which_customer(text: str, people: Sequence[Customer]) -> Report:
    """Return MR101 with the customers that a part of a name may mean."""
    shown = [f"{each.code} {each.name}" for each in people]
    number = str(len(people)) if len(people) < FOUND_AT_MOST else f"At least {len(people)}"
    verdict = f"Which one? {number} customers match '{text}'"
    report = _report(text, verdict, shown, "")
    return replace(report, candidates=tuple(people))


def _report(text: str, verdict: str, evidence: Sequence[str], near: str) -> Report:
    remedy = f"did you mean {near}?" if near else "give the customer's exact code"
    finding = found("MR101", Stage.CUSTOMER, *evidence, remedy=remedy, subject=text)
    return Report(text, "", verdict, "MR101", (finding,), (), ExitCode.NOT_FOUND)


def unreadable_settings(error: ConfigError, customer: str | None) -> Report:
    """Return MR005: with faults in `msgrun.toml` nothing else can be looked at."""
    evidence = error.message.splitlines()
    finding = found("MR005", Stage.ENVIRONMENT, *evidence, remedy=error.hint)
    verdict = "Not determinable: msgrun.toml has faults"
    return Report(customer, "", verdict, "MR005", (finding,), (), error.exit_code)
