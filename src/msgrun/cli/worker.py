"""`msgrun worker`: drain the runs of a PostgreSQL database together with other hosts."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from msgrun.cli import options
from msgrun.cli.opening import open_workspace, printer_for

if TYPE_CHECKING:
    from msgrun.errors import MsgrunError
    from msgrun.events import Event
    from msgrun.ui.text import Printer
    from msgrun.workspace import Workspace

Poll = Annotated[
    float | None,
    typer.Option(
        "--poll",
        metavar="SECONDS",
        min=0.1,
        max=10,
        help="How often to look for a run (1; 5 where `db upgrade --queue` has workers woken).",
    ),
]
UntilIdle = Annotated[
    bool, typer.Option("--until-idle", help="End when no run is left to drain: for cron.")
]

Processes = Annotated[
    int,
    typer.Option(
        "--processes",
        metavar="N",
        min=1,
        max=64,
        help="How many processes work on a run here: one sends, the others compose.",
    ),
]


def worker(
    ctx: typer.Context,
    poll: Poll = None,
    until_idle: UntilIdle = False,
    processes: Processes = 1,
    json: options.Json = False,
) -> None:
    """Drain runs of a PostgreSQL database, with as many workers on as many hosts as you like.

    It takes what `start --distributed` left to workers, and joins runs that are being sent. Each
    host needs an msgrun.toml with the same [database], [servers] and [senders], and must be able
    to read documents_root. SIGTERM or Ctrl-C: what is in flight finishes, the run goes on without
    this worker, exit 0.
    """
    from msgrun.control.work import require_many_hosts
    from msgrun.control.worker import work
    from msgrun.ui import json as documents
    from msgrun.ui.live import Aside

    workspace = open_workspace(ctx)
    require_many_hosts(workspace)
    printer = printer_for(json=json)
    printer.line(f"looking for runs in {workspace.database.describe()}; Ctrl-C ends this worker")
    view = Aside(_EachRun(printer))
    try:
        drained = work(
            workspace,
            poll=poll,
            until_idle=until_idle,
            processes=processes,
            listener=view,
            tell=_tell_error,
        )
    finally:
        view.close()
    if json:
        documents.write(documents.drained_document(drained), sys.stdout)


class _EachRun:
    """Prints one run after the other, each with figures of its own."""

    def __init__(self, printer: "Printer") -> None:
        from msgrun.ui.live import PlainLines

        self._printer = printer
        self._lines = PlainLines(printer)

    def __call__(self, event: "Event") -> None:
        """Hear an event."""
        from msgrun.events import RunStarted
        from msgrun.ui.live import PlainLines

        if isinstance(event, RunStarted):
            self._lines = PlainLines(self._printer)
        self._lines(event)


def _tell_error(error: "MsgrunError") -> None:
    from msgrun.ui.text import Printer

    printer = Printer(sys.stderr)
    printer.line(("error: ", "bold red"), error.message)
    if error.hint:
        printer.line(("hint: ", "bold"), error.hint)


def tell_when_alone(workspace: "Workspace") -> None:
    """Say on stderr that no worker lives to take what was handed over."""
    from msgrun.ledger.workers import any_standing
    from msgrun.ui.text import Printer

    database = workspace.database
    with database.read() as connection, connection.begin():
        if any_standing(connection, database):
            return
    Printer(sys.stderr).line(
        ("note: ", "bold"), "no worker is alive: start `msgrun worker` on any host"
    )
