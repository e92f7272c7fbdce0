"""A worker never claims what it still holds: all of its claims carry the same token."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sending import everybody
from sqlalchemy import Connection

from billing_world import World, address, make_world
from msgrun.database import Database
from msgrun.delivery import policy
from msgrun.demo.sink import Sink
from msgrun.errors import DatabaseError
from msgrun.ledger import messages
from msgrun.ledger.rows import Frozen
from msgrun.ledger.writer import Writer
from msgrun.model import ComposedMessage, Envelope, Outcome, Selection, Stage, Verdict
from msgrun.states import RunStatus
from msgrun.transport.base import Intent, TransportFactory
from msgrun.transport.memory import MemoryTransport
from msgrun.workspace import Workspace

_CLOSED = Outcome(Verdict.SERVER_FAULT, Stage.RCPT, text="closed", finding="MR603")


def test_a_release_made_again_undoes_no_later_dot(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SlowAnswer(MemoryTransport):
        async def send(
            self, envelope: Envelope, message: ComposedMessage, intent: Intent
        ) -> Outcome:
            outcome = await super().send(envelope, message, intent)
            if outcome.stage is Stage.DOT and envelope.recipients == (address(1),):
                await asyncio.sleep(0.5)  # longer than a lost COMMIT is waited for
            return outcome

    fake = SlowAnswer({address(1): [_CLOSED]})
    lost = _lose_first_commit(monkeypatch, messages, "release")
    monkeypatch.setattr(policy.Patience, "trouble", lambda *_: 0.01)
    ending = _start_with(world, fake)
    assert lost
    assert (ending, _delivered(fake)) == (RunStatus.FINISHED, everybody())


def test_a_message_given_back_may_be_claimed_again_at_once(
    sqlite_database: Database, tmp_path: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(3)

    class Shaky(MemoryTransport):
        async def send(
            self, envelope: Envelope, message: ComposedMessage, intent: Intent
        ) -> Outcome:
            await asyncio.sleep(chance.random() / 100)
            if chance.random() < 0.1:
                return _CLOSED
            return await super().send(envelope, message, intent)

    fake = Shaky()
    monkeypatch.setattr(policy.Patience, "trouble", lambda *_: 0.01)
    world = make_world(sqlite_database, tmp_path, sink.port, customers=150, connections=8)
    ending = _start_with(world, fake)
    assert (ending, _delivered(fake)) == (RunStatus.FINISHED, everybody(150))


def _start_with(world: World, fake: MemoryTransport) -> RunStatus:
    class Faked(Workspace):
        def transport_of(self, frozen: Frozen, selection: Selection) -> TransportFactory:
            return lambda: fake

    real = world.workspace
    world.workspace = Faked(real.config, real.database, real.source)
    return world.start().summary.run.status


def _delivered(fake: MemoryTransport) -> Counter[str]:
    return Counter(each for envelope, _ in fake.delivered for each in envelope.recipients)


def _lose_first_commit(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> list[DatabaseError]:
    """Let the first write that calls a function be durable, and its caller hear of an error."""
    real, submit = getattr(owner, name), Writer.submit
    called: list[Any] = []
    lost: list[DatabaseError] = []

    def noted(*given: Any, **named: Any) -> Any:
        called.append(given)
        return real(*given, **named)

    async def losing(self: Writer, work: Callable[[Connection], Any]) -> Any:
        calls = 0

        def counted(connection: Connection) -> Any:
            nonlocal calls
            before = len(called)
            result = work(connection)
            calls = len(called) - before
            return result

        result = await submit(self, counted)
        if calls and not lost:
            lost.append(DatabaseError("the connection was lost in COMMIT", "try again"))
            raise lost[0]
        return result

    monkeypatch.setattr(owner, name, noted)
    monkeypatch.setattr(Writer, "submit", losing)
    return lost
