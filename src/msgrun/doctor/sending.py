"""What the ledger says: did a run take the invoice, and what became of its message?"""

from collections.abc import Mapping
from typing import Any, Final

from msgrun.doctor.findings import Finding, Stage, Status, found, passed, skipped
from msgrun.doctor.servers import Servers
from msgrun.doctor.situation import HANDED_OVER, Question, RunFacts
from msgrun.doctor.words import instant, start_command
from msgrun.ledger.rows import MessageRow
from msgrun.model import Stage as Step
from msgrun.states import LIVE, UNSENT, MessageState, RunStatus
from msgrun.transport.answers import classify

_M: Final = MessageState
_PURGED: Final = "an address that was purged"
_AT_REST: Final = frozenset({RunStatus.STOPPED, RunStatus.PAUSED, RunStatus.CANCELLED})


def check_run(question: Question, _servers: Servers) -> list[Finding]:
    """Ask whether there is a run, and whether it does what it should for this customer."""
    context, run = question.context, question.run
    if run is None:
        return [*question.missed, _no_run(question)]
    number, row = run.row.id, question.row
    if not question.covered:
        only = ", ".join(run.row.selection.customers)
        return [
            found(
                "MR501", Stage.RUN, f"run {number} covered only {only}",
                remedy=start_command(context, question.subject.customer.code),
                subject=context.name, cause=f"run {number} did not cover this customer",
            )
        ]  # fmt: skip
    unsent = row is not None and row.state in {*UNSENT, _M.SENDING}
    if row is not None and row.state is _M.SKIPPED and row.reason == "MR127":
        limit = run.row.selection.limit
        return [
            found(
                "MR127", Stage.RUN, f"run {number} had --limit {limit}", status=Status.WARN,
                remedy=start_command(context), subject=question.label,
                cause=f"it lies beyond --limit {limit} of run {number}",
            )
        ]  # fmt: skip
    if row is not None and row.state is _M.SKIPPED and row.reason == "MR128":
        return [_cancelled(question, run)]
    if unsent and run.row.status in LIVE and not run.alive:
        return [_nobody_works(run)]
    if unsent and run.row.status in _AT_REST:
        return [_at_rest(question, run)]
    return [passed(Stage.RUN, f"run {number} {run.row.status}, {_counts(run)}")]


def _no_run(question: Question) -> Finding:
    """Return MR501 where a run would have something to send."""
    context = question.context
    if context.selection is None:
        return skipped(Stage.RUN, "no period: the definition has no usual one, give --period")
    where = f"{context.name} has not been run for {context.period or 'all periods'}"
    enabled = context.today is not None and context.today.enabled
    if question.invoice is None or question.blocked or not enabled:
        return skipped(Stage.RUN, where)
    evidence = [where, f"every rule lets invoice {question.label} through"]
    return found(
        "MR501", Stage.RUN, *evidence, remedy=start_command(context), subject=context.name,
        cause=f"no run of '{context.name}' has been started for {context.period or 'it'}",
    )  # fmt: skip


def _nobody_works(run: RunFacts) -> Finding:
    number, worker = run.row.id, run.last_worker
    seen = "no process has ever worked on it"
    if worker is not None:
        seen = f"pid {worker.pid} on {worker.host}, last sign of life {instant(worker.seen_at)}"
    if run.row.distributed:
        return found(
            "MR503", Stage.RUN, f"run {number} is {run.row.status}, for any worker; {seen}",
            remedy="msgrun worker", subject=f"run {number}",
            cause=f"run {number} waits for a worker, and none is at it",
        )  # fmt: skip
    return found(
        "MR503", Stage.RUN, f"run {number} is {run.row.status}; {seen}",
        remedy=f"msgrun restart {number}", subject=f"run {number}",
        cause=f"run {number} claims to be {run.row.status}, but nothing works on it",
    )  # fmt: skip


def _at_rest(question: Question, run: RunFacts) -> Finding:
    """Say who stopped the run, when, and why (MR502)."""
    number, status = run.row.id, run.row.status
    kinds = {"stopping", "stopped"} if status is RunStatus.STOPPED else {status.value}
    event = _last(run, kinds)
    who = f" by {event['actor']} {instant(event['at'])}" if event else ""
    why = " ".join(part for part in (run.row.reason, run.row.detail) if part)
    cancelled = status is RunStatus.CANCELLED
    return found(
        "MR502", Stage.RUN, f"run {number} was {status}{who}", _counts(run),
        f"last error: {why}" if why else "",
        remedy=start_command(question.context) if cancelled else f"msgrun restart {number}",
        subject=f"run {number}", cause=f"run {number} is {status} and its message has not left",
    )  # fmt: skip


