"""`msgrun runs`: the runs there are."""

import sys
from typing import Annotated

import typer

from msgrun.cli import options
from msgrun.cli.opening import open_workspace, printer_for

Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, help="Only the newest N.")]


def runs(ctx: typer.Context, limit: Limit = 50, json: options.Json = False) -> None:
    """List the runs, the newest first."""
    from msgrun.ledger.runs import list_runs
    from msgrun.ui import json as documents
    from msgrun.ui.summary import print_runs

    database = open_workspace(ctx).database
    with database.read() as connection, connection.begin():
        found = list_runs(connection, database.tables, limit=limit)
    if json:
        documents.write(documents.runs_document(found), sys.stdout)
    else:
        print_runs(printer_for(json=False), found)
