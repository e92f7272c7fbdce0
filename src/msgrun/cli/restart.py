"""`msgrun restart`: say what a run has left, ask, and send it."""

import sys
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
    processes: options.Processes = None,
    yes: options.Yes = False,
    dry_run: DryRun = False,
    distributed: options.Distributed = False,
    json: options.Json = False,
) -> None:
    """Send what a run has left, after saying so; what is in doubt stays."""
    from msgrun.cli.worker import tell_when_alone
    from msgrun.control.restart import restart as restart_run
    from msgrun.control.work import Ending, summary_of
    from msgrun.ui.live import listening
    from msgrun.ui.summary import print_proposal

    if dry_run:
        _show_proposal(ctx, run, failed=failed, json=json)
        return
    if not yes:
        require_yes("restart")
    workspace = open_workspace(ctx)
    printer = printer_for(json=json)
    seen: list[Proposal] = []

    def confirm(proposal: "Proposal") -> bool:
        seen.append(proposal)
        print_proposal(printer, proposal)
        number = proposal.to_send
        return yes or ask(f"Send {number:,} message{'' if number == 1 else 's'}?")

    with listening(printer) as listener:
        ending = restart_run(
            workspace,
            run,
            failed=failed,
            confirm=confirm,
            wait=sys.stdout.isatty() if wait is None else wait,
            processes=processes,
            distributed=distributed,
            listener=listener,
        )
    if ending is not None:
        if distributed:
            tell_when_alone(workspace)
        finish(ctx, ending, json=json)
    printer.line("nothing sent, nothing written")
    if json:
        summary = summary_of(workspace, seen[0].run.id)
        finish(ctx, Ending(summary, code=ExitCode.DONE), json=True)


def _show_proposal(ctx: typer.Context, run: str, *, failed: bool, json: bool) -> None:
    """Say what would be sent; with --json also the run as it is."""
    from msgrun.control.restart import propose
    from msgrun.control.work import Ending, summary_of
    from msgrun.ui.summary import print_proposal

    workspace = open_workspace(ctx)
    printer = printer_for(json=json)
    proposal = propose(workspace, run, failed=failed)
    if proposal.empty:
        printer.line(f"run {proposal.run.id} has nothing left to send")
    else:
        print_proposal(printer, proposal)
    printer.line("nothing sent, nothing written")
    if json:
        summary = summary_of(workspace, proposal.run.id)
        finish(ctx, Ending(summary, code=ExitCode.DONE), json=True)
