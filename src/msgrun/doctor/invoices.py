"""The invoice: its period, its status, and whether it has been sent or taken before."""

from collections import Counter

from msgrun.doctor.findings import Finding, Stage, Status, found, passed, skipped
from msgrun.doctor.servers import Servers
from msgrun.doctor.situation import Question, RunFacts
from msgrun.doctor.words import instant, start_command
from msgrun.ledger.rows import MessageRow
from msgrun.states import MessageState, RunStatus
from msgrun.suggest import near_miss

_RULES_OF_ROWS = frozenset(
    {"MR101", "MR102", "MR105", "MR107", "MR123", "MR125", "MR126", "MR401", "MR408"}
)
"""Reasons of skipped rows that may have gone away since."""


def check_invoice(question: Question, _servers: Servers) -> list[Finding]:
    """Ask whether there is an invoice that the definition would send now."""
    if question.invoice is None:
        return [_none(question)]
    findings = []
    if "MR122" in question.blocked:
        findings.append(_other_period(question))
    if "MR123" in question.blocked:
        findings.append(_other_status(question))
    held = {"MR125": _sent_before, "MR126": _held_elsewhere}
    findings += [say(question) for code, say in held.items() if code in question.blocked]
    run = question.run
    if run is not None and became_eligible(question):
        findings.append(_eligible_since(question, run))
    if any(each.status is not Status.PASS for each in findings):
        return findings
    invoice = question.invoice
    return [
        passed(Stage.INVOICE, f"{invoice.label} {invoice.status}", subject=invoice.id),
        *findings,
    ]


def _none(question: Question) -> Finding:
    """Say why there is no invoice to speak of."""
    subject, context = question.subject, question.context
    code = subject.customer.code
    if question.verdict.invoice is not None:
        return found(
            "MR121", Stage.INVOICE, f"invoice {question.verdict.invoice} of run "
            f"{context.run.id if context.run else ''} is no longer the customer's in the source",
            subject=question.verdict.invoice, cause="the invoice is gone from the billing data",
        )  # fmt: skip
    if not subject.invoices:
        return found(
            "MR121", Stage.INVOICE, "0 invoices, in any period or status", subject=code,
            remedy="create or import the invoice", cause="the customer has no invoice at all",
        )  # fmt: skip
    if context.selection is None:
        return skipped(Stage.INVOICE, "no period: the definition has no usual one, give --period")
    return _other_period(question)


def _other_period(question: Question) -> Finding:
    """Say which periods the customer's invoices are in."""
    subject, context = question.subject, question.context
    months = Counter(day[:7] for day in subject.days.values())
    has = ", ".join(f"{month} ({number})" for month, number in sorted(months.items()))
    period = context.selection.period if context.selection else None
    asked = f"asked is {period.start} to {period.end}, both included" if period else ""
    evidence = [f"has invoices in {has}; {asked}"]
    if question.invoice is not None:
        evidence.insert(0, f"{question.label} is of {subject.days[question.invoice.id]}")
    latest = max(months)
    code = subject.customer.code
    return found(
        "MR122", Stage.INVOICE, *evidence, subject=question.label or code,
        remedy=f"msgrun start {context.name} --period {latest} --customer {code}",
        cause=f"no invoice in {context.period}; the customer has some in {has}",
    )  # fmt: skip


def _other_status(question: Question) -> Finding:
    invoice = question.invoice
    status = invoice.status if invoice else ""
    wanted = " or ".join(question.context.frozen.definition["statuses"])
    evidence = f"{question.label} is {status}; the definition sends {wanted}"
    if meant := near_miss(status, question.context.frozen.definition["statuses"]):
        return _misspelt(question, evidence, status, meant)
    return found(
        "MR123", Stage.INVOICE, evidence, _in_use(question), subject=question.label,
        remedy=f"bring {question.label} to {wanted} in the billing system, "
        f"then {_afterwards(question)}",
        cause=f"invoice {question.label} is {status}, not {wanted}",
    )  # fmt: skip


def _misspelt(question: Question, evidence: str, status: str, meant: str) -> Finding:
    """Return MR123 where the definition and the data write one status in two ways."""
    name = question.context.name
    return found(
        "MR123", Stage.INVOICE, evidence,
        f"they are compared as they are written: {status!r} in the data, {meant!r} in the "
        "definition",
        subject=question.label,
        remedy=f"write {status!r} in statuses under [definitions.{name}], then "
        f"{_afterwards(question)}",
        cause=f"invoice {question.label} is {status!r}, and the definition writes it {meant!r}",
    )  # fmt: skip


def _in_use(question: Question) -> str:
    """Say that no invoice at all has a wanted status, where it is so."""
    wanted, there = question.context.frozen.definition["statuses"], question.subject.statuses
    if any(status in there for status in wanted):
        return ""
    known = ", ".join(f"{status} ({number})" for status, number in there.items())
    return f"no invoice of any customer has that status; there are: {known}"


def _sent_before(question: Question) -> Finding:
    """Name the run, the message and the reply (MR125)."""
    row = question.holder
    evidence = [_where(row)] if row else []
    if row is not None and row.answer:
        evidence.append(row.answer)
    code = question.subject.customer.code
    return found(
        "MR125", Stage.INVOICE, *evidence, status=Status.PASS, subject=question.label,
        remedy=f"msgrun start {question.context.name} --customer {code} --resend",
    )  # fmt: skip


def _held_elsewhere(question: Question) -> Finding:
    """Name the run that holds it, and its status (MR126)."""
    row = question.holder
    if row is None:
        return found("MR126", Stage.INVOICE, status=Status.WARN, subject=question.label)
    status = question.runs[row.run_id].row.status
    number = row.run_id
    return found(
        "MR126", Stage.INVOICE, f"{_where(row)}; run {number} is {status}", status=Status.WARN,
        remedy=f"`msgrun restart {number}` sends it, `msgrun cancel {number}` frees it",
        subject=question.label, cause=f"run {number}, which is {status}, holds the invoice",
    )  # fmt: skip


def _where(row: MessageRow) -> str:
    return f"run {row.run_id}, message {row.id}: {row.state}"


def became_eligible(question: Question) -> bool:
    """Tell whether the run passed the invoice over though every rule lets it through today."""
    run, row = question.run, question.row
    if run is None or question.invoice is None or question.blocked or not question.covered:
        return False
    if row is None:
        return True
    return row.state is MessageState.SKIPPED and row.reason in _RULES_OF_ROWS


def _eligible_since(question: Question, run: RunFacts) -> Finding:
    """Say when the selection was made, and what is different now (MR124)."""
    number, row = run.row.id, question.row
    then = f"skipped it with {row.reason}" if row else "has no row for it"
    return found(
        "MR124", Stage.INVOICE,
        f"run {number} made its selection {instant(run.row.created_at)} and {then}",
        f"now, {instant(question.now)}, every rule lets it through",
        remedy=_afterwards(question), subject=question.label,
        cause=f"invoice {question.label} became eligible after run {number} had made its selection",
    )  # fmt: skip


def _afterwards(question: Question) -> str:
    """Return the command that sends an invoice which is in order again."""
    run, row = question.run, question.row
    if run is not None and row is not None and not _given_up(run):
        return f"msgrun restart {run.row.id} --failed"
    return start_command(question.context, question.subject.customer.code)


def _given_up(run: RunFacts) -> bool:
    return run.row.status is RunStatus.CANCELLED
