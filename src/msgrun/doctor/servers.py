"""The mail server's part: each server and sender is asked once, by the sender's own code."""

import asyncio
from dataclasses import dataclass
from typing import Final

from msgrun.doctor.deadline import Deadline
from msgrun.doctor.findings import Finding, Stage, Status, crashed, found, passed, skipped
from msgrun.doctor.names import Names
from msgrun.errors import ConfigError, PreflightError
from msgrun.ledger.rows import Frozen
from msgrun.transport.answers import classify
from msgrun.transport.patience import LookupLoop
from msgrun.transport.probe import ProbeReport, probe
from msgrun.transport.server import ServerSettings, Step
from msgrun.workspace import Workspace

PATIENCE: Final = 2
"""The whole dialogue may take so many times the server's `timeout`; then it is unknown."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known of a server.

    Attributes:
        report: None where it was not asked, or did not get that far.
    """

    findings: tuple[Finding, ...]
    report: ProbeReport | None = None


class Servers:
    """Asks mail servers up to MAIL FROM; nothing is ever sent.

    Args:
        offline: whether to leave them alone.
        names: asks the name service; None for one of its own.
        deadline: after it no server is asked any more; None to ask all.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        offline: bool,
        names: Names | None = None,
        deadline: Deadline | None = None,
    ) -> None:
        self.offline = offline
        self.workspace = workspace
        nameserver = workspace.config.doctor.nameserver
        self.names = names or Names(nameserver, offline=offline, deadline=deadline)
        self._deadline = deadline
        self._seen: dict[tuple[str, str], Sight] = {}

    def of_definition(self, frozen: Frozen) -> Sight:
        """Return what is known of the server that a definition's messages leave by."""
        try:
            sender = self.workspace.sender_of(frozen)
        except PreflightError:
            reason = "the definition's sender is not known"
            return Sight((skipped(Stage.SMTP, reason, frozen.name),))
        return self.named(sender.server, sender.address)

    def named(self, name: str, sender: str | None) -> Sight:
        """Return what is known of a server, asked on behalf of a sender."""
        key = (name, sender or "")
        if key not in self._seen:
            try:
                self._seen[key] = self._look(name, sender)
            except Exception as error:  # noqa: BLE001 - others ask for the same sight
                self._seen[key] = Sight((crashed(Stage.SMTP, error),))
        return self._seen[key]

    def _look(self, name: str, sender: str | None) -> Sight:
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
        return self._ask(settings, sender)

    def _ask(self, settings: ServerSettings, sender: str | None) -> Sight:
        patience = PATIENCE * settings.timeout
        limit = patience if self._deadline is None else self._deadline.left(patience)
        try:
            if limit <= 0:
                raise TimeoutError
            with asyncio.Runner(loop_factory=LookupLoop) as runner:
                report = runner.run(_bounded(settings, sender, limit))
        except TimeoutError:
            return Sight((_too_slow(settings, limit, whole=limit < patience),))
        return Sight(tuple(_findings(settings, report)), report)


def _too_slow(settings: ServerSettings, limit: float, *, whole: bool) -> Finding:
    """Return MR091; `whole` where the time of the whole command was over first."""
    told = f"the dialogue was not over after {limit:.3g} s"
    remedy = "try again; `--offline` leaves the server out"
    cause = "the mail server is too slow to tell whether it works"
    if whole:
        told = f"{told}, the time of the whole command" if limit > 0 else "not asked"
        told += "; --timeout is over"
        remedy = "give more time with `--timeout SECONDS`; `--offline` leaves the server out"
        cause = "the time was over before the mail server had told whether it works"
    return found(
        "MR091", Stage.SMTP, f"{_where(settings)}: {told}", status=Status.UNKNOWN, remedy=remedy,
        subject=settings.name, cause=cause,
    )  # fmt: skip


async def _bounded(settings: ServerSettings, sender: str | None, limit: float) -> ProbeReport:
    async with asyncio.timeout(limit):
        return await probe(settings, sender=sender)


def _where(settings: ServerSettings) -> str:
    return f"{settings.host}:{settings.port}"


def _findings(settings: ServerSettings, report: ProbeReport) -> list[Finding]:
    spent = sum(step.milliseconds for step in report.steps)
    findings = [_of_step(settings, step, Status.WARN) for step in report.warnings]
    if report.failure is not None:
        return [_of_step(settings, report.failure, Status.FAIL), *findings]
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
