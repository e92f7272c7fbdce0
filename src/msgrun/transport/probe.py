"""Asking a mail server how far it lets us come, without sending anything."""

import time
from dataclasses import dataclass, field
from typing import Final

from msgrun.model import Reply, Stage
from msgrun.transport.answers import classify
from msgrun.transport.connection import open_connection
from msgrun.transport.server import ConnectionFault, ServerSettings, Step
from msgrun.transport.session import UNSAFE_ADDRESS, Session
from msgrun.transport.wire import WireError

STAGES: Final = (
    Stage.RESOLVE,
    Stage.CONNECT,
    Stage.BANNER,
    Stage.EHLO,
    Stage.TLS,
    Stage.AUTH,
    Stage.MAIL,
    Stage.RCPT,
    Stage.RSET,
)


@dataclass(frozen=True)
class ProbeReport:
    """What the probe saw.

    Attributes:
        server: the settings' name.
        steps: every stage once; those that were not reached are `skipped`.
        size_limit: the largest message the server says it takes; None if unknown.
        smtputf8: whether non-ASCII addresses are taken; None if unknown.
    """

    server: str
    steps: list[Step] = field(default_factory=list)
    size_limit: int | None = None
    smtputf8: bool | None = None

    @property
    def failure(self) -> Step | None:
        """The first step that failed; None when all went well."""
        return next((step for step in self.steps if step.status == "fail"), None)

    @property
    def finding(self) -> str:
        """The code of the first failure; "" when all went well."""
        return self.failure.finding if self.failure else ""

    @property
    def warnings(self) -> list[Step]:
        """The steps that went well but show a risk."""
        return [step for step in self.steps if step.status == "warn"]


async def probe(
    settings: ServerSettings,
    *,
    sender: str | None = None,
    recipient: str | None = None,
    message_size: int | None = None,
) -> ProbeReport:
    """Walk the dialogue up to RCPT and reset it; DATA is never said.

    Args:
        settings: the server; the same code opens the connection as for sending.
        sender: address to try in MAIL; None skips MAIL and RCPT.
        recipient: address to try in RCPT; None skips RCPT.
        message_size: bytes to hold against the server's SIZE.

    Returns:
        A report; every failure of server or network is in it, none is raised.
    """
    steps: list[Step] = []
    started = time.monotonic()
    try:
        connection = await open_connection(settings, steps)
    except ConnectionFault as fault:
        spent = _since(started) - sum(step.milliseconds for step in steps)
        steps.append(
            Step(fault.stage, "fail", fault.finding, [fault.text], fault.reply, max(spent, 0))
        )
        return ProbeReport(settings.name, _complete(steps, settings))
    session = connection.session
    try:
        if sender is not None:
            await _envelope(session, steps, sender, recipient, message_size)
    except BaseException:
        session.abort()  # the time is over: no goodbye
        raise
    await session.quit()
    return ProbeReport(
        settings.name, _complete(steps, settings), session.size_limit, session.smtputf8
    )


async def _envelope(
    session: Session,
    steps: list[Step],
    sender: str,
    recipient: str | None,
    message_size: int | None,
) -> None:
    """Try MAIL, RCPT and RSET, as far as they go."""
    limit = session.size_limit
    if message_size is not None and limit is not None and message_size > limit:
        text = f"the message has {message_size} bytes, the server takes {limit}"
        steps.append(Step(Stage.MAIL, "fail", "MR405", [text]))
        return
    for address, stage, finding in (
        (sender, Stage.MAIL, "MR203"),
        (recipient, Stage.RCPT, "MR107"),
    ):
        if address and UNSAFE_ADDRESS.search(address):
            text = f"the address {address!r} is not safe to send"
            steps.append(Step(stage, "fail", finding, [text]))
            return
    wide = not (sender + (recipient or "")).isascii()
    if wide and not session.smtputf8:
        text = "a non-ASCII address, and the server does not offer SMTPUTF8"
        steps.append(Step(Stage.RCPT, "fail", "MR109", [text]))
        return
    options = " SMTPUTF8" if wide else ""
    if message_size is not None and limit is not None:
        options += f" SIZE={message_size}"  # as the sender does: it may be refused now (RFC 1870)
    if not await _try(session, steps, Stage.MAIL, f"MAIL FROM:<{sender}>{options}"):
        return
    if recipient is not None:
        await _try(session, steps, Stage.RCPT, f"RCPT TO:<{recipient}>")
    await _try(session, steps, Stage.RSET, "RSET")


async def _try(session: Session, steps: list[Step], stage: Stage, command: str) -> bool:
    """Send one command, note what came of it, and return whether it was taken."""
    started = time.monotonic()
    reply: Reply | None = None
    finding = ""
    try:
        reply = await session.command(command)
        evidence = [command, str(reply)]
        if reply.code >= 400:
            meaning = classify(stage, reply)
            finding = meaning.finding
            evidence.append(f"{meaning.diagnosis}: {meaning.remedy}")
        elif reply.code >= 300:
            finding = "MR605"
    except WireError as exc:
        evidence, finding = [command, str(exc)], "MR603"
    steps.append(
        Step(stage, "fail" if finding else "pass", finding, evidence, reply, _since(started))
    )
    return not finding


def _complete(steps: list[Step], settings: ServerSettings) -> list[Step]:
    """Add the stages that were not reached, each with its reason."""
    failed = any(step.status == "fail" for step in steps)
    reasons = {
        Stage.TLS: 'security = "none"' if settings.security == "none" else "",
        Stage.AUTH: "no username" if settings.username is None else "",
    }
    seen = {step.stage for step in steps}
    for stage in STAGES:
        if stage not in seen:
            reason = reasons.get(stage) or ("not reached" if failed else "not asked for")
            steps.append(Step(stage, "skipped", evidence=[reason]))
    return sorted(steps, key=lambda step: STAGES.index(step.stage))


def _since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