def _cancelled(question: Question, run: RunFacts) -> Finding:
    """Say who cancelled the run, and when (MR128)."""
    number, event = run.row.id, _last(run, {"cancelled"})
    who = f"by {event['actor']} {instant(event['at'])}" if event else ""
    return found(
        "MR128", Stage.RUN, f"run {number} was cancelled {who}".strip(), status=Status.WARN,
        remedy=start_command(question.context), subject=f"run {number}",
        cause=f"run {number} was cancelled before the message was sent",
    )  # fmt: skip


def _last(run: RunFacts, kinds: set[str]) -> Mapping[str, Any] | None:
    """Return who brought the run to rest: the first event since it last ran."""
    since: Mapping[str, Any] | None = None
    for event in run.events:
        if event["kind"] == RunStatus.RUNNING.value:
            since = None
        elif event["kind"] in kinds and since is None:
            since = event
    return since


def _counts(run: RunFacts) -> str:
    counts = run.counts
    names = ("sent", "skipped", "rejected", "failed", "in_doubt", "pending", "deferred")
    told = [
        f"{getattr(counts, name)} {name.replace('_', ' ')}"
        for name in names
        if getattr(counts, name)
    ]
    return f"{counts.in_scope} in scope: {', '.join(told) or 'none'}"


def check_message(question: Question, _servers: Servers) -> list[Finding]:
    """Ask what became of the message with this invoice."""
    row = question.speaker
    if row is None:
        return [skipped(Stage.MESSAGE, "not reached: no run has a message with it")]
    run = question.runs[row.run_id]
    if run.row.selection.redirect_to is not None and row.state in HANDED_OVER:
        return [_redirected(question, row)]
    says = {
        _M.SENT: _sent,
        _M.BOUNCED: _bounced,
        _M.REJECTED: _rejected,
        _M.IN_DOUBT: _in_doubt,
        _M.FAILED: _failed,
        _M.SKIPPED: _skipped,
    }
    return says.get(row.state, _waits)(question, row)


def _redirected(question: Question, row: MessageRow) -> Finding:
    run = question.runs[row.run_id].row
    went = run.selection.redirect_to or ""
    return found(
        "MR511", Stage.MESSAGE, f"run {run.id} sent every message to {went} {instant(row.sent_at)}",
        remedy=start_command(question.context), subject=question.label,
        cause=f"run {run.id} was redirected to {went}",
    )  # fmt: skip


def _sent(question: Question, row: MessageRow) -> list[Finding]:
    """Return MR508, and what is worth knowing beside it: MR510, recipients refused."""
    to = _recipients(row)
    evidence = [
        f"{instant(row.sent_at)} to {to}, run {row.run_id}",
        row.answer or "",
        f"queue id {row.queue_id}" if row.queue_id else "the reply names no queue id",
        f"Message-ID {row.message_id}" if row.message_id else "",
    ]
    queue = f" (queue id {row.queue_id})" if row.queue_id else ""
    findings = [
        found(
            "MR508", Stage.MESSAGE, *evidence, status=Status.PASS, subject=question.label,
            remedy="look in the spam folder, then ask the mail administrator with the queue id",
            cause=f"the server accepted it on {instant(row.sent_at)}{queue}",
        )
    ]  # fmt: skip
    for refused in row.refused:
        whose = refused.address or _PURGED
        findings.append(
            found("MR506", Stage.MESSAGE, f"refused for {whose}: {refused.reply}",
                  status=Status.WARN, subject=whose)
        )  # fmt: skip
    today = question.subject.under(question.context.frozen.definition["recipient_key"])
    was = sorted(each.address for each in row.recipients)
    redirected = question.runs[row.run_id].row.selection.redirect_to is not None
    if not redirected and row.purged_at is None and today != was:
        code = question.subject.customer.code
        findings.append(
            found(
                "MR510", Stage.MESSAGE, f"sent to {to}; today's is {', '.join(today) or 'none'}",
                status=Status.WARN, subject=question.label,
                remedy=f"msgrun start {row.definition} --customer {code} --resend",
            )
        )  # fmt: skip
    return findings


