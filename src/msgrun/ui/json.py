"""The JSON documents: their keys are a contract that scripts rely on."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, TextIO

from msgrun.errors import MsgrunError
from msgrun.ledger.census import Seen
from msgrun.ledger.rows import Counts, MessageRow, RunRow, Summary
from msgrun.model import Invoice
from msgrun.ui.text import moment

if TYPE_CHECKING:
    from msgrun.control.resolve import Resolved
    from msgrun.control.seen import TemplateView
    from msgrun.control.send_test import Tested
    from msgrun.control.worker import Drained
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


def plan_document(plan: "Plan") -> dict[str, Any]:
    """Return the same for a run that is not written: what would be sent is pending."""
    skipped = plan.in_scope - plan.invoices
    counts = Counts(in_scope=plan.in_scope, skipped=skipped, pending=plan.invoices)
    # A skipped invoice has a message row of its own, also where the definition collates.
    messages = Counts(in_scope=plan.messages + skipped, skipped=skipped, pending=plan.messages)
    return _figures(None, counts, messages, plan.skipped)


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
