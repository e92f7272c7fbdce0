"""The JSON documents: their keys are a contract that scripts rely on."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, TextIO

from msgrun.errors import MsgrunError
from msgrun.ledger.census import Seen
from msgrun.ledger.returned import Effect, Returned
from msgrun.ledger.rows import Counts, MessageRow, RunRow, Summary
from msgrun.model import Invoice
from msgrun.ui.letter import read_letter
from msgrun.ui.text import moment

if TYPE_CHECKING:
    from msgrun.control.bounces import Taken
    from msgrun.control.evidence import Traced
    from msgrun.control.preview import Preview, PreviewedInvoice
    from msgrun.control.rehearse import Rehearsed
    from msgrun.control.resolve import Resolved
    from msgrun.control.seen import TemplateView
    from msgrun.control.send_test import Tested
    from msgrun.control.worker import Drained
    from msgrun.ledger.purge import Order, Survey
    from msgrun.planning.comparison import Cases, Comparison, Figure
    from msgrun.planning.draft import Plan

SCHEMA: Final = 1


def write(document: Mapping[str, Any], stream: TextIO) -> None:
    """Write a document as one line; other than ASCII is escaped, so that any stream takes it."""
    stream.write(json.dumps(document) + "\n")


def error_document(error: MsgrunError) -> dict[str, Any]:
    """Return what stands in place of the result when there is none."""
    return {
        "schema": SCHEMA,
        "error": {"code": error.code, "message": error.message, "hint": error.hint},
    }


def run_document(summary: Summary) -> dict[str, Any]:
    """Return a run with its figures."""
    return _figures(run_object(summary.run), summary.counts, summary.messages, summary.skipped)


def plan_document(plan: "Plan", comparison: "Comparison | None" = None) -> dict[str, Any]:
    """Return the same for a run that is not written: what would be sent is pending.

    The key `comparison` beside the others: see `comparison_object`.
    """
    skipped = plan.in_scope - plan.invoices
    counts = Counts(in_scope=plan.in_scope, skipped=skipped, pending=plan.invoices)
    # A skipped invoice has a message row of its own, also where the definition collates.
    messages = Counts(in_scope=plan.messages + skipped, skipped=skipped, pending=plan.messages)
    figures = _figures(None, counts, messages, plan.skipped)
    return figures | {"comparison": comparison_object(comparison)}


def comparison_object(comparison: "Comparison | None") -> dict[str, Any] | None:
    """Return a planned run beside the last time; None where there was none.

    `run` stands for the last time, `runs` are all of its period. Of each kind `count` is exact and
    `examples` are the first few; what was not looked at is null. Sums are strings.
    """
    if comparison is None:
        return None
    last, totals = comparison.last, comparison.totals
    kinds = ("new", "missing", "addresses", "amounts", "attachments", "sizes")
    return {
        "run": last.run,
        "runs": sorted(last.runs),
        "period": last.period,
        "created_at": moment(last.created_at),
        "messages": _figure_object(comparison.messages, int),
        "totals": None
        if totals is None
        else {currency: _figure_object(each, str) for currency, each in totals.items()},
        "invoices_gone": comparison.gone,
        "reasons": dict(comparison.reasons),
        **{kind: _cases_object(getattr(comparison, kind)) for kind in kinds},
    }


def _figure_object(figure: "Figure", told: Callable[[Any], Any]) -> dict[str, Any]:
    return {"before": told(figure.before), "now": told(figure.now), "far": figure.is_far}


def _cases_object(cases: "Cases | None") -> dict[str, Any] | None:
    if cases is None:
        return None
    return {"count": cases.count, "examples": [asdict(each) for each in cases.examples]}


def preview_document(preview: "Preview", out: str | None) -> dict[str, Any]:
    """Return one message as it would leave; all that is of the message is null where there is none.

    Args:
        preview: what the customer would get.
        out: the file that it was written to.
    """
    message, envelope = preview.message, preview.envelope
    letter = read_letter(message.data) if message is not None else None
    return {
        "schema": SCHEMA,
        "definition": preview.definition,
        "customer": preview.customer,
        "period": preview.period,
        "messages": preview.messages,
        "invoices": [_previewed_object(each) for each in preview.chosen],
        "others": [_previewed_object(each) for each in preview.others],
        "reason": preview.reason,
        "detail": preview.detail or None,
        "from": envelope.sender if envelope else None,
        "to": list(envelope.recipients) if envelope else None,
        "bcc": list(envelope.bcc) if envelope else None,
        "headers": dict(letter.fields) if letter else None,
        "attachments": [asdict(each) for each in letter.attachments] if letter else None,
        "text": letter.text if letter else None,
        "text_from_html": letter.derived if letter else None,
        "html": letter.html if letter else None,
        "message_id": message.message_id if message else None,
        "size": len(message.data) if message else None,
        "sha256": message.sha256 if message else None,
        "out": out,
    }


def _previewed_object(invoice: "PreviewedInvoice") -> dict[str, Any]:
    return {"id": invoice.id, "number": invoice.number, "reason": invoice.reason}


def rehearsed_document(rehearsed: "Rehearsed") -> dict[str, Any]:
    """Return what a rehearsal made; `messages` and `counts` (of invoices) add up to `in_scope`."""
    return {
        "schema": SCHEMA,
        "definition": rehearsed.definition,
        "folder": str(rehearsed.folder),
        "complete": rehearsed.complete,
        "counts": asdict(rehearsed.invoices),
        "messages": asdict(rehearsed.messages),
        "skipped": dict(rehearsed.skipped),
        "failed": dict(rehearsed.failed),
        "bytes": rehearsed.size,
        "comparison": comparison_object(rehearsed.comparison),
    }


def runs_document(runs: Sequence[RunRow]) -> dict[str, Any]:
    """Return a list of runs."""
    return {"schema": SCHEMA, "runs": [run_object(run) for run in runs]}


def run_object(run: RunRow) -> dict[str, Any]:
    """Return a run without its figures; times are RFC 3339 in UTC."""
    return {
        "id": run.id,
        "definition": run.definition,
        "status": run.status.value,
        "cluster": run.selection.cluster,
        "period": run.period_label,
        "created_at": moment(run.created_at) or None,
        "started_at": moment(run.started_at) or None,
        "finished_at": moment(run.finished_at) or None,
        "schedule": run.schedule,
        "slot": run.slot,
    }


def workers_document(seen: Sequence[Seen]) -> dict[str, Any]:
    """Return a list of workers."""
    return {"schema": SCHEMA, "workers": [_worker_object(each) for each in seen]}


def _worker_object(seen: Seen) -> dict[str, Any]:
    worker = seen.worker
    return {
        "worker": worker.id,
        "host": worker.host,
        "pid": worker.pid,
        "run": worker.run_id,
        "started_at": moment(worker.started_at),
        "seen_at": moment(worker.seen_at),
        "lease_until": moment(worker.lease_until),
        "ended_at": moment(worker.ended_at) or None,
        "sent": worker.sent,
        "per_minute": worker.per_minute,
        "state": seen.state.value,
    }


def drained_document(drained: Sequence["Drained"]) -> dict[str, Any]:
    """Return the runs that a worker had a part in."""
    runs = [
        {
            "run": each.run,
            "definition": each.definition,
            "sent": each.sent,
            "status": each.status.value,
        }
        for each in drained
    ]
    return {"schema": SCHEMA, "runs": runs}


def resolved_document(resolved: Sequence["Resolved"]) -> dict[str, Any]:
    """Return what became of messages that were in doubt."""
    messages = [
        {
            "message": each.message,
            "run": each.run,
            "customer": each.customer,
            "state": each.state.value,
        }
        for each in resolved
    ]
    return {"schema": SCHEMA, "resolved": messages}


def event_object(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return who did what to a run, and when."""
    return {
        "event": event["id"],
        "run": event["run_id"],
        "definition": event["definition"],
        "at": moment(event["at"]),
        "actor": event["actor"],
        "kind": event["kind"],
        "detail": event["detail"],
    }


