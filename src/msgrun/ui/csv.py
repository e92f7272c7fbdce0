"""Results as CSV, safe to open in a spreadsheet."""

import csv
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TextIO

COLUMNS: Final = (
    "message",
    "run",
    "customer",
    "invoice_ids",
    "invoices",
    "to",
    "state",
    "reason",
    "message_id",
    "code",
    "enhanced",
    "reply",
    "queue_id",
    "attempts",
    "sent_at",
    "refused",
)
"""The columns, in order; lists are joined by "; "."""

_FORMULA: Final = re.compile(
    # Where semicolons separate, spreadsheets split a cell at them, and end a row within quotes.
    r"(?:^|(?<=[;\t\r\n]))"
    r"(?=[\t\r\n]|[\s\"\x00-\x1f\u200b-\u200f\u2060\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20])"
)
"""Where something begins that a spreadsheet would run, also in full width, or behind spaces."""

_NUMBER: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")


def cell(value: Any) -> str:
    """Return a value as a cell; a quote goes before what a spreadsheet would run as a formula."""
    text = "" if value is None else str(value)
    return text if _NUMBER.fullmatch(text) else _FORMULA.sub("'", text)


def write_csv(messages: Iterable[Mapping[str, Any]], stream: TextIO) -> int:
    """Write messages (`ui.json.message_object`) as CSV (RFC 4180); return how many."""
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    number = 0
    for message in messages:
        writer.writerow(cell(value) for value in _row(message))
        number += 1
    return number


def _row(message: Mapping[str, Any]) -> list[Any]:
    invoices = message["invoices"]
    refused = message.get("refused", ())
    values = dict(message) | {
        "invoice_ids": "; ".join(each["id"] for each in invoices),
        "invoices": "; ".join(each["number"] or "" for each in invoices),
        "to": "; ".join(message["to"]),
        "refused": "; ".join(f"{each['address']}: {each['reply']}" for each in refused),
    }
    return [values[name] for name in COLUMNS]
