"""Processes killed at random moments of a run: nothing twice, nothing lost, little in doubt."""

import random
import time
from pathlib import Path

import pytest
from oracle import CONNECTIONS, hold_against_sink, in_doubt

from billing_process import launch
from billing_world import World, make_world
from msgrun.database import Database
from msgrun.demo.sink import Sink, running_sink
from msgrun.states import MessageState, RunStatus

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
