"""`msgrun cancel`: give up what a run has not sent."""

import typer

from msgrun.cli import options
from msgrun.cli.opening import ask, finish, is_interactive, open_workspace, printer_for


def cancel(
    ctx: typer.Context,
    run: options.Run = "last",
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Give up what a run has not sent, and free those invoices for another run."""
    from msgrun.control.stop import cancel as cancel_run
    from msgrun.control.work import summary_of
    from msgrun.ledger.runs import find_run

    workspace = open_workspace(ctx)
    if not yes and is_interactive():
        database = workspace.database
        with database.read() as connection, connection.begin():
            found = find_run(connection, database.tables, run)
        messages = summary_of(workspace, found.id).messages
        unsent = messages.pending + messages.deferred
        run = str(found.id)
        if not ask(f"Give up {unsent:,} unsent of run {run} ({found.definition})?"):
            printer_for(json=json).line("nothing changed")
            return
    finish(ctx, cancel_run(workspace, run), json=json)
