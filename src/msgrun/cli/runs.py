"""`msgrun runs`: the runs there are."""

import sys
from typing import Annotated

import typer

from msgrun.cli import options
from msgrun.cli.opening import open_database, printer_for

Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, help="Only the newest N.")]


def runs(ctx: typer.Context, limit: Limit = 50, json: options.Json = False) -> None:
    """List the runs, the newest first."""
    from msgrun.ledger.runs import list_runs

    database = open_database(ctx)
    with database.read() as connection, connection.begin():
        found = list_runs(connection, database.tables, limit=limit)
    if json:
        from msgrun.ui.json import runs_document, write

        write(runs_document(found), sys.stdout)
    else:
        from msgrun.ui.summary import print_runs

        print_runs(printer_for(json=False), found)
