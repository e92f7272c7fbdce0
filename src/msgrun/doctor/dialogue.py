"""One dialogue with a mail server, by the sender's own code, and what came of it as findings."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

from msgrun.catalogue import CATALOGUE
from msgrun.doctor.findings import Finding, Stage, Status, found, passed
from msgrun.transport.answers import classify
from msgrun.transport.patience import LookupLoop
from msgrun.transport.probe import ProbeReport, probe
from msgrun.transport.server import ServerSettings, Step

Security = Literal["starttls", "tls", "none"]

_OF_THE_MESSAGE: Final = frozenset({"MR405", "MR107", "MR109", "MR203"})
"""What the probe tells of a message before it asks the server; other checks have told it."""


@dataclass(frozen=True, slots=True)
class Letter:
    """What a server is asked about: from whom, to whom, how large; nothing of it is sent.

    Attributes:
        sender: for MAIL; None leaves MAIL and RCPT out.
        recipient: for RCPT; None leaves RCPT out.
        size: bytes, held against the server's SIZE; None where it is not known.
    """

    sender: str | None = None
    recipient: str | None = None
    size: int | None = None


Walk = Callable[[ServerSettings, Letter], ProbeReport]
"""Walks through a dialogue; raises TimeoutError when that takes too long."""


def walk(settings: ServerSettings, letter: Letter, limit: float) -> ProbeReport:
    """Walk through the dialogue up to RCPT.

    Args:
        limit: seconds for all of it; with none left the server is not asked.

    Raises:
        TimeoutError: it was not over then.
    """
    if limit <= 0:
        raise TimeoutError

    async def bounded() -> ProbeReport:
        async with asyncio.timeout(limit):
            return await probe(
                settings,
                sender=letter.sender,
                recipient=letter.recipient,
                message_size=letter.size,
            )

    with asyncio.Runner(loop_factory=LookupLoop) as runner:
        return runner.run(bounded())


def converse(
    settings: ServerSettings, letter: Letter, walk: Walk
) -> tuple[tuple[Finding, ...], ProbeReport]:
    """Ask a server about a letter, and once more where that tells more.

    Raises:
        TimeoutError: it took too long.
    """
    report = told = walk(settings, letter)
    if report.finding in _OF_THE_MESSAGE and letter.sender:
        # No fault of the server's, which is still to be seen as far as it goes.
        told = walk(settings, Letter(letter.sender))
    findings = _findings(settings, told)
    other = _other_mode(settings, told, walk)
    if other is not None:
        findings[0] = _with_other(findings[0], settings, *other)
    return tuple(findings), report


def _other_mode(
    settings: ServerSettings, report: ProbeReport, walk: Walk
) -> tuple[Security, str] | None:
    """Try the other TLS mode where the configured one does not seem to fit; say how it fared.

    Nothing but EHLO is said there: no login, no sender.
    """
    failure = report.failure
    if failure is None:
        return None
    silent = failure.reply is None and any("no banner" in each for each in failure.evidence)
    if failure.finding != "MR606" and not (failure.finding == "MR605" and silent):
        return None
    if settings.security == "tls":
        first: Security = "starttls"
    elif settings.security == "none" and failure.reply is not None:
        first = "starttls"  # the server spoke, and asked for it
    else:
        first = "tls"
    trial = replace(settings, security=first, username=None, password=None, tokens=None)
    try:
        fault = walk(trial, Letter()).failure
    except TimeoutError:
        return first, "was not over in time"
    if fault is None:
        return first, ""
    return first, f"fails too, at {fault.stage}: {'; '.join(fault.evidence)}"


def _with_other(finding: Finding, settings: ServerSettings, mode: Security, fared: str) -> Finding:
    """Add to a failure how the other TLS mode fared; where it works, that is the fault."""
    tried = f'security = "{mode}" on port {settings.port}: {fared or "works"}'
    finding = replace(finding, evidence=(*finding.evidence, tried))
    if fared:
        # A banner that is missing for another reason is not explained by a second failure.
        return finding
    remedy = f'set security = "{mode}" under [servers.{settings.name}]'
    return found(
        "MR606", Stage.SMTP, *finding.evidence, remedy=remedy, subject=settings.name,
        refines=None if finding.code == "MR606" else finding.code,
        cause=f'security = "{settings.security}" does not fit port {settings.port}',
    )  # fmt: skip


def address_of(settings: ServerSettings) -> str:
    """Return where a server listens, "HOST:PORT"."""
    return f"{settings.host}:{settings.port}"


def _findings(settings: ServerSettings, report: ProbeReport) -> list[Finding]:
    spent = sum(step.milliseconds for step in report.steps)
    findings = [_of_step(settings, step, Status.WARN) for step in report.warnings]
    failure = report.failure
    if failure is not None:
        # For now, and so no fault that a person mends: greylisting, throttling.
        for_now = failure.reply is not None and failure.reply.code < 500
        passing = for_now and CATALOGUE[failure.finding].severity == "warning"
        status = Status.WARN if passing else Status.FAIL
        return [_of_step(settings, failure, status), *findings]
    tls = next((s.evidence for s in report.steps if s.stage == "tls" and s.evidence), [])
    secured = "no TLS" if settings.security == "none" else (tls[0] if tls else "TLS")
    login = "AUTH ok, " if settings.username else ""
    summary = f"{address_of(settings)} {secured}, {login}{spent} ms"
    walked = [
        f"{step.stage}: {'; '.join(step.evidence)} ({step.milliseconds} ms)"
        for step in report.steps
        if step.status in {"pass", "warn"}
    ]
    return [passed(Stage.SMTP, summary, *walked, subject=settings.name), *findings]


def _of_step(settings: ServerSettings, step: Step, status: Status) -> Finding:
    where = f"{address_of(settings)}, at {step.stage}"
    remedy = None
    evidence = list(step.evidence)
    if step.reply is not None and step.reply.code >= 400:
        meaning = classify(step.stage, step.reply)
        remedy = meaning.remedy
        evidence = [str(step.reply), meaning.diagnosis]
    return found(
        step.finding,
        Stage.SMTP,
        f"{where}: {evidence[0]}" if evidence else where,
        *evidence[1:],
        status=status,
        remedy=remedy,
        subject=settings.name,
    )
