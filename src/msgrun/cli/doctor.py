"""`msgrun doctor`: why a customer did not receive a message."""

import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msgrun.cli import completing, options
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
from msgrun.cli.everybody import All, CsvFile, doctor_of_everybody
from msgrun.cli.opening import Invocation, readable_workspace
from msgrun.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from msgrun.doctor import Report

Customer = Annotated[
    str | None,
    typer.Argument(
        metavar="CUSTOMER",
        help="A code, or part of a name; without one, all is looked at.",
        autocompletion=completing.customers,
    ),
]
DefinitionOption = Annotated[
    str | None,
    typer.Option(
        "--definition",
        metavar="DEF",
        help="Only this definition; else all that touch it.",
        autocompletion=completing.definitions,
    ),
]
RunOption = Annotated[
    str | None,
    typer.Option(
        "--run",
        metavar="RUN",
        help="This run; else the latest one that fits.",
        autocompletion=completing.runs,
    ),
]
Offline = Annotated[bool, typer.Option("--offline", help="Leave mail servers and DNS alone.")]
Headers = Annotated[
    Path | None,
    typer.Option(
        "--headers",
        metavar="FILE",
        help="A received message (.eml): what its receiver saw of SPF, DKIM and DMARC.",
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also what passed.")]


def doctor(
    ctx: typer.Context,
    customer: Customer = None,
    definition: DefinitionOption = None,
    run: RunOption = None,
    cluster: options.Cluster = None,
    period: options.PeriodOption = None,
    offline: Offline = False,
    headers: Headers = None,
    timeout: Timeout = 60,
    fail_on: FailOnOption = Weight.ERROR,
    verbose: Verbose = False,
    json: options.Json = False,
    ticket: Ticket = False,
    junit: JunitFile = None,
    mask: MaskOption = False,
    everybody: All = False,
    csv: CsvFile = None,
) -> None:
    """Say why a customer did not receive a message, with evidence and a remedy for each step.

    Nothing is sent. Exit code 4: something is wrong; 5: it could not be determined.
    """
    began = time.monotonic()
    check_formats(json=json, ticket=ticket)
    if everybody:
        one = {"a customer": customer, "--ticket": ticket, "--junit": junit, "--headers": headers}
        doctor_of_everybody(
            ctx,
            not_with=[name for name, given in one.items() if given],
            definition=definition,
            run=run,
            cluster=cluster,
            period=period,
            offline=offline,
            until=began + timeout,
            fail_on=fail_on,
            verbose=verbose,
            json=json,
            csv=csv,
            mask=mask,
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
        headers=headers,
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
    headers: Path | None,
    until: float,
) -> "Report":
    """Open the configuration and ask; the doctor itself tells what is wrong with the database."""
    from msgrun.doctor import (
        Deadline,
        Names,
        diagnose,
        read_sample,
        sample_report,
        unreadable_settings,
        with_sample,
    )

    sample = read_sample(headers) if headers is not None else None
    workspace = readable_workspace(invocation)
    if isinstance(workspace, ConfigError):
        return unreadable_settings(workspace, customer)
    deadline = Deadline(until)
    names = Names(workspace.config.doctor.nameserver, offline=offline, deadline=deadline)
    if sample is not None and customer is None:
        return sample_report(sample, names)
    report = diagnose(
        workspace,
        customer,
        today=datetime.now().astimezone().date(),
        definition=definition,
        run=run,
        cluster=cluster,
        period=period,
        offline=offline,
        names=names,
        deadline=deadline,
    )
    return with_sample(report, sample, names) if sample is not None else report
