"""`msgrun plan`: who would get what, and who is skipped and why; nothing is written."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from msgrun.cli import options
from msgrun.cli.opening import open_workspace, printer_for
from msgrun.cli.selecting import Asked, choose_definition

if TYPE_CHECKING:
    from msgrun.planning.draft import Plan
    from msgrun.preflight import Preflight
    from msgrun.ui.text import Printer
    from msgrun.workspace import Workspace

Compare = Annotated[
    bool, typer.Option("--compare", help="Compare it with the definition's last run in full.")
]


def plan(
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
    compare: Compare = False,
    json: options.Json = False,
) -> None:
    """Say who would get what, and who is skipped and why; nothing is written or sent."""
    asked = Asked(
        cluster, not no_children, period, customer or (), limit, bcc or (), redirect_to, resend
    )
    show_plan(ctx, definition, asked, compare=compare, json=json)


def show_plan(
    ctx: typer.Context, definition: str | None, asked: Asked, *, compare: bool = False, json: bool
) -> None:
    """Plan and print; for `start --dry-run` too."""
    from msgrun.control.start import plan_run
    from msgrun.ui import json as documents

    workspace = open_workspace(ctx)
    name = choose_definition(workspace.config, definition)
    planned, checked = plan_run(workspace, name, asked.resolve(workspace, name), compare=compare)
    if json:
        documents.write(documents.plan_document(planned, checked.comparison), sys.stdout)
    else:
        printer = printer_for(json=False)
        describe(printer, workspace, planned, checked, examples=True, compare=compare)
    _warn_of_nobody(workspace, planned)


def _warn_of_nobody(workspace: "Workspace", planned: "Plan") -> None:
    """Say, after the figures, why `start` would refuse a plan that selects nobody."""
    from msgrun.errors import PreflightError
    from msgrun.preflight import check_funnel
    from msgrun.ui.text import Printer

    try:
        check_funnel(workspace, workspace.freeze(planned.definition), planned)
    except PreflightError as error:
        printer = Printer(sys.stderr)
        printer.line(("error: ", "bold red"), error.message)
        printer.line(("hint: ", "bold"), error.hint)
        raise typer.Exit(error.exit_code) from None


def describe(
    printer: "Printer",
    workspace: "Workspace",
    planned: "Plan",
    checked: "Preflight",
    *,
    examples: bool = False,
    compare: bool = False,
) -> None:
    """Print a plan with the sender and the server that it would use."""
    from msgrun.ui.comparison import print_comparison, print_short
    from msgrun.ui.summary import print_plan

    frozen = workspace.freeze(planned.definition)
    sender = workspace.sender_of(frozen)
    server_name, server = workspace.server_of(frozen)
    print_plan(
        printer,
        planned,
        checked,
        sender=f"{sender.name} <{sender.address}>" if sender.name else sender.address,
        server=f"{server_name} ({server.host}:{server.port})",
        rate_per_minute=server.rate_per_minute,
        bcc=frozen.definition["bcc"],
        examples=examples,
    )
    if compare:
        printer.line()
        print_comparison(printer, checked.comparison)
    else:
        print_short(printer, checked.comparison)
