"""`msgrun start`: plan a run, ask, and send it."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from msgrun.cli import options
from msgrun.cli.opening import (
    ask,
    finish,
    is_interactive,
    open_workspace,
    printer_for,
    require_yes,
)
from msgrun.cli.plan import describe, show_plan
from msgrun.cli.selecting import Asked, choose_definition
from msgrun.errors import ExitCode

if TYPE_CHECKING:
    from msgrun.planning.draft import Plan
    from msgrun.preflight import Preflight
    from msgrun.workspace import Workspace

Once = Annotated[
    bool,
    typer.Option(
        "--once", help="Do nothing if the same definition, cluster and period has run: for cron."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only plan, like `msgrun plan`.")]


def start(
    ctx: typer.Context,
    definition: options.Definition = None,
    cluster: options.Cluster = None,
    no_children: options.NoChildren = False,
    period: options.PeriodOption = None,
    customer: options.Customers = None,
    limit: options.Limit = None,
    bcc: options.Bcc = None,
    redirect_to: options.RedirectTo = None,
    resend: options.Resend = False,
    once: Once = False,
    dry_run: DryRun = False,
    yes: options.Yes = False,
    wait: options.Wait = None,
    processes: options.Processes = None,
    distributed: options.Distributed = False,
    json: options.Json = False,
) -> None:
    """Plan a run, say what will be sent, ask, and send it."""
    asked = Asked(
        cluster, not no_children, period, customer or (), limit, bcc or (), redirect_to, resend
    )
    if dry_run:
        show_plan(ctx, definition, asked, json=json)
        return
    if not yes and not once:
        require_yes("start", also=", or --once for cron")
    workspace = open_workspace(ctx)
    name = choose_definition(workspace.config, definition)
    _Start(ctx, workspace, name, asked, json=json).run(
        once=once,
        yes=yes or (once and not is_interactive()),
        wait=sys.stdout.isatty() if wait is None else wait,
        processes=processes,
        distributed=distributed,
    )


class _Start:
    """One start: what was asked, what was planned, how it ended."""

    def __init__(
        self, ctx: typer.Context, workspace: "Workspace", name: str, asked: Asked, *, json: bool
    ) -> None:
        self._ctx = ctx
        self._workspace = workspace
        self._name = name
        self._selection = asked.resolve(workspace, name)
        self._json = json
        self._printer = printer_for(json=json)
        self._planned: Plan | None = None
        self._checked: Preflight | None = None
        self._yes = False

    def run(
        self, *, once: bool, yes: bool, wait: bool, processes: int | None, distributed: bool
    ) -> None:
        from msgrun.cli.worker import tell_when_alone
        from msgrun.control.start import start as start_run
        from msgrun.ui.live import listening

        self._yes = yes
        with listening(self._printer) as listener:
            ending = start_run(
                self._workspace,
                self._name,
                self._selection,
                confirm=self._confirm,
                wait=wait,
                once=once,
                processes=processes,
                distributed=distributed,
                listener=listener,
            )
        if distributed and ending is not None:
            tell_when_alone(self._workspace)
        if ending is None:
            self._declined()
        elif once and ending.code == ExitCode.DONE and not self._json and not is_interactive():
            raise typer.Exit(ExitCode.DONE)  # cron mails every line that is printed
        else:
            finish(self._ctx, ending, json=self._json)

    def _confirm(self, planned: "Plan", checked: "Preflight") -> bool:
        self._planned, self._checked = planned, checked
        describe(self._printer, self._workspace, planned, checked)
        if self._yes:
            return True
        number = planned.messages
        return bool(number) and ask(f"Send {number:,} message{'' if number == 1 else 's'}?")

    def _declined(self) -> None:
        from msgrun.ui import json as documents

        self._printer.line("nothing sent, nothing written")
        if self._json and self._planned is not None:
            comparison = self._checked.comparison if self._checked else None
            documents.write(documents.plan_document(self._planned, comparison), sys.stdout)
