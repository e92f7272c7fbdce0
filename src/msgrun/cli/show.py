"""`msgrun show`: one run with its figures."""

import sys

import typer

from msgrun.cli import options
from msgrun.cli.opening import open_workspace, printer_for


def show(ctx: typer.Context, run: options.Run = "last", json: options.Json = False) -> None:
    """Show a run: what it covers, and how many were sent, skipped, rejected."""
    from msgrun.ledger.runs import find_run
    from msgrun.ledger.views import summarize
    from msgrun.ledger.workers import live_workers
    from msgrun.states import LIVE
    from msgrun.ui import json as documents
    from msgrun.ui.summary import print_run

    database = open_workspace(ctx).database
    with database.read() as connection, connection.begin():
        found = find_run(connection, database.tables, run)
        summary = summarize(connection, database.tables, found)
        alive = live_workers(connection, database, found.id, found.definition)
    if json:
        documents.write(documents.run_document(summary), sys.stdout)
    else:
        printer = printer_for(json=False)
        print_run(printer, summary)
        if found.distributed and found.status in LIVE and not alive:
            printer.line("it waits for a worker: `msgrun worker` on any host takes it")
        elif found.status in LIVE and not alive:
            printer.line(
                f"nobody works on it any more: `msgrun restart {found.id}` goes on (MR503)"
            )
