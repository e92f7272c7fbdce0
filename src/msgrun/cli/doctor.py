"""`msgrun doctor`: why a customer did not receive a message."""

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from msgrun.cli import options
from msgrun.cli.everybody import All, CsvFile, doctor_of_everybody
from msgrun.cli.opening import Invocation, printer_for
from msgrun.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from msgrun.doctor import Report

Customer = Annotated[
    str | None,
    typer.Argument(
        metavar="CUSTOMER", help="A code, or part of a name; without one, all is looked at."
    ),
]
DefinitionOption = Annotated[
    str | None,
    typer.Option(
        "--definition", metavar="DEF", help="Only this definition; else all that touch it."
    ),
]
RunOption = Annotated[
    str | None,
    typer.Option("--run", metavar="RUN", help="This run; else the latest one that fits."),
]
Offline = Annotated[bool, typer.Option("--offline", help="Leave the mail servers alone.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also what passed.")]


def doctor(
    ctx: typer.Context,
    customer: Customer = None,
    definition: DefinitionOption = None,
    run: RunOption = None,
    cluster: options.Cluster = None,
    period: options.PeriodOption = None,
    offline: Offline = False,
    verbose: Verbose = False,
    json: options.Json = False,
    everybody: All = False,
    csv: CsvFile = None,
) -> None:
    """Say why a customer did not receive a message, with evidence and a remedy for each step.

    Nothing is sent. Exit code 4: something is wrong; 5: it could not be determined.
    """
    from msgrun.ui.doctor import print_report, report_document
    from msgrun.ui.json import write

    if everybody:
        doctor_of_everybody(
            ctx,
            customer=customer,
            definition=definition,
            run=run,
            cluster=cluster,
            period=period,
            offline=offline,
            verbose=verbose,
            json=json,
            csv=csv,
        )
    if csv is not None:
        raise UsageError("--csv needs --all", "give both, or leave out --csv")
    invocation = ctx.ensure_object(Invocation)
    report = _report(
        invocation,
        customer,
        definition=definition,
        run=run,
        cluster=cluster,
        period=period,
        offline=offline,
    )
    invocation.exit_code = report.exit_code
    if json:
        write(report_document(report), sys.stdout)
    else:
        print_report(printer_for(json=False), report, verbose=verbose)
    raise typer.Exit(report.exit_code)


def _report(
    invocation: Invocation,
    customer: str | None,
    *,
    definition: str | None,
    run: str | None,
    cluster: str | None,
    period: str | None,
    offline: bool,
) -> "Report":
    """Open the configuration and ask; the doctor itself tells what is wrong with the database."""
    from msgrun.config import load_config
    from msgrun.doctor import diagnose, unreadable_settings
    from msgrun.workspace import Workspace

    try:
        workspace = Workspace.of(load_config(invocation.config))
    except ConfigError as error:
        if "MR005" not in error.hint:  # there is no file at all
            raise
        return unreadable_settings(error, customer)
    return diagnose(
        workspace,
        customer,
        today=datetime.now().astimezone().date(),
        definition=definition,
        run=run,
        cluster=cluster,
        period=period,
        offline=offline,
    )
