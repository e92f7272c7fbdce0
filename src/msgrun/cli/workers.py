"""`msgrun workers`: who works, or looks for work, and how fast."""

import sys
from typing import Annotated

import typer

from msgrun.cli import options
from msgrun.cli.opening import open_workspace, printer_for

All = Annotated[bool, typer.Option("--all", help="Also those that have ended.")]


def workers(ctx: typer.Context, all_: All = False, json: options.Json = False) -> None:
    """List the workers of every host: their run, last sign of life, and rate."""
    from msgrun.ledger.census import take_census
    from msgrun.ui import json as documents
    from msgrun.ui.summary import print_workers

    database = open_workspace(ctx).database
    with database.read() as connection, connection.begin():
        found = take_census(connection, database, ended=all_)
    if json:
        documents.write(documents.workers_document(found), sys.stdout)
    else:
        print_workers(printer_for(json=False), found)
