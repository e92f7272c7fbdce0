"""Walking the check-list for a customer, and putting the findings into one sentence."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from typing import Final

from sqlalchemy import Connection

from msgrun.doctor.addresses import check_address
from msgrun.doctor.composing import Composing
from msgrun.doctor.context import Asked, check_cluster_name, choose
from msgrun.doctor.findings import (
    Case,
    Finding,
    Report,
    Stage,
    Status,
    crashed,
    first_cause,
    in_order,
    of_error,
)
from msgrun.doctor.invoices import check_invoice
from msgrun.doctor.readiness import check_everything
from msgrun.doctor.sending import check_message, check_run
from msgrun.doctor.servers import Servers
from msgrun.doctor.situation import Question, read_questions, read_subject
from msgrun.doctor.standing import check_cluster, check_customer
from msgrun.doctor.unknown import no_customer, which_customer
from msgrun.errors import DatabaseError, ExitCode, SourceError
from msgrun.workspace import Workspace

Check = Callable[[Question, Servers], list[Finding]]

_BEFORE_THE_RUN: Final = frozenset(
    {
        Stage.CUSTOMER,
        Stage.CLUSTER,
        Stage.ADDRESS,
        Stage.INVOICE,
        Stage.DEFINITION,
        Stage.TEMPLATE,
        Stage.DOCUMENTS,
    }
)


def diagnose(
    workspace: Workspace,
    customer: str | None,
    *,
    today: date,
    definition: str | None = None,
    run: str | None = None,
    cluster: str | None = None,
    period: str | None = None,
    offline: bool = False,
) -> Report:
    """Say why a customer did not receive a message, or, without one, whether all is ready.

    Nothing is sent, and nothing but a missing SQLite ledger is written.

    Args:
        workspace: configuration, database, source.
        customer: a code, or part of a code or name; None looks at everything but customers.
        today: from which words such as "previous-month" are seen.
        definition: None takes every definition that touches the customer.
        run: a number or "last"; None takes the one that fits.
        cluster: None takes the run's, or the definition's usual one.
        period: likewise.
        offline: leave the mail servers alone.

    Raises:
        NotFoundError: no such definition, run or cluster. (An unknown customer is a finding.)
        UsageError: `period` names no period.
    """
    asked = Asked(today, definition, run, cluster, period)
    servers = Servers(workspace, offline=offline)
    try:
        workspace.database.ensure()
        if customer is None:
            return check_everything(workspace, servers, asked)
        with workspace.database.connect(attach=True) as connection:
            read = _read(connection, workspace, customer, asked)
    except (DatabaseError, SourceError) as error:
        default = "MR006" if isinstance(error, SourceError) else "MR001"
        fault = of_error(error, Stage.ENVIRONMENT, default)
        rest = check_everything(workspace, servers, asked, fault)
        return replace(rest, customer=customer, verdict=f"Not determinable: {fault.cause}")
    if isinstance(read, Report):
        return read
    if not read:  # there is no definition at all
        return replace(check_everything(workspace, servers, asked), customer=customer)
    return _report(read, [_case(workspace, each, servers) for each in read])


def _read(
    connection: Connection, workspace: Workspace, customer: str, asked: Asked
) -> list[Question] | Report:
    """Read all that is asked about; a report where it is not clear whom it is about."""
    source = workspace.source
    with connection.begin():
        check_cluster_name(connection, workspace, asked)
        people = source.find_customers(connection, customer)
    if not people:
        return no_customer(connection, workspace, customer)
    if len(people) > 1:
        return which_customer(customer, people)
    snapshot = source.snapshot(connection, customers=[people[0].code])
    with connection.begin():
        contexts = choose(connection, workspace, snapshot, people[0].code, asked)
        wanted = [context.frozen.definition["recipient_key"] for context in contexts]
        subject = read_subject(connection, workspace, snapshot, people[0], wanted)
        return [
            question
            for context in contexts
            for question in read_questions(connection, workspace, snapshot, subject, context)
        ]


def _case(workspace: Workspace, question: Question, servers: Servers) -> Case:
    """Ask every check about one invoice under one definition."""
    composing = Composing(workspace)
    checks: Sequence[tuple[Stage, Check]] = (
        (Stage.CUSTOMER, check_customer),
        (Stage.CLUSTER, check_cluster),
        (Stage.ADDRESS, check_address),
        (Stage.INVOICE, check_invoice),
        (Stage.DEFINITION, composing.check_definition),
        (Stage.TEMPLATE, composing.check_template),
        (Stage.DOCUMENTS, composing.check_documents),
        (Stage.RUN, check_run),
        (Stage.MESSAGE, check_message),
        (
            Stage.SMTP,
            lambda asked, asking: list(asking.of_definition(asked.context.frozen).findings),
        ),
    )
    findings: list[Finding] = []
    for stage, check in checks:
        try:
            findings += check(question, servers)
        except Exception as error:  # noqa: BLE001 - one check must not hide the others
            findings.append(crashed(stage, error))
    sent = any(each.code == "MR508" for each in findings)
    if sent:
        findings = [_not_the_cause(each) for each in findings]
    ordered = in_order(findings)
    cause = next((e for e in ordered if e.code == "MR508"), None) if sent else first_cause(ordered)
    context = question.context
    return Case(
        verdict=_sentence(cause),
        primary=cause.code if cause else "",
        invoice=question.label or None,
        invoice_id=question.verdict.invoice,
        definition=context.name,
        run=context.run.id if context.run else None,
        period=context.period,
        findings=ordered,
    )


def _not_the_cause(finding: Finding) -> Finding:
    """Lower what is wrong with today's data after the server has accepted the message."""
    if finding.status is Status.FAIL and finding.stage in _BEFORE_THE_RUN:
        return replace(finding, status=Status.WARN)
    return finding


_OPENINGS: Final = {"MR508": "Sent", "MR507": "In doubt", "MR505": "Waiting", "MR511": "Redirected"}


def _sentence(cause: Finding | None) -> str:
    if cause is None:
        return "Nothing is wrong: every check passed, or was left out"
    if cause.status in {Status.UNKNOWN, Status.CRASHED}:
        return f"Not determinable: {cause.cause}"
    return f"{_OPENINGS.get(cause.code, 'Not sent')}: {cause.cause}"


def _report(questions: Sequence[Question], cases: Sequence[Case]) -> Report:
    """Sum up the cases; the first that went wrong speaks for all."""
    subject = questions[0].subject.customer
    findings = in_order(finding for case in cases for finding in case.findings)
    wrong = [case for case in cases if not case.sent]
    speaker = (wrong or list(cases))[0]
    verdict = speaker.verdict
    if len(cases) > 1:
        sent = len(cases) - len(wrong)
        verdict = f"Sent: all {sent} messages" if not wrong else verdict
        if wrong and sent:
            verdict += f" ({sent} of {len(cases)} were sent)"
    codes = [case.exit_code for case in cases]
    known = (ExitCode.DOCTOR_ERRORS, ExitCode.DOCTOR_UNKNOWN)
    exit_code = next((code for code in known if code in codes), ExitCode.DONE)
    return Report(
        subject.code, subject.name, verdict, speaker.primary, findings, tuple(cases), exit_code
    )
