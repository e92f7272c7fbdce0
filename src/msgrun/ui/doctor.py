"""The doctor's report as text, and as JSON: the verdict first, then the stages."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from msgrun.doctor.findings import (
    Case,
    Finding,
    Report,
    Stage,
    Status,
    Suppressed,
    stage_results,
)
from msgrun.model import Customer
from msgrun.ui.text import Part, Printer, plural

_SCHEMA: Final = 1
_SIGNS: Final[dict[Status, tuple[str, str]]] = {
    Status.PASS: ("✓", "green"),
    Status.FAIL: ("✗", "red"),
    Status.WARN: ("!", "yellow"),
    Status.SKIPPED: ("–", "dim"),
    Status.UNKNOWN: ("?", "magenta"),
    Status.CRASHED: ("?", "magenta"),
}
_WIDTH: Final = max(len(stage) for stage in Stage)
_MARGIN: Final = " " * (_WIDTH + 6)


def print_report(printer: Printer, report: Report, *, verbose: bool = False) -> None:
    """Print a report; with `verbose` every check that passed, too."""
    single = report.cases[0] if len(report.cases) == 1 else None
    printer.hanging((), (_heading(report, single), "bold"))
    printer.hanging((), (report.verdict, _verdict_style(report)))
    if report.candidates:
        _print_candidates(printer, report.candidates)
        return
    if len(report.cases) > 1:
        for case in report.cases:
            printer.line()
            printer.hanging((), (_of_case(case), "bold"), f": {case.verdict}")
            print_findings(printer, case.findings, verbose=verbose)
            _print_suppressed(printer, case.suppressed, verbose=verbose)
        printer.line()
    else:
        print_findings(printer, report.findings, verbose=verbose)
        _print_suppressed(printer, report.suppressed, verbose=verbose)
    for each in report.expired:
        told = f"the suppression of {each.code} for '{each.customer}' expired on {each.until}"
        printer.hanging((("! ", "yellow"),), f"{told}: {each.reason}")
    printer.hanging((), _last_line(report, verbose=verbose))


def _print_candidates(printer: Printer, people: Sequence[Customer]) -> None:
    printer.line()
    rows = [(each.code, each.name, each.cluster or "–") for each in people]
    printer.table(("code", "name", "cluster"), rows)
    printer.line()
    printer.line("next: msgrun doctor CODE")


def _print_suppressed(printer: Printer, suppressed: Sequence[Suppressed], *, verbose: bool) -> None:
    for each in suppressed if verbose else ():
        _print_finding(printer, replace(each.finding, remedy=""), each.finding.stage, hidden=True)
        until = f" until {each.until}" if each.until else ""
        printer.hanging((_MARGIN,), (f"suppressed{until}: ", "dim"), each.reason)


def _heading(report: Report, case: Case | None) -> str:
    if report.customer is None:
        return "msgrun doctor"
    parts = [" ".join(filter(None, (report.customer, report.name)))]
    if case is not None:
        parts += [f"run {case.run}"] if case.run is not None else []
        parts += [case.definition, case.period]
    return " · ".join(filter(None, parts))


def _of_case(case: Case) -> str:
    run = f"run {case.run}" if case.run is not None else ""
    return " · ".join(filter(None, (case.invoice, run, case.definition, case.period)))


def _verdict_style(report: Report) -> str:
    return "red" if report.exit_code else "green"


def print_findings(printer: Printer, findings: Sequence[Finding], *, verbose: bool) -> None:
    """Print findings stage by stage; with `verbose` also what passed or was left out."""
    for stage in stage_results(findings):
        own = [each for each in findings if each.stage is stage.stage]
        notable = [
            each
            for each in own
            if each.status not in {Status.PASS, Status.SKIPPED} or each.code or each.drift
        ]
        # That the machine is in order is worth no line of its own.
        usual = [] if stage.stage is Stage.ENVIRONMENT else own[:1]
        shown = own if verbose else notable or usual
        for place, finding in enumerate(shown):
            _print_finding(printer, finding, stage.stage if place == 0 else "", verbose=verbose)


def _print_finding(
    printer: Printer, finding: Finding, name: str, *, verbose: bool = False, hidden: bool = False
) -> None:
    sign, style = _SIGNS[Status.SKIPPED if hidden else finding.status]
    first, *further = finding.evidence or (finding.title,)
    code: tuple[Part, ...] = (((finding.code), "bold"), "  ") if finding.code else ()
    printer.hanging(("  ", (sign, style), f" {name:<{_WIDTH}}  "), *code, first)
    for line in further:
        if finding.code or verbose or line in finding.drift:
            printer.hanging((_MARGIN,), line)
    if finding.remedy and finding.code:
        printer.hanging((_MARGIN, ("remedy: ", "dim")), finding.remedy)


def _last_line(report: Report, *, verbose: bool) -> str:
    counted = {status: sum(each.status is status for each in report.findings) for status in Status}
    told = [
        plural(counted[Status.FAIL], "error") if counted[Status.FAIL] else "",
        plural(counted[Status.WARN], "warning") if counted[Status.WARN] else "",
        f"{counted[Status.UNKNOWN] + counted[Status.CRASHED]} not determinable"
        if counted[Status.UNKNOWN] + counted[Status.CRASHED]
        else "",
        f"{counted[Status.PASS]} passed" + ("" if verbose else " (-v shows them)"),
        f"{len(report.suppressed)} suppressed" if report.suppressed else "",
        f"msgrun explain {report.primary}" if report.primary else "",
    ]
    return " · ".join(filter(None, told))


def report_document(report: Report) -> dict[str, Any]:
    """Return the report as the JSON document that scripts rely on."""
    return {
        "schema": _SCHEMA,
        "customer": report.customer,
        "name": report.name or None,
        "verdict": report.verdict,
        "primary": report.primary or None,
        "findings": [finding_document(each) for each in report.findings],
        "stages": _stages(report.findings),
        "cases": [_case(each) for each in report.cases],
        "suppressed": [_suppressed(each) for each in report.suppressed],
        "expired_suppressions": [
            {
                "code": each.code,
                "customer": each.customer,
                "reason": each.reason,
                "until": each.until.isoformat(),
            }
            for each in report.expired
        ],
        "candidates": [
            {"code": each.code, "name": each.name, "cluster": each.cluster}
            for each in report.candidates
        ],
    }


def _case(case: Case) -> dict[str, Any]:
    return {
        "verdict": case.verdict,
        "primary": case.primary or None,
        "invoice": case.invoice,
        "invoice_id": case.invoice_id,
        "definition": case.definition,
        "run": case.run,
        "period": case.period or None,
        "findings": [finding_document(each) for each in case.findings],
        "stages": _stages(case.findings),
        "suppressed": [_suppressed(each) for each in case.suppressed],
    }


def _suppressed(each: Suppressed) -> dict[str, Any]:
    until = each.until.isoformat() if each.until else None
    return {**finding_document(each.finding), "reason": each.reason, "until": until}


def _stages(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    return [
        {"stage": each.stage.value, "status": each.status.value, "code": each.code or None}
        for each in stage_results(findings)
    ]


def finding_document(finding: Finding) -> dict[str, Any]:
    """Return a finding as JSON has it."""
    return {
        "code": finding.code or None,
        "title": finding.title,
        "severity": finding.severity,
        "status": finding.status.value,
        "evidence": list(finding.evidence),
        "remedy": finding.remedy,
        "subject": finding.subject,
        "stage": finding.stage.value,
        "refines": finding.refines,
    }
