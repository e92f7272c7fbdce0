"""What the doctor says when it is not clear which customer is meant (MR101)."""

from collections.abc import Sequence

from sqlalchemy import Connection

from msgrun.doctor.findings import Report, Stage, found
from msgrun.errors import ExitCode
from msgrun.ledger import views
from msgrun.model import Customer
from msgrun.suggest import nearest
from msgrun.workspace import Workspace

_LOOKED_THROUGH = 10_000  # customers compared with the word that was typed
_SHOWN = 5


def no_customer(connection: Connection, workspace: Workspace, text: str) -> Report:
    """Return MR101 with the nearest codes and names, and what the ledger has of the code."""
    known = workspace.source.customer_codes(connection, limit=_LOOKED_THROUGH)
    by_word = {word: (code, name) for code, name in known for word in (code, name)}
    near = dict.fromkeys(by_word[word] for word in nearest(text, by_word, _SHOWN))
    shown = ", ".join(f"{code} {name}" for code, name in near)
    evidence = [f"there is no customer '{text}'", f"nearest: {shown}" if shown else ""]
    tables = workspace.database.tables
    for row in list(views.messages(connection, tables, customer=text))[-_SHOWN:]:
        reason = f" {row.reason}" if row.reason else ""
        evidence.append(f"run {row.run_id} of {row.definition} has a row: {row.state}{reason}")
    invoice = workspace.source.invoices_of(connection, text)
    if invoice:
        evidence.append(f"invoices name it: {', '.join(invoice[:_SHOWN])}")
    return _report(text, f"No such customer: '{text}'", evidence, shown)


def which_customer(text: str, people: Sequence[Customer]) -> Report:
    """Return MR101 with the customers that a part of a name may mean."""
    shown = [f"{each.code} {each.name}" for each in people]
    verdict = f"Which one? {len(people)} customers match '{text}'"
    return _report(text, verdict, shown, "")


def _report(text: str, verdict: str, evidence: Sequence[str], near: str) -> Report:
    remedy = f"did you mean {near}?" if near else "give the customer's exact code"
    finding = found("MR101", Stage.CUSTOMER, *evidence, remedy=remedy, subject=text)
    return Report(text, "", verdict, "MR101", (finding,), (), ExitCode.NOT_FOUND)
