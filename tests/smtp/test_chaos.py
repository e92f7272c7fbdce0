"""Every stage times every manner to fail (`chaos.toml`), with the answers cut to pieces."""

import asyncio
import random
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from campaign import Tally
from msgrun.model import Outcome, Verdict
from msgrun.transport.smtp import SmtpTransport
from smtp.letters import BODY, Asked, envelope, letter, noticed, settings
from smtp.server import USUAL, Answer, MakeContext, ScriptedServer

STAGES = (
    "banner",
    "ehlo",
    "starttls",
    "auth",
    "mail",
    "rcpt",
    "data",
    "body",
    "dot",
    "rset",
    "quit",
)
MANNERS = ("close", "reset", "421", "4xx", "5xx", "251", "garbage", "slow", "silent", "early")
GARBAGE = ("what?", "OK 250", "25", "999 no", "", "\x16\x03\x01\x02", "-250 x", "HTTP/1.1 200 OK")
FALSE = "250 2.0.0 Ok: queued as FALSE"
LARGE = b"\r\n" + (b"x" * 76 + b"\r\n") * 120_000  # more than all buffers on the way hold
IMPATIENT = 0.3
AT_ONCE = 10


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

    def may_be(self, key: str, default: Any) -> Sequence[Any]:
        """Return the values that a key of the outcome may have."""
        value = self.expected.get(key, default)
        return value if isinstance(value, list) else [value]


TABLE = tomllib.loads((Path(__file__).parent / "chaos.toml").read_text(encoding="utf-8"))
CELLS = [
    Cell(stage, manner, expected)
    for stage, row in TABLE.items()
    for manner, expected in row.items()
    if "omit" not in expected
]
each_cell = pytest.mark.parametrize("cell", CELLS, ids=lambda cell: f"{cell.stage}-{cell.manner}")


def test_every_stage_knows_every_manner() -> None:
    assert {stage: tuple(row) for stage, row in TABLE.items()} == dict.fromkeys(STAGES, MANNERS)


@each_cell
async def test_a_fault_has_its_verdict_and_harms_no_later_message(
    cell: Cell, authority_at: "Authority", tally: Tally
) -> None:
    await repeat(cell, range(2), authority_at, tally)


@pytest.mark.campaign
@pytest.mark.timeout(300)
@each_cell
async def test_a_fault_has_its_verdict_every_time(
    cell: Cell, authority_at: "Authority", tally: Tally
) -> None:
    await repeat(cell, range(2, 52), authority_at, tally)


@dataclass(frozen=True)
class Authority:
    """Where the client finds the authority that it trusts, and how a server gets a certificate."""

    ca_file: Path
    context: MakeContext


@pytest.fixture
def authority_at(ca_file: Path, server_context: MakeContext) -> Authority:
    """The local authority."""
    return Authority(ca_file, server_context)


async def repeat(
    cell: Cell, repetitions: Sequence[int], authority: Authority, tally: Tally
) -> None:
    """Play a cell again and again, some at once, and enter the figures."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(repetition: int) -> Verdict:
        async with room:
            return await play(cell, repetition, authority)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(repetition)) for repetition in repetitions]
    verdicts = Counter(task.result() for task in tasks)
    tally.add(
        "SMTP chaos: stage times manner",
        tried=len(repetitions),
        messages=2 * len(repetitions),
        doubts=verdicts[Verdict.IN_DOUBT],
        note="right class; no doubt before the dot; the next message unharmed",
    )


async def play(cell: Cell, repetition: int, authority: Authority) -> Verdict:
    """Let the server fail once, then send another message by the same transport."""
    chance = random.Random(f"{cell.stage} {cell.manner} {repetition}")
    server, changes = setting(cell, repetition, chance, authority)
    first, second = Asked(), Asked()
    async with server.running():
        transport = SmtpTransport(settings(server.port, **changes))
        if cell.stage in {"data", "body"}:
            # In time, that is before the dot: what the server says later belongs to the dot.
            first.meanwhile = lambda: noticed(transport)
        large = (cell.stage, cell.manner) == ("body", "silent")
        one = letter("<one@acme.test>", LARGE if large else BODY)
        outcome = await transport.send(envelope(), one, first)
        seen, connections = list(server.messages), server.connections
        if cell.manner == "early" and cell.stage in {"dot", "rset"}:
            await noticed(transport)
        if cell.stage == "quit":
            await transport.close()
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
    return outcome.verdict


def setting(
    cell: Cell, repetition: int, chance: random.Random, authority: Authority
) -> tuple[ScriptedServer, dict[str, Any]]:
    """Return a server that will fail as the cell says, and the settings to reach it."""
    extensions = ["SIZE 90000000", "8BITMIME"]
    changes: dict[str, Any] = {}
    if repetition % 2:
        extensions.append("PIPELINING")
    if cell.stage == "starttls" or (cell.stage not in STAGES[:4] and chance.random() < 0.2):
        extensions.append("STARTTLS")
        changes |= {"security": "starttls", "ca_file": authority.ca_file}
    if cell.stage == "auth" or chance.random() < 0.2:
        extensions.append(chance.choice(["AUTH PLAIN", "AUTH LOGIN", "AUTH LOGIN PLAIN"]))
        changes |= {"username": "billing", "password": SecretStr("canary-4711")}
    if cell.impatient:
        changes |= {"timeout": IMPATIENT, "dot_timeout": IMPATIENT}
    context = authority.context() if "STARTTLS" in extensions else None
    return ScriptedServer(script(cell, chance), extensions, context, chance=chance), changes


def script(cell: Cell, chance: random.Random) -> dict[str, Answer]:
    """Return what the server does, in the words of `smtp.server`."""
    usual = USUAL.get(cell.stage, "250 test.example")
    answer = {
        "close": "close",
        "reset": "reset",
        "421": "421 4.3.2 closing & close",
        "4xx": "451 4.3.0 not now",
        "5xx": "554 5.3.0 no",
        "251": "251 2.0.0 fine",
        "garbage": f"raw {chance.choice(GARBAGE)}",
        "slow": f"drip {usual} {'and so on' * 5}",
        "silent": "silent",
        "early": f"raw {usual}\r\n{FALSE}",
    }[cell.manner]
    if cell.stage == "body":
        special = {"silent": "stuck", "early": "354+552 5.3.4 too big"}
        return {"data": [special.get(cell.manner, f"early {answer}")]}
    if cell.stage == "rset":
        return {"rset": [answer], "rcpt": ["550 5.1.1 no such user"]}
    return {cell.stage: [answer]}


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