def _rejected(question: Question, row: MessageRow) -> list[Finding]:
    """Return MR506 with the reply word for word, or MR513."""
    answer = row.answer or _unrecorded(row)
    again = f"msgrun restart {row.run_id} --failed"
    if row.reason == "MR513":
        return [
            found(
                "MR513", Stage.MESSAGE, f"{row.attempts} tries; the last answer: {answer}",
                remedy=again, subject=question.label,
                cause="its deadline passed while the server kept deferring it",
            )
        ]  # fmt: skip
    evidence = [f"at {(row.stage or '?').upper()}: {answer}"]
    remedy = again
    if row.reply is not None and row.reply.code >= 400 and row.stage:
        meaning = classify(Step(row.stage), row.reply)
        evidence.append(meaning.diagnosis)
        remedy = f"{meaning.remedy} Then: {again}"
    return [
        found(
            "MR506", Stage.MESSAGE, *evidence, _addressed(row), remedy=remedy,
            subject=question.label, cause=f"the server refused it: {answer}",
        )
    ]  # fmt: skip


def _unrecorded(row: MessageRow) -> str:
    return "its words were purged" if row.purged_at else "no answer was recorded"


def _in_doubt(question: Question, row: MessageRow) -> list[Finding]:
    evidence = [
        f"handed over {instant(row.date or row.updated_at)} and never answered, {_addressed(row)}",
        f"Message-ID {row.message_id}",
    ]
    return [
        found(
            "MR507", Stage.MESSAGE, *evidence, status=Status.WARN, subject=question.label,
            remedy="look for the Message-ID in the server's log, then: "
            f"msgrun resolve {row.id} --sent | --resend",
            cause="the server's answer was never recorded; it has probably arrived",
        )
    ]  # fmt: skip


def _failed(question: Question, row: MessageRow) -> list[Finding]:
    """Return why it was not composed, as the run wrote it down."""
    return [
        found(
            row.reason or "MR506", Stage.MESSAGE, f"run {row.run_id}: {row.detail or 'failed'}",
            row.answer or "",
            remedy=f"repair it, then msgrun restart {row.run_id} --failed",
            subject=question.label, cause=row.detail or "the message could not be composed",
        )
    ]  # fmt: skip


def _bounced(question: Question, row: MessageRow) -> list[Finding]:
    """Return MR509 with the status and the diagnostic of the message that came back."""
    again = f"msgrun restart {row.run_id} --failed"
    evidence = [
        f"accepted {instant(row.sent_at)} {_addressed(row)}, run {row.run_id}; it came back later",
        row.answer or "",
        row.detail or "",
    ]
    remedy = f"look at the diagnostic, correct the address, then: {again}"
    if row.reply is not None and row.reply.code >= 400:
        meaning = classify(Step.RCPT, row.reply)
        evidence.append(meaning.diagnosis)
        remedy = f"{meaning.remedy} Then: {again}"
    told = row.detail or row.answer or _unrecorded(row)
    return [
        found(
            "MR509", Stage.MESSAGE, *evidence, remedy=remedy, subject=question.label,
            cause=f"the server accepted it, and it came back: {told}",
        )
    ]  # fmt: skip


def _skipped(question: Question, row: MessageRow) -> list[Finding]:
    return [skipped(Stage.MESSAGE, f"run {row.run_id} skipped it: {row.reason}", question.label)]


def _waits(question: Question, row: MessageRow) -> list[Finding]:
    """Return MR505 for what may still leave by itself; a run at rest has its own finding."""
    run = question.runs[row.run_id].row
    if run.status in _AT_REST and row.state is not _M.DEFERRED:
        return [skipped(Stage.MESSAGE, f"not reached: {row.state} in run {run.id}, {run.status}")]
    if row.state is _M.DEFERRED:
        evidence = [f"{row.attempts} tries, the next {instant(row.due_at)}", row.answer or ""]
        cause = f"the server deferred it: {row.answer or 'no answer'}"
    elif row.state is _M.SENDING:
        evidence, cause = ["it is being handed over now"], "it is being handed over now"
    else:
        evidence, cause = [f"{row.state} in run {run.id}, {run.status}"], "its turn has not come"
    return [
        found(
            "MR505", Stage.MESSAGE, *evidence, status=Status.WARN, subject=question.label,
            remedy="wait" if run.status in LIVE else f"msgrun restart {run.id}", cause=cause,
        )
    ]  # fmt: skip


def _addressed(row: MessageRow) -> str:
    return f"to {_recipients(row)}"


def _recipients(row: MessageRow) -> str:
    if row.purged_at is not None:
        return f"{_PURGED} {instant(row.purged_at)}"
    return ", ".join(each.address for each in row.recipients)
