"""Messages, settings and intents for the tests of transports."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from msgrun.model import ComposedMessage, Envelope
from msgrun.transport.server import ServerSettings
from msgrun.transport.smtp import SmtpTransport

BODY = b"Subject: Invoice\r\n\r\n.one dot\r\n..two dots\r\n.\r\nthe end\r\n"


def letter(message_id: str = "<one@acme.test>", body: bytes = BODY) -> ComposedMessage:
    """A message whose bytes are told apart by its Message-ID."""
    data = f"Message-ID: {message_id}\r\n".encode() + body
    digest = hashlib.sha256(data).hexdigest()
    return ComposedMessage(data, digest, message_id, datetime(2026, 10, 1, tzinfo=UTC))


def envelope(
    *to: str, bcc: tuple[str, ...] = (), sender: str = "billing@acme.test", smtputf8: bool = False
) -> Envelope:
    """An envelope from billing to `to`, or to one customer."""
    return Envelope(sender, to or ("customer@example.test",), bcc, smtputf8)


def settings(port: int, **changes: Any) -> ServerSettings:
    """Settings for a server on loopback."""
    usual: dict[str, Any] = {
        "name": "test",
        "host": "127.0.0.1",
        "port": port,
        "security": "none",
        "timeout": 5.0,
        "dot_timeout": 5.0,
        "ehlo": "client.acme.test",
    }
    return ServerSettings(**(usual | changes))


class Asked:
    """An intent that counts how often it was asked, and may do something meanwhile."""

    def __init__(
        self, answer: bool = True, meanwhile: Callable[[], Awaitable[object]] | None = None
    ) -> None:
        self.answer = answer
        self.meanwhile = meanwhile
        self.times = 0

    async def __call__(self) -> bool:
        self.times += 1
        if self.meanwhile is not None:
            await self.meanwhile()
        return self.answer


async def noticed(transport: SmtpTransport) -> None:
    """Wait until the client has seen what the server did out of turn."""
    async with asyncio.timeout(10):
        while transport._connection is not None and transport._connection.session.usable:
            await asyncio.sleep(0)