def purge_document(survey: "Survey", order: "Order", *, dry_run: bool) -> dict[str, Any]:
    """Return what was purged, or would be."""
    runs = [
        {
            "run": each.run.id,
            "definition": each.run.definition,
            "finished_at": moment(each.run.finished_at) or None,
            "messages": each.messages,
            "in_doubt": each.in_doubt,
        }
        for each in survey.runs
    ]
    return {
        "schema": SCHEMA,
        "dry_run": dry_run,
        "before": moment(order.before) or None,
        "customer": order.customer,
        "customers": order.codes.value,
        "messages": survey.messages,
        "in_doubt": survey.in_doubt,
        "runs": runs,
        "left": [
            {"run": run.id, "definition": run.definition, "status": run.status.value}
            for run in survey.left
        ],
    }


def tested_document(tested: "Tested") -> dict[str, Any]:
    """Return what became of a message to the operator."""
    outcome = tested.outcome
    reply = outcome.reply
    return {
        "schema": SCHEMA,
        "definition": tested.definition,
        "customer": tested.customer,
        "invoices": list(tested.invoices),
        "to": tested.to,
        "message_id": tested.message_id,
        "size": tested.size,
        "outcome": outcome.verdict.value,
        "stage": outcome.stage.value,
        "code": reply.code if reply else None,
        "enhanced": (reply.enhanced or None) if reply else None,
        "reply": reply.text if reply else outcome.text or None,
        "queue_id": outcome.queue_id or None,
        "finding": outcome.finding or None,
    }


