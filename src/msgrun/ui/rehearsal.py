"""A rehearsal as it goes and as it ended, and its index as CSV and as a page."""

import csv
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from msgrun.control.rehearsal_folder import INCOMPLETE, INDEX, PAGE
from msgrun.ui.comparison import comparison_lines, print_comparison
from msgrun.ui.csv import cell
from msgrun.ui.rehearsal_page import Page
from msgrun.ui.summary import print_skipped, size, title_of
from msgrun.ui.text import Printer, assemble, plural

if TYPE_CHECKING:
    from msgrun.control.rehearse import Rehearsal, Rehearsed

COLUMNS: Final = (
    "number",
    "state",
    "customer",
    "name",
    "invoices",
    "total",
    "to",
    "subject",
    "attachments",
    "bytes",
    "finding",
    "detail",
    "file",
)
"""The columns of the index, in order; lists are joined by "; "."""


class Index:
    """Writes `index.csv` and `index.html` while a rehearsal goes on; they stay small in memory.

    Args:
        folder: where to; it is there when the first message is.
        printer: where a terminal shows how far it is.
    """

    def __init__(self, folder: Path, printer: Printer) -> None:
        self._folder = folder
        self._files = ExitStack()
        self._csv: Any = None
        self._page: Page | None = None
        self._progress = _progress(printer) if printer.is_terminal else None
        self._task: TaskID | None = None

    def __enter__(self) -> "Index":
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def hear(self, told: "Rehearsed", batch: Sequence["Rehearsal"]) -> None:
        """Write the rows of a batch."""
        if self._csv is None:
            self._begin(told)
        rows = [_row(each) for each in batch]
        self._csv.writerows([cell(value) for value in row] for row in rows)
        if self._page is not None:
            self._page.add(rows)
        if self._progress is not None and self._task is not None:
            done = told.messages.pending + told.messages.failed
            self._progress.update(self._task, completed=done)

    def _begin(self, told: "Rehearsed") -> None:
        # utf-8-sig: without the mark, spreadsheets take the file for another encoding.
        rows = _private(self._folder / INDEX, "utf-8-sig", newline="")
        page = _private(self._folder / PAGE, "utf-8", newline=None)
        self._files.enter_context(rows)
        self._csv = csv.writer(rows)
        self._csv.writerow(COLUMNS)
        self._page = Page(self._files.enter_context(page), told.definition)
        if self._progress is not None:
            self._files.enter_context(self._progress)
            self._task = self._progress.add_task("composing", total=told.to_compose)

    def end(self, told: "Rehearsed") -> None:
        """Write what the page says of the whole; stop showing how far it is."""
        if self._page is not None:
            lines = []
            if told.complete:
                lines = [assemble(*parts).plain for parts in comparison_lines(told.comparison)]
            self._page.end(_facts(told), "\n".join(lines), complete=told.complete)
        self._files.close()


def _private(file: Path, encoding: str, *, newline: str | None) -> TextIO:
    """Open a file for writing that others than its owner cannot read."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    return open(handle, "w", encoding=encoding, newline=newline)  # noqa: PTH123 - with its mode


def _progress(printer: Printer) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=printer.console,
        transient=True,
    )


def _facts(told: "Rehearsed") -> str:
    messages = told.messages
    facts = [f"{plural(messages.pending, 'message')} composed, {size(told.size)} together"]
    if messages.failed:
        facts.append(f"{messages.failed:,} that cannot be composed")
    if messages.skipped:
        facts.append(f"{plural(messages.skipped, 'invoice')} skipped")
    return ", ".join(facts) + ". Nothing was sent, nothing was marked."


def print_rehearsed(printer: Printer, told: "Rehearsed") -> None:
    """Print what was made, and where."""
    printer.line((f"Rehearsal of {told.definition}", "bold"))
    printer.line(f"  {_facts(told)}")
    for code, number in sorted(told.failed.items()):
        printer.line("    ", (code, "bold"), f"  {number:,}  {title_of(code)}")
    if told.complete:
        print_skipped(printer, told.skipped)
    printer.line(f"  {told.folder}: {PAGE} shows them, {INDEX} lists them")
    if not told.complete:
        done = told.messages.pending + told.messages.failed
        printer.line(
            ("interrupted", "red"),
            f": {done:,} of {plural(told.to_compose, 'message')} were tried; {INCOMPLETE} says so",
        )
        return
    printer.line()
    print_comparison(printer, told.comparison)


def _row(each: "Rehearsal") -> list[Any]:
    totals = [f"{currency} {total:.2f}".strip() for currency, total in each.totals.items()]
    return [
        each.number,
        each.state,
        each.customer,
        each.name,
        "; ".join(each.invoices),
        "; ".join(totals),
        "; ".join(each.to),
        each.subject,
        each.attachments if each.file else "",
        each.size or "",
        each.finding,
        each.detail,
        each.file,
    ]
