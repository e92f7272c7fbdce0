"""`msgrun doctor`: why a customer did not receive a message."""

import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from msgrun.cli import options
from msgrun.cli.doctor_output import (
    FailOnOption,
    JunitFile,
    MaskOption,
    Ticket,
    Timeout,
    Weight,
    check_formats,
    deliver,
)
from msgrun.cli.opening import Invocation
from msgrun.errors import ConfigError

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
    timeout: Timeout = 60,
    fail_on: FailOnOption = Weight.ERROR,
    verbose: Verbose = False,
    json: options.Json = False,
    ticket: Ticket = False,
    junit: JunitFile = None,
    mask: MaskOption = False,
) -> None:
    """Say why a customer did not receive a message, with evidence and a remedy for each step.

    Nothing is sent. Exit code 4: something is wrong; 5: it could not be determined.
    """
    began = time.monotonic()
    check_formats(json=json, ticket=ticket)
    invocation = ctx.ensure_object(Invocation)
    report = _report(
        invocation,
        customer,
        definition=definition,
        run=run,
        cluster=cluster,
        period=period,
        offline=offline,
        until=began + timeout,
    )
    code = deliver(
        invocation,
        report,
        json=json,
        ticket=ticket,
        junit=junit,
        mask=mask,
        verbose=verbose,
        fail_on=fail_on,
    )
    raise typer.Exit(code)


def _report(
    invocation: Invocation,
    customer: str | None,
    *,
    definition: str | None,
    run: str | None,
    cluster: str | None,
    period: str | None,
    offline: bool,
    until: float,
) -> "Report":
    """Open the configuration and ask; the doctor itself tells what is wrong with the database."""
    from msgrun.config import load_config
    from msgrun.doctor import Deadline, diagnose, unreadable_settings
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
        deadline=Deadline(until),
    )