def traced_object(traced: "Traced", verdict: str) -> dict[str, Any]:
    """Return one message with what the relay's log tells of it."""
    return {
        "schema": SCHEMA,
        "message": traced.message,
        "customer": traced.customer,
        "state": traced.state.value,
        "message_id": traced.message_id,
        "queue_id": traced.queue_id or None,
        "verdict": verdict,
        "deliveries": [
            {
                "at": each.at or None,
                "address": each.address,
                "status": each.status,
                "enhanced": each.enhanced,
                "relay": each.relay or None,
                "said": each.said or None,
                "queue_id": each.queue_id,
            }
            for each in traced.deliveries
        ],
    }


def bounces_document(taken: "Taken", found: Sequence[Returned], *, dry_run: bool) -> dict[str, Any]:
    """Return what `bounces` has found: counts by effect, and each recipient with its own."""
    return {
        "schema": SCHEMA,
        "dry_run": dry_run,
        "mails": taken.mails,
        "notices": taken.notices,
        "effects": {effect.value: taken.effects[effect] for effect in Effect},
        "recipients": [
            {
                "effect": one.effect.value,
                "message": one.message,
                "run": one.run,
                "definition": one.definition or None,
                "customer": one.customer or None,
                "invoices": list(one.invoices),
                "address": one.address,
                "status": one.status,
                "diagnostic": one.diagnostic or None,
                "hard": one.hard,
            }
            for one in found
        ],
    }


def seen_document(seen: "TemplateView") -> dict[str, Any]:
    """Return the document of `show-context`: what templates see."""
    return {
        "schema": SCHEMA,
        "definition": seen.definition,
        "customer": seen.customer,
        "eligible": seen.eligible,
        "language": seen.language,
        "unknown_language": seen.unknown_language,
        "variables": seen.variables,
        "filters": seen.filters,
        "functions": seen.functions,
    }


def message_object(
    row: MessageRow,
    numbers: Mapping[str, Invoice],
    reason: str | None,
    redirect_to: str | None = None,
) -> dict[str, Any]:
    """Return one message with all that is known of it.

    Args:
        row: the message.
        numbers: invoices as the source has them now, by id.
        reason: why it is not sent.
        redirect_to: where every message of its run went instead.
    """
    addresses = [each.address for each in row.recipients]
    document: dict[str, Any] = {
        "message": row.id,
        "run": row.run_id,
        "customer": row.customer,
        "invoices": [
            {"id": invoice, "number": label_of(invoice, numbers)} for invoice in row.invoices
        ],
        "to": [redirect_to] if redirect_to else addresses,
        "state": row.state.value,
        "reason": reason,
        "message_id": row.message_id,
        "code": row.reply.code if row.reply else None,
        "enhanced": (row.reply.enhanced or None) if row.reply else None,
        "reply": row.reply.text if row.reply else row.answer,
        "queue_id": row.queue_id or None,
        "attempts": row.attempts,
        "sent_at": moment(row.sent_at) or None,
    }
    if row.purged_at is not None:
        document["purged_at"] = moment(row.purged_at)
    if redirect_to:
        document["redirected_from"] = addresses
    if row.refused:
        document["refused"] = [
            {"address": each.address, "reply": str(each.reply)} for each in row.refused
        ]
    return document


def label_of(invoice: str, numbers: Mapping[str, Invoice]) -> str | None:
    """Return the number of an invoice as it is now, "Concept" without one; None when it is gone."""
    found = numbers.get(invoice)
    return found.label if found else None


def _figures(
    run: Mapping[str, Any] | None, counts: Counts, messages: Counts, skipped: Mapping[str, int]
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "run": run,
        "counts": asdict(counts),
        "messages": asdict(messages),
        "skipped": dict(skipped),
        "in_scope_balances": counts.balances,
    }
