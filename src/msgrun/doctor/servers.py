"""The mail server's part: each server and sender is asked once, by the sender's own code."""

import asyncio
from dataclasses import dataclass, replace
from typing import Final, Literal

from msgrun.catalogue import CATALOGUE
from msgrun.doctor.findings import Finding, Stage, Status, found, passed, skipped
from msgrun.errors import ConfigError, PreflightError
from msgrun.ledger.rows import Frozen
from msgrun.transport.answers import classify
from msgrun.transport.probe import ProbeReport, probe
from msgrun.transport.server import ServerSettings, Step
from msgrun.workspace import Workspace

PATIENCE: Final = 2
"""The whole dialogue may take so many times the server's `timeout`; then it is unknown."""


_OF_THE_MESSAGE: Final = frozenset({"MR405", "MR107", "MR109", "MR203"})
"""What the probe tells of a message before it asks the server; other checks have told it."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known of a server.

    Attributes:
        report: None where it was not asked, or did not get that far.
    """

    findings: tuple[Finding, ...]
    report: ProbeReport | None = None


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


class Servers:
    """Asks mail servers up to RCPT; nothing is ever sent.

    Args:
        offline: whether to leave them alone.
    """

    def __init__(self, workspace: Workspace, *, offline: bool) -> None:
        self.offline = offline
        self.workspace = workspace
        self._seen: dict[tuple[str, str, str], Sight] = {}

    def of_letter(
        self, frozen: Frozen, recipient: str | None = None, size: int | None = None
    ) -> Sight:
        """Return what is known of the server that a definition's messages leave by.

        Args:
            recipient: the customer's address, asked about once for each server and sender.
            size: bytes of the message; only the first one counts.
        """
        try:
            sender = self.workspace.sender_of(frozen)
        except PreflightError:
            reason = "the definition's sender is not known"
            return Sight((skipped(Stage.SMTP, reason, frozen.name),))
        return self.named(sender.server, Letter(sender.address, recipient, size))

    def named(self, name: str, letter: Letter) -> Sight:
        """Return what is known of a server, asked about a letter."""
        key = (name, letter.sender or "", letter.recipient or "")
        if key not in self._seen:
            self._seen[key] = self._look(name, letter)
        return self._seen[key]

    def _look(self, name: str, letter: Letter) -> Sight:
        server = self.workspace.config.servers.get(name)
        if server is None or not server.host or server.port is None:
            missing = "is not configured" if server is None else "has no host or no port"
            text = f"server '{name}' {missing}"
            remedy = f"set host and port under [servers.{name}]"
            return Sight((found("MR601", Stage.SMTP, text, remedy=remedy, subject=name),))
        try:
            settings = self.workspace.server_settings(name)
        except ConfigError as error:
            return Sight(
                (found("MR601", Stage.SMTP, error.message, remedy=error.hint, subject=name),)
            )
        if server.username and settings.password is None:
            text = f"server '{name}' has the user name '{server.username}', but no password"
            remedy = f"set password_env, password_file or keyring under [servers.{name}]"
            return Sight((found("MR601", Stage.SMTP, text, remedy=remedy, subject=name),))
        if self.offline:
            return Sight((skipped(Stage.SMTP, "--offline: the server was not asked", name),))
        return self._ask(settings, letter)

    def _ask(self, settings: ServerSettings, letter: Letter) -> Sight:
        try:
            report = _probe(settings, letter)
            told = report
            if report.finding in _OF_THE_MESSAGE and letter.sender:
                # No fault of the server's, which is still to be seen as far as it goes.
                told = _probe(settings, Letter(letter.sender))
            other = _other_mode(settings, told)
        except TimeoutError:
            limit = PATIENCE * settings.timeout
            text = f"{_where(settings)}: the dialogue was not over after {limit:g} s"
            remedy = "try again; `--offline` leaves the server out"
            unknown = found(
                "MR091", Stage.SMTP, text, status=Status.UNKNOWN, remedy=remedy,
                subject=settings.name, cause="the mail server is too slow to tell whether it works",
            )  # fmt: skip
            return Sight((unknown,))
        findings = _findings(settings, told)
        if other is not None:
            findings[0] = _with_other(findings[0], settings, *other)
        return Sight(tuple(findings), report)


def _probe(settings: ServerSettings, letter: Letter) -> ProbeReport:
    """Walk through the dialogue within a limit.

    Raises:
        TimeoutError: it was not over then.
    """

    async def bounded() -> ProbeReport:
        async with asyncio.timeout(PATIENCE * settings.timeout):
            return await probe(
                settings,
                sender=letter.sender,
                recipient=letter.recipient,
                message_size=letter.size,
            )

    return asyncio.run(bounded())


Security = Literal["starttls", "tls", "none"]


def _other_mode(settings: ServerSettings, report: ProbeReport) -> tuple[Security, str] | None:
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
    trial = replace(settings, security=first, username=None, password=None)
    try:
        fault = _probe(trial, Letter()).failure
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


def _where(settings: ServerSettings) -> str:
    return f"{settings.host}:{settings.port}"


def _findings(settings: ServerSettings, report: ProbeReport) -> list[Finding]:
    spent = sum(step.milliseconds for step in report.steps)
    findings = [_of_step(settings, step, Status.WARN) for step in report.warnings]
    failure = report.failure
    if failure is not None:
        # For now, and so no fault that a person mends: greylisting, throttling.
        for_now = failure.reply is not None and failure.reply.code < 500
        entry = CATALOGUE.get(failure.finding)
        passing = for_now and entry is not None and entry.severity == "warning"
        status = Status.WARN if passing else Status.FAIL
        return [_of_step(settings, failure, status), *findings]
    tls = next((s.evidence for s in report.steps if s.stage == "tls" and s.evidence), [])
    secured = "no TLS" if settings.security == "none" else (tls[0] if tls else "TLS")
    login = "AUTH ok, " if settings.username else ""
    summary = f"{_where(settings)} {secured}, {login}{spent} ms"
    walked = [
        f"{step.stage}: {'; '.join(step.evidence)} ({step.milliseconds} ms)"
        for step in report.steps
        if step.status in {"pass", "warn"}
    ]
    return [passed(Stage.SMTP, summary, *walked, subject=settings.name), *findings]


def _of_step(settings: ServerSettings, step: Step, status: Status) -> Finding:
    where = f"{_where(settings)}, at {step.stage}"
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
