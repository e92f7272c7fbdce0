"""How the doctor's report leaves the program: as text, JSON, JUnit XML or a ticket."""

import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from msgrun.cli.opening import Invocation, printer_for
from msgrun.errors import UsageError

if TYPE_CHECKING:
    from msgrun.doctor import FailOn, Report


EXAMPLES: Final = """\
msgrun doctor CU4242                 why CU4242 did not get its invoice
msgrun doctor acme --run 7 -v        of run 7, with all that passed
msgrun doctor                        is everything ready for a run?
msgrun doctor CU4242 --ticket --mask > case.txt
msgrun doctor --offline --fail-on warn --junit doctor.xml"""


class Weight(StrEnum):
    """`doctor.FailOn`, without what is slow to import."""

    ERROR = "error"
    WARN = "warn"


Timeout = Annotated[
    int,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        min=1,
        max=3600,
        help="Ask nobody outside for longer; what is left is 'not determinable'.",
    ),
]
FailOnOption = Annotated[
    Weight, typer.Option("--fail-on", help="With 'warn', warnings exit 4 too.")
]
JunitFile = Annotated[
    Path | None,
    typer.Option("--junit", metavar="FILE", help="Also write JUnit XML, for a build server."),
]
Ticket = Annotated[
    bool, typer.Option("--ticket", help="A short plain text to paste into a support case.")
]
MaskOption = Annotated[
    bool, typer.Option("--mask", help="Show no mail address in full, in any format.")
]


def deliver(
    invocation: Invocation,
    report: "Report",
    *,
    json: bool,
    ticket: bool,
    junit: Path | None,
    mask: bool,
    verbose: bool,
    fail_on: Weight,
) -> int:
    """Print the report as it is wanted; return the exit code, which does not depend on that.

    Raises:
        UsageError: the JUnit file cannot be written.
    """
    from msgrun.doctor import FailOn, ending, masked

    threshold = FailOn(fail_on.value)
    invocation.exit_code = ending(report, threshold)
    if mask:
        report = masked(report)
    if invocation.debug:
        _print_traces(report)
    if junit is not None:
        _write_junit(junit, report, threshold)
    if json:
        from msgrun.ui.doctor import report_document
        from msgrun.ui.json import write

        write(report_document(report), sys.stdout)
    elif ticket:
        from msgrun.ui.ticket import write_ticket

        write_ticket(report, sys.stdout, datetime.now(UTC))
    else:
        from msgrun.ui.doctor import print_report

        print_report(printer_for(json=False), report, verbose=verbose)
    return invocation.exit_code


def check_formats(*, json: bool, ticket: bool) -> None:
    """Refuse what cannot be printed side by side.

    Raises:
        UsageError: both want stdout.
    """
    if json and ticket:
        raise UsageError("--json and --ticket exclude each other", "run the command twice")


def _print_traces(report: "Report") -> None:
    """Print where checks crashed, each once."""
    printer = printer_for(json=True)
    traces = dict.fromkeys(each.trace for each in report.findings if each.trace)
    for trace in traces:
        for line in trace.splitlines():
            printer.line(line)


def _write_junit(file: Path, report: "Report", fail_on: "FailOn") -> None:
    from msgrun.ui.junit import write_junit

    try:
        write_junit(file, report, datetime.now(UTC), fail_on)
    except OSError as error:
        raise UsageError(
            f"{file} cannot be written: {error.strerror}", "name another file after --junit"
        ) from error
