"""What the doctor says: findings, the cases they make up, and the report of both."""

import re
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum
from typing import Final

from msgrun.catalogue import CATALOGUE, Severity
from msgrun.doctor.record import Record
from msgrun.errors import ExitCode, MsgrunError
from msgrun.model import Customer


class Status(StrEnum):
    """What came of one check."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    WARN = "warn"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"
    CRASHED = "crashed"


class Stage(StrEnum):
    """The steps of the check-list, in the order in which they are walked."""

    ENVIRONMENT = "environment"
    CUSTOMER = "customer"
    CLUSTER = "cluster"
    ADDRESS = "address"
    INVOICE = "invoice"
    DEFINITION = "definition"
    TEMPLATE = "template"
    DOCUMENTS = "documents"
    RUN = "run"
    MESSAGE = "message"
    SMTP = "smtp"
    DOMAIN = "domain"
    SENDER = "sender"


_ORDER: Final = {stage: place for place, stage in enumerate(Stage)}
_WORST_FIRST: Final = (
    Status.FAIL,
    Status.CRASHED,
    Status.UNKNOWN,
    Status.WARN,
    Status.PASS,
    Status.SKIPPED,
)
_REASONS: Final = frozenset({"MR126", "MR127", "MR128", "MR505", "MR507"})
"""Codes that explain why nothing was sent though nothing is wrong."""

_CODE: Final = re.compile(r" \((MR[0-9]{3})\)")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check saw.

    Attributes:
        code: of the catalogue; "" for a check that found nothing to report.
        evidence: what was seen, the most telling first.
        remedy: what a person can do; "" where nothing is to be done.
        subject: whom or what it is about.
        refines: the rule's own code, where `code` says it more exactly.
        cause: the finding as the end of the sentence "Not sent: …".
        decides: of what is unknown, whether it leaves the verdict open: False where the check
            could only have warned.
        drift: those lines of the evidence that tell today's data from the run's own record.
        trace: of a crashed check, for `--debug`.
    """

    stage: Stage
    status: Status
    code: str
    title: str
    severity: Severity
    evidence: tuple[str, ...] = ()
    remedy: str = ""
    subject: str = ""
    refines: str | None = None
    cause: str = ""
    decides: bool = True
    drift: tuple[str, ...] = ()
    trace: str = field(default="", compare=False, repr=False)

    @property
    def base(self) -> str:
        """The code that the planner writes down for it."""
        return self.refines or self.code

    def drifted(self, lines: Iterable[str]) -> "Finding":
        """Return it with what the run had otherwise, as further evidence."""
        lines = tuple(lines)
        return replace(self, evidence=(*self.evidence, *lines), drift=(*self.drift, *lines))


def found(
    code: str,
    stage: Stage,
    *evidence: str,
    status: Status = Status.FAIL,
    remedy: str | None = None,
    subject: str = "",
    refines: str | None = None,
    cause: str = "",
    decides: bool = True,
) -> Finding:
    """Return a finding of the catalogue.

    Args:
        remedy: None takes the catalogue's.
        cause: "" takes the catalogue's title.
    """
    entry = CATALOGUE[code]
    return Finding(
        stage,
        status,
        code,
        entry.title,
        entry.severity,
        tuple(filter(None, evidence)),
        entry.remedy if remedy is None else remedy,
        subject,
        refines,
        cause or entry.title[:1].lower() + entry.title[1:],
        decides,
    )


def passed(stage: Stage, *evidence: str, subject: str = "", drift: Iterable[str] = ()) -> Finding:
    """Return the finding of a check that is in order, though the run may have seen otherwise."""
    seen = tuple(filter(None, evidence))
    return Finding(stage, Status.PASS, "", stage.capitalize(), "none", seen, "", subject).drifted(
        drift
    )


def skipped(stage: Stage, reason: str, subject: str = "") -> Finding:
    """Return the finding of a check that was left out, and why."""
    return Finding(stage, Status.SKIPPED, "", stage.capitalize(), "none", (reason,), "", subject)


def crashed(stage: Stage, error: Exception) -> Finding:
    """Return MR090 for a check that ended with a programming error."""
    text = f"{type(error).__name__}: {error}"
    finding = found("MR090", stage, text, status=Status.CRASHED)
    return replace(finding, trace="".join(traceback.format_exception(error)))


def of_error(error: MsgrunError, stage: Stage, default: str, subject: str = "") -> Finding:
    """Return the finding that an error's message names, e.g. "… (MR203)"."""
    code = _CODE.search(error.message)
    text = _CODE.sub("", error.message)
    return found(
        code[1] if code else default,
        stage,
        *text.splitlines(),
        remedy=error.hint or None,
        subject=subject,
    )


