"""Putting findings into one sentence, one case, one exit code."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from msgrun.doctor.findings import Case, Finding, Report, Status, first_cause
from msgrun.errors import ExitCode

_OPENINGS: Final = {
    "MR505": "Waiting",
    "MR507": "In doubt",
    "MR508": "Sent",
    "MR509": "Came back",
    "MR511": "Redirected",
}


class FailOn(StrEnum):
    """From which weight on a finding makes the command fail (`--fail-on`)."""

    ERROR = "error"
    WARN = "warn"


def cause_of(findings: Sequence[Finding]) -> Finding | None:
    """Return the finding that decides; what the server accepted is sent, whatever else is seen."""
    sent = next((each for each in findings if each.code == "MR508"), None)
    return sent or first_cause(findings)


def sentence(cause: Finding | None, suppressed: int = 0) -> str:
    """Return the verdict.

    Args:
        cause: what decides; None when nothing is wrong.
        suppressed: how many findings are left out of account; they are never called right.
    """
    if cause is None and suppressed:
        are = "1 finding is" if suppressed == 1 else f"{suppressed} findings are"
        return f"Nothing else is wrong; {are} suppressed"
    if cause is None:
        return "Nothing is wrong: every check passed, or was left out"
    if cause.status in {Status.UNKNOWN, Status.CRASHED}:
        return f"Not determinable: {cause.cause}"
    return f"{_OPENINGS.get(cause.code, 'Not sent')}: {cause.cause}"


def speaker_of(cases: Sequence[Case]) -> Case:
    """Return the case that speaks for all: the first that went wrong, else the first not sent."""
    wrong = [case for case in cases if not case.sent]
    return next((case for case in wrong if case.primary), (wrong or list(cases))[0])


def summed_up(cases: Sequence[Case]) -> str:
    """Return the verdict on all cases."""
    sent = sum(case.sent for case in cases)
    if len(cases) > 1 and sent == len(cases):
        return f"Sent: all {sent} messages"
    verdict = speaker_of(cases).verdict
    return f"{verdict} ({sent} of {len(cases)} were sent)" if sent and len(cases) > 1 else verdict


def exit_code_of_all(cases: Sequence[Case]) -> int:
    """Return the worst exit code of the cases: 4, else 5, else 0."""
    codes = [case.exit_code for case in cases]
    known = (ExitCode.DOCTOR_ERRORS, ExitCode.DOCTOR_UNKNOWN)
    return next((code for code in known if code in codes), ExitCode.DONE)


def ending(report: Report, fail_on: FailOn) -> int:
    """Return the exit code of the command; it does not depend on how the report is printed."""
    return ending_of(report.exit_code, report.findings, fail_on)


def ending_of(exit_code: int, findings: Sequence[Finding], fail_on: FailOn) -> int:
    """Return an exit code in which warnings count as they are to."""
    warned = any(each.status is Status.WARN for each in findings)
    if fail_on is FailOn.WARN and warned and exit_code in {0, ExitCode.DOCTOR_UNKNOWN}:
        return ExitCode.DOCTOR_ERRORS
    return exit_code
