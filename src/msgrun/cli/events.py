"""`msgrun events`: who did what to the runs, and when."""

import sys
from typing import Annotated

import typer

from msgrun.cli import options
from msgrun.cli.opening import open_database, printer_for

_NEWEST = 50

Run = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN", help="A run's number, or 'last'; without it, what is new in all runs."
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit",
        metavar="N",
        min=1,
        help=f"Only the newest N; {_NEWEST} where no run is named.",
        show_default=False,
    ),
]


def events(
    ctx: typer.Context, run: Run = None, limit: Limit = None, json: options.Json = False
) -> None:
    """List who planned, started, stopped, resolved or purged what, and when.

    Of one run, in the order in which it happened; of all runs, the newest first. With --json, one
    line each (JSON Lines).
    """
    from msgrun.ledger.runs import find_run, newest_events

    database = open_database(ctx)
    with database.read() as connection, connection.begin():
        if run is None:
            found = newest_events(connection, database.tables, limit=limit or _NEWEST)
        else:
            of = find_run(connection, database.tables, run).id
            found = newest_events(connection, database.tables, run_id=of, limit=limit)[::-1]
    if json:
        from msgrun.ui.json import event_object, write

        for each in found:
            write(event_object(each), sys.stdout)
    else:
        from msgrun.ui.keeping import print_events

        print_events(printer_for(json=False), found)