@dataclass(frozen=True, slots=True)
class StageResult:
    """How one stage ended; `code` is of the finding that decided it."""

    stage: Stage
    status: Status
    code: str


@dataclass(frozen=True, slots=True)
class Suppressed:
    """A finding that is known and accepted (`[[doctor.suppress]]`); it decides nothing.

    Attributes:
        until: the last day on which it is suppressed; None for no end.
    """

    finding: Finding
    reason: str
    until: date | None


@dataclass(frozen=True, slots=True)
class Expired:
    """A suppression that would hide a finding, but whose last day has passed.

    Attributes:
        customer: its pattern of customer codes.
    """

    code: str
    customer: str
    reason: str
    until: date


@dataclass(frozen=True, slots=True)
class Case:
    """One invoice under one definition: its own verdict and findings.

    Attributes:
        primary: the code of the first cause; "" where there is none.
        invoice: its number as people see it; None where no single invoice is concerned.
        invoice_id: the source's id of it.
        run: number of the run looked at; None where there is none.
        period: label of the period looked at; "" where there is none.
        suppressed: findings that are known and accepted; not among `findings`.
        record: what the ledger has of the message and its run.
    """

    verdict: str
    primary: str
    invoice: str | None
    invoice_id: str | None
    definition: str
    run: int | None
    period: str
    findings: tuple[Finding, ...]
    suppressed: tuple[Suppressed, ...] = ()
    record: Record = field(default_factory=Record)

    @property
    def sent(self) -> bool:
        """Whether the server accepted it."""
        return self.primary == "MR508"

    @property
    def exit_code(self) -> int:
        """0 nothing failed, 4 errors, 5 an unknown check decides."""
        return exit_code_of(self.findings, sent=self.sent)


@dataclass(frozen=True, slots=True)
class Report:
    """The doctor's answer.

    Attributes:
        customer: code; None when everything but customers was looked at.
        name: the customer's name.
        verdict: one sentence.
        primary: the code of the first cause; "" where there is none.
        findings: of all cases, each once, in the order of stages.
        cases: one for each definition and invoice.
        suppressed: of all cases, each once; not among `findings`.
        expired: suppressions that no longer hold.
        candidates: the customers that a part of a name may mean, when there are several.
        addresses: every address that the customer's data names; `--mask` hides them.
    """

    customer: str | None
    name: str
    verdict: str
    primary: str
    findings: tuple[Finding, ...]
    cases: tuple[Case, ...] = field(default=())
    exit_code: int = ExitCode.DONE
    suppressed: tuple[Suppressed, ...] = ()
    expired: tuple[Expired, ...] = ()
    candidates: tuple[Customer, ...] = ()
    addresses: frozenset[str] = field(default=frozenset(), repr=False)

    @property
    def stages(self) -> list[StageResult]:
        """How each stage that was walked ended."""
        return stage_results(self.findings)


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings in the order of stages, each once."""
    return tuple(sorted(dict.fromkeys(findings), key=lambda each: _ORDER[each.stage]))


def stage_results(findings: Sequence[Finding]) -> list[StageResult]:
    """Return for each stage the worst of its findings."""
    results = []
    for stage in Stage:
        own = [each for each in findings if each.stage is stage]
        if own:
            worst = min(own, key=lambda each: _WORST_FIRST.index(each.status))
            results.append(StageResult(stage, worst.status, worst.code))
    return results


def first_cause(findings: Sequence[Finding]) -> Finding | None:
    """Return the finding that decides: a failure, else a known reason, else what is unknown."""
    unknown = {Status.UNKNOWN, Status.CRASHED}
    decisive = (
        *(each for each in findings if each.status is Status.FAIL),
        *(each for each in findings if each.code in _REASONS),
        *(each for each in findings if each.status in unknown and each.decides),
    )
    return next(iter(decisive), None)


def exit_code_of(findings: Sequence[Finding], *, sent: bool = False) -> int:
    """Return 4 for a failure, 5 where nothing failed and an unknown check decides, else 0."""
    if any(each.status is Status.FAIL for each in findings):
        return ExitCode.DOCTOR_ERRORS
    cause = None if sent else first_cause(findings)
    if cause is not None and cause.status in {Status.UNKNOWN, Status.CRASHED}:
        return ExitCode.DOCTOR_UNKNOWN
    return ExitCode.DONE
