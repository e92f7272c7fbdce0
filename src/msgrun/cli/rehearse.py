"""`msgrun rehearse`: every message of a run as a file; nothing is sent, nothing is marked."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from msgrun.cli import options
from msgrun.cli.opening import Invocation, open_workspace, printer_for
from msgrun.cli.selecting import Asked, choose_definition
from msgrun.errors import ExitCode, MsgrunError

Into = Annotated[
    Path, typer.Option("--into", metavar="FOLDER", help="A new or empty folder for the files.")
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace the rehearsal that the folder holds.")
]


def rehearse(
    ctx: typer.Context,
    into: Into,
    definition: options.Definition = None,
    cluster: options.Cluster = None,
    no_children: options.NoChildren = False,
    period: options.PeriodOption = None,
    customer: options.Customers = None,
    limit: options.Limit = None,
    redirect_to: options.RedirectTo = None,
    force: Force = False,
    processes: options.Processes = None,
    json: options.Json = False,
) -> None:
    """Write every message of a run to a folder, with an index; nothing is sent or marked.

    What was sent before is written again; blind copies are left out. Exit code 3: some messages
    cannot be composed; the index says why.
    """
    from msgrun.control.rehearsal_folder import RehearsalFolder
    from msgrun.control.rehearse import rehearse as play
    from msgrun.ui.json import rehearsed_document, write
    from msgrun.ui.rehearsal import Index, print_rehearsed
    from msgrun.ui.text import Printer

    asked = Asked(cluster, not no_children, period, customer or (), limit, (), redirect_to, False)
    workspace = open_workspace(ctx)
    name = choose_definition(workspace.config, definition)
    selection = asked.resolve(workspace, name)
    folder = RehearsalFolder(into, force=force)
    try:
        with Index(into, Printer(sys.stderr)) as index:
            told = play(workspace, name, selection, folder, index.hear, processes)
            index.end(told)
    except OSError as error:
        raise MsgrunError(
            f"{error.filename or into} cannot be written: {error.strerror}",
            "make room, or name another folder after --into",
        ) from error
    failed = ExitCode.INCOMPLETE if told.failed else ExitCode.DONE
    code = ctx.ensure_object(Invocation).exit_code = told.interrupted or failed
    if json:
        write(rehearsed_document(told), sys.stdout)
    else:
        print_rehearsed(printer_for(json=False), told)
    raise typer.Exit(code)
