"""`msgrun show`: one run with its figures."""

import sys

import typer

from msgrun.cli import options
from msgrun.cli.opening import open_workspace, printer_for


def show(ctx: typer.Context, run: options.Run = "last", json: options.Json = False) -> None:
    """Show a run: what it covers, and how many were sent, skipped, rejected."""
    from msgrun.ledger.runs import find_run
    from msgrun.ledger.views import summarize
    from msgrun.ui import json as documents
    from msgrun.ui.summary import print_run

    database = open_workspace(ctx).database
    with database.read() as connection, connection.begin():
        found = find_run(connection, database.tables, run)
        summary = summarize(connection, database.tables, found)
    if json:
        documents.write(documents.run_document(summary), sys.stdout)
    else:
        print_run(printer_for(json=False), summary)
