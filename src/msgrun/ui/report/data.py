"""The report as a JSON document, and as a CSV file of invoices."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, Final, TextIO

from msgrun.ledger.rows import RunRow
from msgrun.report import Report, Reported
from msgrun.ui.csv import cell
from msgrun.ui.json import SCHEMA, run_object
from msgrun.ui.report import words
from msgrun.ui.summary import title_of
from msgrun.ui.text import moment

COLUMNS: Final = (
    "run",
    "message",
    "customer",
    "invoice_id",
    "invoice",
    "currency",
    "total",
    "state",
    "reason",
    "title",
    "to",
    "answer",
    "sent_at",
)
"""The columns of the CSV file: one row for each invoice."""


def report_document(report: Report) -> dict[str, Any]:
    """Return the report without its list, which `results --json` has."""
    return {
        "schema": SCHEMA,
        "run": run_object(report.run),
        "at": moment(report.at),
        "outcome": words.outcome(report),
        "counts": asdict(report.counts),
        "messages": asdict(report.messages),
        "not_sent": report.not_sent,
        "reasons": [
            {
                "code": each.code,
                "title": title_of(each.code) or None,
                "state": each.state.value,
                "invoices": each.invoices,
                "messages": each.messages,
                "answers": _answers(each.answers),
            }
            for each in report.reasons
        ],
        "amounts": [
            {
                "currency": currency or None,
                "sent": f"{each.sent:f}",
                "not_sent": f"{each.not_sent:f}",
                "sent_invoices": each.sent_invoices,
                "not_sent_invoices": each.not_sent_invoices,
            }
            for currency, each in report.money.items()
        ],
        "gone": asdict(report.gone),
        "without_amount": asdict(report.unstated),
        "rate": {
            "seconds": report.timeline.width,
            "slices": [[moment(at), count] for at, count in report.timeline.slices() if count],
        },
        "providers": [
            {
                "name": each.name,
                "domains": each.domains,
                "messages": each.messages,
                "states": {state.value: number for state, number in sorted(each.states.items())},
                "answers": _answers(each.answers),
            }
            for each in report.providers
        ],
        "partly_refused": report.partly,
        "purged": report.purged,
    }


def write_invoices(run: RunRow, pages: Iterable[Sequence[Reported]], stream: TextIO) -> int:
    """Write one row for each invoice (RFC 4180), safe for a spreadsheet; return how many."""
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    number = 0
    for page in pages:
        for message in page:
            number += len(message.invoices)
            writer.writerows([cell(each) for each in row] for row in _rows(run, message))
    return number


def _rows(run: RunRow, message: Reported) -> list[tuple[Any, ...]]:
    redirected = run.selection.redirect_to
    to = [redirected] if redirected else message.to
    return [
        (
            *(run.id, message.id, message.customer, invoice.id),
            (invoice.number or "Concept") if invoice.there else "",
            invoice.currency,
            "" if invoice.total is None else f"{invoice.total:f}",
            *(message.state.value, message.reason, title_of(message.reason)),
            *("; ".join(to), message.answer, moment(message.sent_at)),
        )
        for invoice in message.invoices
    ]


def _answers(answers: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    return [{"answer": answer, "messages": number} for answer, number in answers]
