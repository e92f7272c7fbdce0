"""Processes killed at random moments of a run: nothing twice, nothing lost, little in doubt."""

import random
import time
from collections import Counter
from pathlib import Path

import pytest

from billing_process import launch
from billing_world import World, make_world
from msgrun.database import Database
from msgrun.demo.sink import Sink, running_sink
from msgrun.states import MessageState, RunStatus

CONNECTIONS = 3
A_LIFE = 12
"""At most so many messages arrive between two kills."""


def test_a_run_survives_ten_kills_on_sqlite(sqlite_database: Database, tmp_path: Path) -> None:
    campaign(sqlite_database, tmp_path, kills=10, seed=1)


def test_a_run_survives_five_kills_on_postgresql(
    postgresql_database: Database, tmp_path: Path
) -> None:
    campaign(postgresql_database, tmp_path, kills=5, seed=2)


@pytest.mark.campaign
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(10))
def test_runs_survive_many_kills(database: Database, tmp_path: Path, seed: int) -> None:
    campaign(database, tmp_path, kills=20, seed=seed)


def campaign(database: Database, folder: Path, *, kills: int, seed: int) -> None:
    """Kill a run again and again, then let it finish, and hold the ledger against the sink."""
    chance = random.Random(seed)
    with running_sink(folder / "mail") as sink:
        world = make_world(
            database, folder, sink.port, customers=kills * (A_LIFE + 3), connections=CONNECTIONS
        )
        doubt = 0
        for _ in range(kills):
            kill_one_life(world, sink, "restart" if world.runs() else "start", chance)
            before, doubt = doubt, in_doubt(hold_against_sink(world, sink))
            assert doubt - before <= CONNECTIONS
        last = launch(folder, "restart")
        last.communicate(timeout=100)
        settled = hold_against_sink(world, sink)
    assert world.runs()[0].status is RunStatus.FINISHED
    assert set(settled) <= {MessageState.SENT, MessageState.IN_DOUBT}
    assert in_doubt(settled) == doubt, "only a crash makes doubt"
    assert settled.total() == kills * (A_LIFE + 3)


def kill_one_life(world: World, sink: Sink, action: str, chance: random.Random) -> None:
    """Let a process work until some messages have arrived, then kill it within milliseconds."""
    sink.delay = chance.choice([0, 0.01, 0.05])
    enough = len(sink.received) + chance.randrange(A_LIFE - CONNECTIONS)
    process = launch(world.folder, action)
    while len(sink.received) <= enough:
        assert process.poll() is None, "the process ended before it was killed"
        time.sleep(0.001)
    time.sleep(chance.uniform(0, 0.03))  # the moment is meant to be any
    process.kill()
    process.communicate()


def in_doubt(states: Counter[MessageState]) -> int:
    """Return how many messages are, or are about to be found, in doubt."""
    return states[MessageState.IN_DOUBT] + states[MessageState.SENDING]


def hold_against_sink(world: World, sink: Sink) -> Counter[MessageState]:
    """Compare the ledger with what has arrived; return how many messages are in each state."""
    sink_settles(sink)
    arrived = Counter(entry.message_id for entry in sink.received)
    messages = world.messages()
    assert [key for key, times in arrived.items() if times > 1] == [], "sent twice"
    known = {message.message_id for message in messages}
    assert set(arrived) <= known
    for message in messages:
        if message.state is MessageState.SENT:
            assert message.message_id in arrived, f"{message} never arrived"
        elif message.message_id in arrived:
            assert message.state in {MessageState.SENDING, MessageState.IN_DOUBT}, f"{message}"
    return Counter(message.state for message in messages)


def sink_settles(sink: Sink) -> None:
    """Wait until the sink has kept every message whose dot had arrived."""
    deadline = time.monotonic() + 5
    while sink._dialogues:
        assert time.monotonic() < deadline
        time.sleep(0.005)
