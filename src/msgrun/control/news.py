"""News of scheduled runs: a mail to the operators, a POST to a URL; neither changes the run.

Each way has `timeout` seconds in all. What goes wrong is returned in words, never raised: the run
is over, or paused, whoever hears of it.
"""

import asyncio
import http.client
import json
import ssl
import threading
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, formataddr
from hashlib import sha256
from typing import Any, Final, Literal
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from uuid import uuid4

from msgrun import __version__
from msgrun.config.notify import is_loopback
from msgrun.errors import MsgrunError
from msgrun.ledger.rows import Summary
from msgrun.ledger.servers import take_permits
from msgrun.model import ComposedMessage, Envelope, Outcome, Verdict
from msgrun.ratelimit import interval
from msgrun.states import RunStatus
from msgrun.workspace import Workspace, message_id_domain

NewsKind = Literal["failed", "paused", "missed", "finished"]

_WORDS: Final = {
    "failed": "not everything was sent",
    "paused": "paused",
    "missed": "missed",
    "finished": "finished",
}


_LINE: Final = 500  # a subject that is broken in two reads badly in some mail programs


@dataclass(frozen=True, slots=True)
class News:
    """What there is to tell about a slot.

    Attributes:
        slot: its moment, in the time zone named beside it.
        said: one sentence.
        hint: what to do next; "" for nothing.
        summary: its run with figures; None where there is no run.
    """

    kind: NewsKind
    schedule: str
    definition: str
    slot: datetime
    timezone: str
    said: str
    hint: str
    summary: Summary | None

    @property
    def subject(self) -> str:
        """One short line, e.g. "msgrun: schedule monthly, slot 2026-11-01 07:00: missed"."""
        slot = f"{self.slot:%Y-%m-%d %H:%M}"
        return f"msgrun: schedule {self.schedule}, slot {slot}: {_WORDS[self.kind]}"

    @property
    def text(self) -> str:
        """A few lines for people: what, which slot, figures in messages, what to do next."""
        lines = [
            f"{self.said[:1].upper()}{self.said[1:]}.",
            "",
            f"schedule    {self.schedule}",
            f"definition  {self.definition}",
            f"slot        {self.slot:%Y-%m-%d %H:%M} {self.timezone}",
        ]
        if self.summary is not None:
            run = self.summary.run
            lines += [
                f"run         {run.id}, {run.status.value}",
                f"period      {run.period_label or 'all'}",
                f"cluster     {run.selection.cluster or 'every customer'}",
            ]
        steps = [*_steps(self.kind, self.summary), self.hint]
        lines += ["", *(f"{step[:1].upper()}{step[1:]}." for step in steps if step)]
        return "\n".join(lines) + "\n"


def _steps(kind: NewsKind, summary: Summary | None) -> list[str]:
    """Return what a person can do."""
    if summary is None:
        return []
    run = summary.run
    steps = [f"`msgrun show {run.id}` has the figures"]
    if kind == "failed" and run.status is RunStatus.FINISHED:
        steps.append(f"`msgrun results {run.id} --state rejected --state failed` says why")
        steps.append(f"`msgrun restart {run.id} --failed` tries again once the cause is repaired")
    elif kind in ("failed", "paused"):
        steps.append(f"`msgrun restart {run.id}` sends what is left")
    return steps


Tell = Callable[[News], Sequence[str]]
"""Tells news; returns what went wrong, in words."""


def tell_nobody(_news: News) -> Sequence[str]:
    """Tell nobody."""
    return ()


def tell(workspace: Workspace, news: News, document: Mapping[str, Any]) -> list[str]:
    """Tell news by every way that is configured; return what went wrong, in words.

    Args:
        workspace: configuration and database.
        news: what there is to tell.
        document: what the URL gets, as JSON.
    """
    settings, problems = workspace.config.notify, []
    if settings.mail:
        problems.append(_bounded("mail", settings.timeout, lambda: _mail(workspace, news)))
    if settings.url is not None:
        url = settings.url.get_secret_value()
        body = json.dumps(document).encode()
        host = urlsplit(url).hostname or ""
        problems.append(
            _bounded(
                f"POST to {host}", settings.timeout, lambda: _post(url, body, settings.timeout)
            )
        )
    return [problem for problem in problems if problem]


