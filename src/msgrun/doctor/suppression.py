"""Findings that are known and accepted: shown apart, and left out of verdict and exit code."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from fnmatch import fnmatchcase

from msgrun.config import SuppressionConfig
from msgrun.doctor.findings import (
    Case,
    Expired,
    Finding,
    Report,
    Suppressed,
    exit_code_of,
    first_cause,
    in_order,
)
from msgrun.doctor.verdict import (
    cause_of,
    exit_code_of_all,
    sentence,
    speaker_of,
    summed_up,
)
from msgrun.errors import ExitCode

_BY_FINDINGS = frozenset({ExitCode.DONE, ExitCode.DOCTOR_ERRORS, ExitCode.DOCTOR_UNKNOWN})


class Suppressions:
    """The suppressions of the configuration, as they hold for one customer on one day.

    Args:
        rules: of the configuration.
        customer: code; None or "" where no customer is concerned (only "*" fits then).
        today: the day that `until` is compared with; it still holds on that day.
    """

    def __init__(
        self, rules: Iterable[SuppressionConfig], customer: str | None, today: date
    ) -> None:
        fitting = [each for each in rules if fnmatchcase(customer or "", each.customer)]
        self._valid = [each for each in fitting if each.until is None or each.until >= today]
        self._expired = [each for each in fitting if each.until and each.until < today]

    def split(
        self, findings: Iterable[Finding]
    ) -> tuple[tuple[Finding, ...], tuple[Suppressed, ...]]:
        """Return the findings that count, and those that are suppressed with their reasons."""
        kept, hidden = [], []
        for finding in findings:
            rule = next((each for each in self._valid if each.code == finding.code), None)
            if rule is None:
                kept.append(finding)
            else:
                hidden.append(Suppressed(finding, rule.reason, rule.until))
        return tuple(kept), tuple(hidden)

    def expired(self, findings: Iterable[Finding]) -> tuple[Expired, ...]:
        """Return the suppressions that would hide one of these findings, were they not over."""
        codes = {each.code for each in findings}
        return tuple(
            Expired(each.code, each.customer, each.reason, each.until)
            for each in self._expired
            if each.code in codes and each.until is not None
        )


def accepted_for_all(rules: Iterable[SuppressionConfig], today: date) -> frozenset[str]:
    """Return the codes that are suppressed for every customer on that day."""
    valid = [each for each in rules if each.until is None or each.until >= today]
    return frozenset(each.code for each in valid if each.customer == "*")


def suppress(report: Report, rules: Sequence[SuppressionConfig], today: date) -> Report:
    """Return a report in which suppressed findings decide nothing; they are listed apart.

    A message that was not sent never looks sent by it: the sentence says that something is
    suppressed, and only the server's own acceptance (MR508, never suppressible) says "Sent".
    """
    told = Suppressions(rules, report.customer, today)
    findings, hidden = told.split(report.findings)
    report = replace(report, expired=told.expired(findings))
    if not hidden:
        return report
    cases = tuple(_without(case, told) for case in report.cases)
    report = replace(report, findings=findings, suppressed=hidden, cases=cases)
    if report.exit_code not in _BY_FINDINGS:
        return report
    if not cases:
        return _readiness(report)
    speaker = speaker_of(cases)
    return replace(
        report,
        verdict=summed_up(cases),
        primary=speaker.primary,
        findings=in_order(finding for case in cases for finding in case.findings),
        exit_code=exit_code_of_all(cases),
    )


def _without(case: Case, told: Suppressions) -> Case:
    """Return a case without what is suppressed, and what is left of its verdict."""
    findings, hidden = told.split(case.findings)
    if not hidden:
        return case
    cause = cause_of(findings)
    return replace(
        case,
        verdict=sentence(cause, len(hidden)),
        primary=cause.code if cause else "",
        findings=findings,
        suppressed=hidden,
    )


def _readiness(report: Report) -> Report:
    """Return the report about everything but customers, its verdict made anew."""
    cause = first_cause(report.findings)
    exit_code = exit_code_of(report.findings)
    if cause is not None:
        verdict = f"Not ready: {cause.cause}"
    elif report.primary:
        verdict = sentence(None, len(report.suppressed))
    else:
        verdict = report.verdict
    primary = cause.code if cause else ""
    return replace(report, verdict=verdict, primary=primary, exit_code=exit_code)
