"""One fault of the server, what `chaos.toml` says of it, and the promises that hold for all.

A cell is played by sending one message into the fault and another one after it.
"""

import asyncio
import random
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from msgrun.model import ComposedMessage, Outcome, Verdict
from msgrun.transport.smtp import SmtpTransport
from smtp.letters import Asked, envelope, letter, noticed, settings
from smtp.server import Answer, MakeContext, ScriptedServer

TABLE = tomllib.loads((Path(__file__).parent / "chaos.toml").read_text(encoding="utf-8"))
IMPATIENT = 1.0
OPENING = ("banner", "ehlo", "starttls", "auth")


@dataclass(frozen=True)
class Cell:
    """One stage, one manner, and what `chaos.toml` says of it."""

    stage: str
    manner: str
    expected: Mapping[str, Any]

    @property
    def impatient(self) -> bool:
        """Whether the client has to lose patience."""
        # What comes too early for TLS may look like half a record.
        return self.manner in {"slow", "silent"} or self.stage == "starttls"

    @property
    def large(self) -> bool:
        """Whether it takes a large message to fill what lies between us and the server."""
        return (self.stage, self.manner) == ("body", "silent")

    def may_be(self, key: str, default: Any) -> Sequence[Any]:
        """Return the values that a key of the outcome may have."""
        value = self.expected.get(key, default)
        return value if isinstance(value, list) else [value]


@dataclass(frozen=True)
class Authority:
    """Where the client finds the authority that it trusts, and how a server gets a certificate."""

    ca_file: Path
    context: MakeContext


@cache
def large_letter() -> ComposedMessage:
    """A message that is larger than all the buffers on its way."""
    return letter("<one@acme.test>", b"\r\n" + (b"x" * 76 + b"\r\n") * 120_000)


async def exchange(
    cell: Cell, server: ScriptedServer, changes: Mapping[str, Any], *, within: float = 30
) -> Outcome:
    """Send one message into the fault and another one after it, and hold both to their promises.

    Args:
        cell: the fault.
        server: does what the cell says, once.
        changes: settings to reach it.
        within: seconds that the first message, and saying goodbye, may take.
    """
    first, second = Asked(), Asked()
    async with server.running():
        transport = SmtpTransport(settings(server.port, **changes))
        if cell.stage in {"data", "body"}:
            # In time, that is before the dot: what the server says later belongs to the dot.
            first.meanwhile = lambda: noticed(transport)
        one = large_letter() if cell.large else letter("<one@acme.test>")
        async with asyncio.timeout(within):
            outcome = await transport.send(envelope(), one, first)
            if cell.stage == "quit":
                await transport.close()
        seen, connections = list(server.messages), server.connections
        if cell.manner == "early" and cell.stage in {"dot", "rset"}:
            await noticed(transport)
        server.behave()
        later = await transport.send(
            envelope("later@example.test"), letter("<two@acme.test>"), second
        )
        again = server.connections - connections
        await transport.close()
    hold_to(cell, outcome, first)
    hold_to_promises(outcome, first, [message.data for message in seen])
    assert later.verdict is Verdict.ACCEPTED, later
    assert (later.queue_id, second.times) == ("TEST01", 1)
    assert [b"<two@acme.test>" in message.data for message in server.messages].count(True) == 1
    assert again == 1 or not cell.expected.get("apart")
    return outcome


def setting(
    cell: Cell,
    answers: Mapping[str, Answer],
    chance: random.Random,
    authority: Authority,
    *,
    pipelining: bool,
) -> tuple[ScriptedServer, dict[str, Any]]:
    """Return a server that will fail as the cell says, and the settings to reach it."""
    extensions = ["SIZE 90000000", "8BITMIME"]
    changes: dict[str, Any] = {}
    if pipelining:
        extensions.append("PIPELINING")
    if cell.stage == "starttls" or (cell.stage not in OPENING and chance.random() < 0.2):
        extensions.append("STARTTLS")
        changes |= {"security": "starttls", "ca_file": authority.ca_file}
    if cell.stage == "auth" or chance.random() < 0.2:
        extensions.append(chance.choice(["AUTH PLAIN", "AUTH LOGIN", "AUTH LOGIN PLAIN"]))
        changes |= {"username": "billing", "password": SecretStr("canary-4711")}
    if cell.impatient:
        # To make ready so much takes a while of its own when many do it at once.
        patience = 2.0 if cell.large else IMPATIENT
        changes |= {"timeout": patience, "dot_timeout": patience}
    context = authority.context() if "STARTTLS" in extensions else None
    return ScriptedServer(answers, extensions, context, chance=chance), changes


def hold_to(cell: Cell, outcome: Outcome, asked: Asked) -> None:
    """Compare an outcome with the cell."""
    assert outcome.verdict in cell.may_be("verdict", None), outcome
    assert outcome.stage in cell.may_be("stage", outcome.stage), outcome
    assert asked.times in cell.may_be("intent", 0), outcome
    if len(cell.may_be("verdict", None)) == 1:
        assert outcome.finding == cell.expected.get("finding", ""), outcome
        assert (outcome.reply.code if outcome.reply else None) == cell.expected.get("code")


def hold_to_promises(outcome: Outcome, asked: Asked, taken: Sequence[bytes]) -> None:
    """Check what must be true of every outcome, whatever the server does."""
    assert asked.times <= 1
    assert len(taken) <= asked.times, "no dot without the intent"
    assert outcome.reply is None or "FALSE" not in outcome.reply.text
    if outcome.verdict is Verdict.ACCEPTED:
        assert [b"<one@acme.test>" in data for data in taken] == [True]
        assert outcome.reply is not None
        assert 200 <= outcome.reply.code < 300
    if outcome.verdict is Verdict.IN_DOUBT:
        assert len(taken) == 1, "in doubt though no dot has left"
