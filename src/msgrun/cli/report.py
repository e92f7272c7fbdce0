"""`msgrun report`: a run for those who answer for it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from msgrun.cli import options
from msgrun.cli.opening import open_workspace, printer_for
from msgrun.errors import UsageError

if TYPE_CHECKING:
    from msgrun.ledger.rows import RunRow
    from msgrun.report import Report
    from msgrun.workspace import Workspace

_STDOUT: Final = Path("-")

HtmlFile = Annotated[
    Path | None,
    typer.Option(
        "--html", metavar="FILE", help="Write one page that needs no network; - prints it."
    ),
]
CsvFile = Annotated[
    Path | None,
    typer.Option("--csv", metavar="FILE", help="Write each invoice with its amount and its fate."),
]
Force = Annotated[bool, typer.Option("--force", help="Write over files that are there already.")]


def report(
    ctx: typer.Context,
    run: options.Run = "last",
    html: HtmlFile = None,
    csv: CsvFile = None,
    force: Force = False,
    json: options.Json = False,
) -> None:
    """Report a run: outcome, reasons, amounts sent and not sent, rate, answers by provider.

    Without options a summary in the terminal. The page holds personal data.
    """
    from msgrun.cli.writing import refuse_overwriting
    from msgrun.ledger.runs import find_run

    if html == _STDOUT and json:
        raise UsageError("--html - and --json both print", "give --html a file")
    for file, option in ((html, "--html"), (csv, "--csv")):
        if file is not None and (option != "--html" or file != _STDOUT):
            refuse_overwriting(file, option, force=force)
    if html is not None and html == csv:
        raise UsageError("--html and --csv name the same file", "name two")
    workspace = open_workspace(ctx)
    with workspace.database.read() as connection, connection.begin():
        found = find_run(connection, workspace.database.tables, run)
    if csv is not None:
        _write_csv(workspace, found, csv, quiet=html == _STDOUT or json)
        if html is None and not json:
            return
    _report(workspace, found, html, json=json)


def _report(workspace: "Workspace", run: "RunRow", html: Path | None, *, json: bool) -> None:
    from msgrun.report import read_report

    made = read_report(workspace, run, listing=html is not None)
    if html is not None:
        _write_html(made, html, quiet=json)
    if json:
        from msgrun.ui.json import write
        from msgrun.ui.report.data import report_document

        write(report_document(made), sys.stdout)
    elif html is None:
        from msgrun.ui.report.text import print_report

        print_report(printer_for(json=False), made)


def _write_html(made: "Report", file: Path, *, quiet: bool) -> None:
    from msgrun.cli.writing import whole_file
    from msgrun.ui.report.page import write_page

    if file == _STDOUT:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(encoding="utf-8")  # as the page says of itself
        write_page(made, sys.stdout)
        return
    with whole_file(file, "--html") as stream:
        write_page(made, stream)
    printer_for(json=quiet).line(f"report of run {made.run.id} written to {file}")


def _write_csv(workspace: "Workspace", run: "RunRow", file: Path, *, quiet: bool) -> None:
    from msgrun.cli.writing import whole_file
    from msgrun.report import read_messages
    from msgrun.ui.report.data import write_invoices
    from msgrun.ui.text import plural

    # utf-8-sig: without the mark, spreadsheets take the file for another encoding.
    with (
        workspace.database.read(attach=True) as connection,
        whole_file(file, "--csv", encoding="utf-8-sig") as stream,
    ):
        number = write_invoices(run, read_messages(workspace, connection, run), stream)
    printer_for(json=quiet).line(f"{plural(number, 'invoice')} written to {file}")
