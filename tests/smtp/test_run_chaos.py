"""Whole runs against a server that fails at random: restarted to the end, nothing twice or lost."""

import random
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from billing_world import World, make_world
from campaign import Tally
from msgrun.control.work import summary_of
from msgrun.database import Database
from msgrun.delivery import floor, policy
from msgrun.errors import PreflightError, ServerDownError
from msgrun.states import MessageState, RunStatus
from smtp.server import USUAL, ScriptedServer, serving

M = MessageState
LIVES: Final = 120
"""A run that is not at rest after so many restarts will never be."""

CONNECTIONS: Final = 3
BEFORE_THE_DOT: Final = (
    "close", "reset", "421 4.3.2 closing & close", "421 4.7.0 too fast & close",
    "450 4.3.0 not now", "554 5.3.0 no", "550 5.1.1 no such user", "raw what?", "251 fine",
    "354 go ahead", "early 451 4.3.0 not now", "early 552 5.3.4 too big", "early close",
    "raw 250 ok\r\n250 2.0.0 Ok: queued as FALSE", "silent",
)  # fmt: skip
REFUSALS: Final = ("451 4.3.0 not now", "554 5.3.0 no", "421 4.3.2 closing & close")
NO_ANSWERS: Final = ("close", "reset", "raw what?", "354 go ahead", "silent")
MESSAGE_ID: Final = re.compile(rb"^Message-ID: *(<[^>]+>)", re.IGNORECASE | re.MULTILINE)


@dataclass
class MoodyServer(ScriptedServer):
    """A server that fails by chance at any stage.

    Attributes:
        odds: how often it fails, of all it has to say.
        taken: the Message-ID of each message that it took, whatever it then answered.
    """

    mood: random.Random = field(default_factory=random.Random)
    odds: float = 0.0
    taken: list[str] = field(default_factory=list)

    def next_answer(self, stage: str, in_order: bool = True) -> str:
        """Say the usual, or fail."""
        fails = self.mood.random() < self.odds
        if stage == "dot":
            return self._end_of_data(fails)
        if fails:
            return self.mood.choice(BEFORE_THE_DOT)
        return super().next_answer(stage, in_order)

    def _end_of_data(self, fails: bool) -> str:
        """Take a message or not; where no answer is given, nobody knows which."""
        answer = self.mood.choice(REFUSALS + NO_ANSWERS) if fails else USUAL["dot"]
        if not fails or (answer in NO_ANSWERS and self.mood.random() < 0.5):
            found = MESSAGE_ID.search(self.messages[-1].data)
            assert found is not None
            self.taken.append(found[1].decode())
        return answer


class Hasty(policy.Patience):
    """Waits as often as the real one, a hundred times shorter."""

    def trouble(self, clock: float, randomness: random.Random, weight: int = 1) -> float | None:
        """Note a fault; see `Patience.trouble`."""
        wait = super().trouble(clock, randomness, weight)
        if wait is None:
            return None
        self.hold_until = clock + wait / 100
        return wait / 100


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test wait for the server to recover by itself."""
    monkeypatch.setattr(floor, "Patience", Hasty)


def test_a_run_ends_well_on_a_server_that_fails_at_random(
    database: Database, tmp_path: Path, tally: Tally
) -> None:
    run_through(database, tmp_path, tally, customers=25, seed=0)


@pytest.mark.campaign
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(1, 11))
def test_every_run_ends_well_on_a_server_that_fails_at_random(
    database: Database, tmp_path: Path, tally: Tally, seed: int
) -> None:
    run_through(database, tmp_path, tally, customers=120, seed=seed)


def run_through(
    database: Database, folder: Path, tally: Tally, *, customers: int, seed: int
) -> None:
    """Restart a run until it is at rest, then once more on a server that is well."""
    mood = random.Random(seed)
    server = MoodyServer(mood=mood, odds=mood.uniform(0.05, 0.2))
    if mood.random() < 0.5:
        server.extensions = ("SIZE 10000000", "8BITMIME")
    with serving(server):
        world = make_world(
            database, folder, server.port, customers=customers, connections=CONNECTIONS
        )
        world.reconfigure("timeout = 5", "timeout = 0.5")
        world.reconfigure("dot_timeout = 10", "dot_timeout = 0.5")
        lives = until_at_rest(world, server)
        first = hold_against(world, server, customers)
        assert set(first) <= {M.SENT, M.IN_DOUBT, M.REJECTED}
        server.odds = 0
        world.restart(failed=True)
        settled = hold_against(world, server, customers)
    assert world.runs()[0].status is RunStatus.FINISHED
    assert set(settled) <= {M.SENT, M.IN_DOUBT}
    assert settled[M.IN_DOUBT] == first[M.IN_DOUBT], "a restart makes no doubt and settles none"
    tally.add(
        "SMTP chaos: a whole run",
        tried=lives,
        messages=customers,
        doubts=settled[M.IN_DOUBT],
        note="balances after each restart; all others sent in the end",
    )


def until_at_rest(world: World, server: MoodyServer) -> int:
    """Start, then restart until only a person or nobody has something left to do."""
    for life in range(1, LIVES):
        # A server that fails at the first look leaves everything as it was.
        with suppress(ServerDownError, PreflightError):
            if world.runs():
                world.restart()
            else:
                world.start()
        if not world.runs():
            continue
        states = hold_against(world, server, len(world.messages()))
        if not set(states) & {M.PENDING, M.CLAIMED, M.SENDING, M.DEFERRED}:
            return life
    pytest.fail(f"not at rest after {LIVES} lives: {world.runs()[0]}")


def hold_against(world: World, server: MoodyServer, customers: int) -> Counter[MessageState]:
    """Hold the ledger against what the server took; return how many messages are in each state."""
    counts = summary_of(world.workspace, world.runs()[0].id).counts
    assert counts.balances
    assert counts.in_scope == customers
    taken = Counter(list(server.taken))
    assert [key for key, times in taken.items() if times > 1] == [], "taken twice"
    messages = world.messages()
    states = {message.message_id: message.state for message in messages}
    assert len(states) == customers
    for key in taken:
        assert states[key] in {M.SENT, M.IN_DOUBT}, f"{key} was taken and is {states[key]}"
    for message in messages:
        if message.state is M.SENT:
            assert message.message_id in taken, f"{message} was never taken"
            assert message.queue_id == "TEST01", "the answer was another one's"
    return Counter(states.values())
