"""Processes killed at random moments of a run: nothing twice, nothing lost, little in doubt."""

import random
import time
from pathlib import Path

import pytest
from nursery import Nursery
from oracle import CONNECTIONS, hold_against_sink, in_doubt, no_journal_left

from billing_world import World, make_world
from campaign import Tally
from msgrun.database import Database
from msgrun.demo.sink import Sink, running_sink
from msgrun.states import MessageState, RunStatus

A_LIFE = 12
"""At most so many messages arrive between two kills."""

KILLS = 25
"""Kills of one run in the campaign."""


def test_a_run_survives_twenty_kills_on_sqlite(
    sqlite_database: Database, tmp_path: Path, nursery: Nursery, tally: Tally
) -> None:
    campaign(sqlite_database, tmp_path, nursery, tally, kills=20, seed=1)


def test_a_run_survives_ten_kills_on_postgresql(
    postgresql_database: Database, tmp_path: Path, nursery: Nursery, tally: Tally
) -> None:
    campaign(postgresql_database, tmp_path, nursery, tally, kills=10, seed=2)


def test_a_run_with_a_composing_process_survives_kills(
    database: Database, tmp_path: Path, nursery: Nursery, tally: Tally
) -> None:
    campaign(database, tmp_path, nursery, tally, kills=5, seed=3, processes=2)


@pytest.mark.campaign
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(6))
def test_runs_with_composing_processes_survive_three_hundred_kills(
    database: Database, tmp_path: Path, nursery: Nursery, tally: Tally, seed: int
) -> None:
    campaign(database, tmp_path, nursery, tally, kills=KILLS, seed=seed, processes=2 + seed % 2)


@pytest.mark.campaign
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(40))
def test_runs_survive_a_thousand_kills_on_sqlite(
    sqlite_database: Database, tmp_path: Path, nursery: Nursery, tally: Tally, seed: int
) -> None:
    campaign(sqlite_database, tmp_path, nursery, tally, kills=KILLS, seed=seed)


@pytest.mark.campaign
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(12))
def test_runs_survive_three_hundred_kills_on_postgresql(
    postgresql_database: Database, tmp_path: Path, nursery: Nursery, tally: Tally, seed: int
) -> None:
    campaign(postgresql_database, tmp_path, nursery, tally, kills=KILLS, seed=seed)


def campaign(
    database: Database,
    folder: Path,
    nursery: Nursery,
    tally: Tally,
    *,
    kills: int,
    seed: int,
    processes: int = 1,
) -> None:
    """Kill a run again and again, then let it finish, and hold the ledger against the sink."""
    chance, customers = random.Random(seed), kills * (A_LIFE + 3)
    with running_sink(folder / "mail") as sink:
        world = make_world(
            database, folder, sink.port, customers=customers, connections=CONNECTIONS
        )
        doubt = 0
        for kill in range(kills):
            action = "restart" if kill else "start"
            kill_one_life(world, sink, nursery, action, chance, processes)
            before, doubt = doubt, in_doubt(hold_against_sink(world, sink))
            assert doubt - before <= CONNECTIONS
        nursery.begin(folder, "restart").wait(100)
        settled = hold_against_sink(world, sink)
    assert world.runs()[0].status is RunStatus.FINISHED
    assert set(settled) <= {MessageState.SENT, MessageState.IN_DOUBT}
    assert in_doubt(settled) == doubt, "only a crash makes doubt"
    assert settled.total() == customers
    no_journal_left(world)
    name = "SQLite" if database.is_sqlite else "PostgreSQL"
    name += ", composing processes" if processes > 1 else ""
    tally.add(
        f"kill -9, {name}", tried=kills, messages=customers, doubts=doubt,
        note="at most one in doubt for each connection and kill",
    )  # fmt: skip


def kill_one_life(
    world: World,
    sink: Sink,
    nursery: Nursery,
    action: str,
    chance: random.Random,
    processes: int,
) -> None:
    """Let a process work until some messages have arrived, then kill it within milliseconds."""
    sink.delay = chance.choice([0, 0.01, 0.05])
    enough = len(sink.received) + chance.randrange(A_LIFE - CONNECTIONS)
    life = nursery.begin(world.folder, action, processes=processes)
    while len(sink.received) <= enough:
        assert life.poll() is None, "the process ended before it was killed"
        time.sleep(0.001)
    time.sleep(chance.uniform(0, 0.03))  # the moment is meant to be any
    life.kill()
