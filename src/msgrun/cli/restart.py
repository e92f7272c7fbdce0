"""`msgrun restart`: say what a run has left, ask, and send it."""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from msgrun.cli import options
from msgrun.cli.opening import ask, finish, open_workspace, printer_for, require_yes
from msgrun.errors import ExitCode

if TYPE_CHECKING:
    from msgrun.control.restart import Proposal

Failed = Annotated[
    bool,
    typer.Option(
        "--failed",
        help="Also look again at rejected, failed, skipped and bounced, with today's data.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be sent.")]


def restart(
    ctx: typer.Context,
    run: options.Run = "last",
    failed: Failed = False,
    wait: options.Wait = None,
    yes: options.Yes = False,
    dry_run: DryRun = False,
    json: options.Json = False,
) -> None:
    """Send what a run has left, after saying so; what is in doubt stays."""
    from msgrun.control.restart import restart as restart_run
    from msgrun.control.work import Ending, summary_of
    from msgrun.ui.live import listening
    from msgrun.ui.summary import print_proposal

    if not yes and not dry_run:
        require_yes("restart")
    workspace = open_workspace(ctx)
    printer = printer_for(json=json)
    seen: list[Proposal] = []

    def confirm(proposal: "Proposal") -> bool:
        seen.append(proposal)
        print_proposal(printer, proposal)
        if dry_run:
            return False
        number = proposal.to_send
        return yes or ask(f"Send {number:,} message{'' if number == 1 else 's'}?")

    with listening(printer) as listener:
        ending = restart_run(
            workspace,
            run,
            failed=failed,
            confirm=confirm,
            wait=sys.stdout.isatty() if wait is None else wait,
            listener=listener,
        )
    if ending is not None:
        finish(ctx, replace(ending, code=ExitCode.DONE) if dry_run else ending, json=json)
    printer.line("nothing sent, nothing written")
    if json:
        summary = summary_of(workspace, seen[0].run.id)
        finish(ctx, Ending(summary, code=ExitCode.DONE), json=True)
