"""`msgrun results`: what became of each message of a run."""

import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from msgrun.cli import options
from msgrun.cli.opening import open_workspace, printer_for
from msgrun.errors import UsageError
from msgrun.states import MessageState, RunStatus

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from msgrun.ledger.rows import MessageRow, RunRow
    from msgrun.workspace import Workspace

_WAITING: Final = frozenset({MessageState.PENDING, MessageState.CLAIMED, MessageState.SENDING})
_HELD: Final = frozenset({RunStatus.STOPPED, RunStatus.PAUSED})

States = Annotated[
    list[MessageState] | None,
    typer.Option(
        "--state", help="Only messages in this state; repeatable. Claimed and sending are pending."
    ),
]
CsvFile = Annotated[
    Path | None, typer.Option("--csv", metavar="FILE", help="Write a CSV file instead.")
]


def results(
    ctx: typer.Context,
    run: options.Run = "last",
    state: States = None,
    csv: CsvFile = None,
    json: options.Json = False,
) -> None:
    """List what became of each message of a run."""
    from msgrun.ledger.runs import find_run

    if csv is not None and json:
        raise UsageError("--csv and --json exclude each other", "run the command twice")
    workspace = open_workspace(ctx)
    database = workspace.database
    with database.read(attach=True) as connection:
        found = find_run(connection, database.tables, run)
        messages = _messages(workspace, connection, found, state or ())
        if csv is not None:
            _write_csv(messages, csv)
        elif json:
            _print_json(messages)
        else:
            _print_table(messages)


def _messages(
    workspace: "Workspace", connection: "Connection", run: "RunRow", states: Sequence[MessageState]
) -> Iterator[dict[str, Any]]:
    """Return the messages page by page, each with the numbers of its invoices as they are now."""
    from msgrun.ledger import views
    from msgrun.ui.json import message_object

    # As in the figures of `show`: what a worker holds has not been sent yet.
    held = _WAITING if MessageState.PENDING in states else ()
    rows = views.messages(
        connection, workspace.database.tables, run_id=run.id, states=(*states, *held)
    )
    while page := list(islice(rows, views.PAGE)):
        ids = [invoice for row in page for invoice in row.invoices]
        numbers = workspace.source.numbers(connection, ids)
        # While somebody reads this page, no transaction may keep the run's writer waiting.
        connection.rollback()
        for row in page:
            yield message_object(row, numbers, _reason(row, run), run.selection.redirect_to)


def _reason(row: "MessageRow", run: "RunRow") -> str | None:
    """Return why a message was not sent; one that waits for a stopped run says so."""
    if row.reason is not None or row.state not in _WAITING:
        return row.reason
    return "MR502" if run.status in _HELD else "MR505"


def _print_json(messages: Iterator[dict[str, Any]]) -> None:
    from msgrun.ui.json import write

    for message in messages:
        write(message, sys.stdout)


def _print_table(messages: Iterator[dict[str, Any]]) -> None:
    from msgrun.ledger.views import PAGE
    from msgrun.ui.text import Printer

    printer = Printer(sys.stdout)
    header = ("message", "customer", "invoices", "to", "state", "reason", "answer")
    none = True
    while page := list(islice(messages, PAGE)):
        printer.table(header if none else ("",) * len(header), [_row(each) for each in page])
        none = False
    if none:
        printer.line("no such message")


def _row(message: dict[str, Any]) -> tuple[str, ...]:
    from msgrun.ui.summary import title_of

    reply = (message["code"], message["enhanced"], message["reply"])
    answer = " ".join(str(part) for part in reply if part)
    refused = [
        f"{each['address'] or 'one, purged,'} refused: {each['reply']}"
        for each in message.get("refused", ())
    ]
    return (
        str(message["message"]),
        message["customer"],
        ", ".join(each["number"] or f"{each['id']} (gone)" for each in message["invoices"]),
        ", ".join(message["to"]) or ("purged" if "purged_at" in message else ""),
        message["state"],
        message["reason"] or "",
        "; ".join(filter(None, (answer, *refused))) or title_of(message["reason"]),
    )


def _write_csv(messages: Iterator[dict[str, Any]], file: Path) -> None:
    from msgrun.ui.csv import write_csv
    from msgrun.ui.text import plural

    try:
        # utf-8-sig: without the mark, spreadsheets take the file for another encoding.
        with file.open("w", encoding="utf-8-sig", newline="") as stream:
            number = write_csv(messages, stream)
    except OSError as error:
        raise UsageError(
            f"{file} cannot be written: {error.strerror}", "name another file after --csv"
        ) from error
    printer_for(json=False).line(f"{plural(number, 'message')} written to {file}")