def _bounded(way: str, seconds: float, work: Callable[[], str]) -> str:
    """Do it on a thread that is left behind when time is up; return what went wrong, or ""."""
    came_to: list[str] = []

    def do() -> None:
        try:
            came_to.append(work())
        except MsgrunError as error:
            came_to.append(error.message)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run must not suffer from it
            came_to.append(f"{type(error).__name__}")

    thread = threading.Thread(target=do, name="news", daemon=True)
    thread.start()
    thread.join(seconds)
    problem = came_to[0] if came_to else f"no answer within {seconds:g} s"
    return f"{way}: {problem}" if problem else ""


# By mail


def _mail(workspace: Workspace, news: News) -> str:
    config = workspace.config
    sender = config.senders[str(config.notify.sender)]
    envelope, message = _composed(workspace, news)
    server = config.servers.get(sender.server)
    if server is None or not server.host or server.port is None:
        return f"server '{sender.server}' is not configured (MR601)"
    every = interval(server.rate_per_minute)
    database = workspace.database
    with database.write() as connection:
        # One permit, not waited for: a run that comes next goes so much slower.
        now = database.now(connection)
        take_permits(connection, database.tables, sender.server, 1, every, now)
    outcome = asyncio.run(_sent(workspace, sender.server, envelope, message))
    if outcome.verdict is Verdict.ACCEPTED:
        refused = ", ".join(f"{each.address}: {each.reply}" for each in outcome.refused)
        return f"refused for {refused}" if refused else ""
    answer = str(outcome.reply) if outcome.reply is not None else outcome.text
    return f"{outcome.verdict.value.replace('_', ' ')} at {outcome.stage}: {answer}"


def _composed(workspace: Workspace, news: News) -> tuple[Envelope, ComposedMessage]:
    notify = workspace.config.notify
    sender = workspace.config.senders[str(notify.sender)]
    mail = EmailMessage(policy=SMTP.clone(max_line_length=_LINE))
    mail["From"] = formataddr((sender.name, sender.address))
    mail["To"] = ", ".join(notify.mail)
    mail["Subject"] = "".join(c if c.isprintable() else " " for c in news.subject)
    now = datetime.now(UTC)
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = f"<{uuid4().hex}.news@{message_id_domain(sender)}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    mail.set_content(news.text, cte="quoted-printable")
    data = mail.as_bytes()
    composed = ComposedMessage(data, sha256(data).hexdigest(), str(mail["Message-ID"]), now)
    return Envelope(sender.address, notify.mail), composed


async def _sent(
    workspace: Workspace, server: str, envelope: Envelope, message: ComposedMessage
) -> Outcome:
    from msgrun.transport.smtp import SmtpTransport

    seconds = workspace.config.notify.timeout
    settings = workspace.server_settings(server)
    transport = SmtpTransport(
        replace(settings, timeout=min(seconds, settings.timeout), dot_timeout=seconds)
    )

    async def intent() -> bool:
        return True

    try:
        return await transport.send(envelope, message, intent)
    finally:
        await transport.close()


# To a URL


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Lets a redirect be an answer like others: what is posted is meant for one host."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""


def _post(url: str, body: bytes, seconds: float) -> str:
    """POST a JSON document; return what went wrong, or ""."""
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"msgrun/{__version__}",
    }
    request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - checked: http(s)
    handlers: list[Any] = [_NoRedirect]
    if is_loopback(urlsplit(url).hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    opener = urllib.request.build_opener(*handlers)
    try:
        with opener.open(request, timeout=seconds):
            return ""
    except HTTPError as error:
        with error:
            return f"answered {error.code} {error.reason}"
    except URLError as error:
        reason = error.reason
        if isinstance(reason, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {reason.verify_message}"
        return f"cannot be reached: {getattr(reason, 'strerror', None) or reason}"
    except (OSError, http.client.HTTPException) as error:
        return f"no answer: {getattr(error, 'strerror', None) or type(error).__name__}"
