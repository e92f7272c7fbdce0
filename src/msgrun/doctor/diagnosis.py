"""Walking the check-list for a customer, and putting the findings into one sentence."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from typing import Final

from sqlalchemy import Connection

from msgrun.doctor.addresses import check_address
from msgrun.doctor.asking import check_server
from msgrun.doctor.composing import Composing
from msgrun.doctor.context import Asked, check_cluster_name, choose
from msgrun.doctor.deadline import Deadline
from msgrun.doctor.domains import check_domains
from msgrun.doctor.environment import check_environment
from msgrun.doctor.findings import (
    Case,
    Finding,
    Report,
    Stage,
    Status,
    crashed,
    in_order,
    of_error,
)
from msgrun.doctor.invoices import check_invoice
from msgrun.doctor.names import Names
from msgrun.doctor.readiness import check_everything
from msgrun.doctor.record import record_of
from msgrun.doctor.sender import check_sender_domain
from msgrun.doctor.sending import check_message, check_run
from msgrun.doctor.servers import Servers
from msgrun.doctor.situation import Question, read_questions, read_subject
from msgrun.doctor.standing import check_cluster, check_customer
from msgrun.doctor.suppression import suppress
from msgrun.doctor.unknown import no_customer, which_customer
from msgrun.doctor.verdict import cause_of, exit_code_of_all, sentence, speaker_of, summed_up
from msgrun.errors import DatabaseError, MsgrunError, SourceError
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
    names: Names | None = None,
    deadline: Deadline | None = None,
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
        offline: leave the mail servers and the name service alone.
        names: asks the name service; None for one of its own.
        deadline: after it nobody outside is asked any more; what is left then is unknown.

    Raises:
        NotFoundError: no such definition, run or cluster. (An unknown customer is a finding.)
        UsageError: `period` names no period.
    """
    asked = Asked(today, definition, run, cluster, period)
    servers = Servers(workspace, offline=offline, names=names, deadline=deadline)
    report = _examined(workspace, customer, servers, asked)
    return suppress(report, workspace.config.doctor.suppress, today)


def _examined(workspace: Workspace, customer: str | None, servers: Servers, asked: Asked) -> Report:
    """Ask every check, whatever of it is suppressed."""
    try:
        workspace.database.ensure()
        around = check_environment(workspace)
        if customer is None:
            return check_everything(workspace, servers, asked, around)
        with workspace.database.connect(attach=True) as connection:
            read = _read(connection, workspace, customer, asked)
    except (DatabaseError, SourceError) as error:
        default = "MR006" if isinstance(error, SourceError) else "MR001"
        fault = of_error(error, Stage.ENVIRONMENT, default)
        return _without_data(workspace, customer, servers, asked, fault)
    except MsgrunError:
        raise
    except Exception as error:  # noqa: BLE001 - the servers can be looked at all the same
        return _without_data(workspace, customer, servers, asked, crashed(Stage.ENVIRONMENT, error))
    if isinstance(read, Report):
        return read
    if not read:  # there is no definition at all
        return replace(check_everything(workspace, servers, asked, around), customer=customer)
    return _report(read, [_case(workspace, each, servers, around) for each in read])


def _without_data(
    workspace: Workspace, customer: str | None, servers: Servers, asked: Asked, fault: Finding
) -> Report:
    """Look at what can be looked at when the data cannot be read."""
    rest = check_everything(workspace, servers, asked, [fault], readable=False)
    return replace(rest, customer=customer, verdict=f"Not determinable: {fault.cause}")


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
        subject = read_subject(connection, workspace, snapshot, people[0], contexts)
        return [
            question
            for context in contexts
            for question in read_questions(connection, workspace, snapshot, subject, context)
        ]


def _case(
    workspace: Workspace, question: Question, servers: Servers, around: Sequence[Finding]
) -> Case:
    """Ask every check about one invoice under one definition.

    Args:
        around: what was found about the machine; it concerns every case.
    """
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
        (Stage.SMTP, check_server),
        (Stage.DOMAIN, check_domains),
        (Stage.SENDER, check_sender_domain),
    )
    findings = list(around)
    for stage, check in checks:
        try:
            findings += check(question, servers)
        except Exception as error:  # noqa: BLE001 - one check must not hide the others
            findings.append(crashed(stage, error))
    if question.accepted:
        findings = [_not_the_cause(each) for each in findings]
    ordered = in_order(findings)
    cause = cause_of(ordered)
    context, speaker = question.context, question.speaker
    facts = question.runs[speaker.run_id] if speaker is not None else question.run
    return Case(
        verdict=sentence(cause),
        primary=cause.code if cause else "",
        invoice=question.label or None,
        invoice_id=question.verdict.invoice,
        definition=context.name,
        run=context.run.id if context.run else None,
        period=context.period,
        findings=ordered,
        record=record_of(facts.row if facts else None, speaker),
    )


def _not_the_cause(finding: Finding) -> Finding:
    """Lower what is wrong with today's data after the server has accepted the message."""
    past = finding.stage in _BEFORE_THE_RUN or finding.code == "MR617"
    if finding.status is Status.FAIL and past:
        return replace(finding, status=Status.WARN)
    return finding


def _report(questions: Sequence[Question], cases: Sequence[Case]) -> Report:
    """Sum up the cases; the first that went wrong speaks for all."""
    subject = questions[0].subject.customer
    return Report(
        customer=subject.code,
        name=subject.name,
        verdict=summed_up(cases),
        primary=speaker_of(cases).primary,
        findings=in_order(finding for case in cases for finding in case.findings),
        cases=tuple(cases),
        exit_code=exit_code_of_all(cases),
        addresses=frozenset(address for each in questions for address in each.addresses),
    )
