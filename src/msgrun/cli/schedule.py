"""`msgrun schedule`: runs by cron, each slot at most once."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from msgrun.cli import options
from msgrun.cli.opening import Invocation, open_workspace, printer_for
from msgrun.cli.schedule_install import install

if TYPE_CHECKING:
    from collections.abc import Sequence

    from msgrun.control.due import Done
    from msgrun.control.news import News

schedule = typer.Typer(
    help="Start runs by the calendar: each slot of a schedule at most once.", rich_markup_mode=None
)

Names = Annotated[
    list[str] | None, typer.Argument(metavar="NAME", help="Only these schedules; else all.")
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A schedule.")]


@schedule.command("list", epilog="Example: msgrun schedule list --json")
def list_(ctx: typer.Context, names: Names = None, json: options.Json = False) -> None:
    """Show each schedule's last slot with its run, and its next slot; nothing is started."""
    from msgrun.control.schedule_list import look
    from msgrun.ui.schedules import print_schedules, schedules_document

    seen = look(open_workspace(ctx), names=tuple(names or ()))
    if json:
        from msgrun.ui.json import write

        write(schedules_document(seen), sys.stdout)
    else:
        print_schedules(printer_for(json=False), seen)


@schedule.command(
    "run-due", epilog="Example: * * * * * msgrun --config /etc/msgrun.toml schedule run-due"
)
def run_due(ctx: typer.Context, names: Names = None, json: options.Json = False) -> None:
    """Start what is due, and resume what was left off. For cron, every minute.

    It asks nothing, and may overlap with itself, also on other hosts: each slot runs at most once.
    Without a terminal it prints only what did not go well. Exit code 0: nothing was due, or all
    went well; else as of `start`, or 3 for a slot that was missed; the worst of several.
    """
    from msgrun.control.due import worst
    from msgrun.control.schedule import run_due as start_due
    from msgrun.events import ignore
    from msgrun.ui.live import listening
    from msgrun.ui.schedules import due_document, print_done

    workspace = open_workspace(ctx)
    printer = printer_for(json=json)
    watched = printer.is_terminal
    done: list[Done] = []

    def tell(news: "News") -> "Sequence[str]":
        from msgrun.control.news import tell as tell_news
        from msgrun.ui.schedules import news_document
        from msgrun.ui.text import Printer

        problems = tell_news(workspace, news, news_document(news))
        for problem in problems:
            Printer(sys.stderr).line(("news not delivered: ", "bold red"), problem)
        return problems

    with listening(printer) as live:
        listener = live if watched else ignore
        for each in start_due(workspace, names=names or (), tell=tell, listener=listener):
            done.append(each)
            if watched or (each.code and not each.again):
                print_done(printer, each)
    if json:
        from msgrun.ui.json import write

        write(due_document(done), sys.stdout)
    elif watched and not done:
        printer.line("nothing is due")
    code = worst([each.code for each in done])
    ctx.ensure_object(Invocation).exit_code = code
    raise typer.Exit(code)


@schedule.command("pause", epilog="Example: msgrun schedule pause monthly")
def pause(ctx: typer.Context, name: Name, json: options.Json = False) -> None:
    """Keep a schedule from starting and resuming anything; a run that is going on goes on."""
    _pause(ctx, name, paused=True, json=json)


@schedule.command("resume", epilog="Example: msgrun schedule resume monthly")
def resume(ctx: typer.Context, name: Name, json: options.Json = False) -> None:
    """Let a paused schedule go on with its next slot; those in between are not run."""
    _pause(ctx, name, paused=False, json=json)


def _pause(ctx: typer.Context, name: str, *, paused: bool, json: bool) -> None:
    from msgrun.control.schedule_list import look
    from msgrun.control.schedule_list import pause as pause_schedule
    from msgrun.ui.schedules import print_schedules, schedules_document

    workspace = open_workspace(ctx)
    pause_schedule(workspace, name, paused=paused)
    seen = look(workspace, names=(name,))
    if json:
        from msgrun.ui.json import write

        write(schedules_document(seen), sys.stdout)
    else:
        print_schedules(printer_for(json=False), seen)


schedule.command(
    "install",
    epilog="Example: msgrun schedule install --crontab --write",
)(install)
