"""Another process holds the database for a long time: a run waits or stops, and loses nothing."""

import sqlite3
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from random import Random

import pytest
from kept_going import KeptGoing
from oracle import CONNECTIONS, in_doubt
from sqlalchemy import text

from billing_world import make_world
from campaign import Tally
from msgrun.database import BUSY_SECONDS, Database
from msgrun.demo.sink import running_sink

BETWEEN = 12
"""At most so many messages arrive between two locks."""

SPARE = 60
"""So many more, so that the run is not over before the last fault."""


def test_a_run_waits_while_the_database_is_locked(
    database: Database, tmp_path: Path, tally: Tally
) -> None:
    assert campaign(database, tmp_path, tally, seconds=[2.5], seed=1) == 0


def test_a_run_stops_when_the_database_stays_locked(
    sqlite_database: Database, tmp_path: Path, tally: Tally
) -> None:
    assert campaign(sqlite_database, tmp_path, tally, seconds=[10], seed=2, busy=0.5) == 1


@pytest.mark.campaign
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(2))
def test_runs_survive_many_locks(
    database: Database, tmp_path: Path, tally: Tally, seed: int
) -> None:
    chance = Random(seed)
    # Mostly short; but also longer than a lease, and as long as and longer than SQLite waits.
    seconds = [*(chance.uniform(0.01, 1) for _ in range(10)), 35, BUSY_SECONDS, BUSY_SECONDS + 15]
    chance.shuffle(seconds)
    campaign(database, tmp_path, tally, seconds=seconds, seed=seed)


def campaign(
    database: Database,
    folder: Path,
    tally: Tally,
    *,
    seconds: Sequence[float],
    seed: int,
    busy: float = 0,
) -> int:
    """Lock the database under a run, once for so many seconds each; return how often it stopped."""
    chance = Random(seed)
    customers = len(seconds) * (BETWEEN + 2 * CONNECTIONS) + SPARE
    with running_sink(folder / "mail", delay=0.01) as sink:
        world = make_world(
            database, folder, sink.port, customers=customers, connections=CONNECTIONS
        )
        run = KeptGoing(world, sink, busy=busy, patience=busy)
        for duration in seconds:
            run.until_arrived(len(sink.received) + chance.randrange(1, BETWEEN))
            time.sleep(chance.uniform(0, 0.03))  # the moment is meant to be any
            with held(database):
                before = len(sink.received)
                with suppress(subprocess.TimeoutExpired):
                    run.process.wait(duration)
                # Whoever could not commit an intent has sent no dot.
                assert len(sink.received) - before <= CONNECTIONS
        settled = run.end()
    assert settled.total() == customers
    tally.add(
        f"database locked ({database.dialect})",
        tried=len(seconds),
        messages=customers,
        doubts=in_doubt(settled),
        note="nothing leaves; at most one in doubt a connection",
    )
    return run.stops


@contextmanager
def held(database: Database) -> Iterator[None]:
    """Keep every other process from writing to the ledger, and mostly from reading it."""
    if database.is_sqlite:
        holder = sqlite3.connect(database.path, timeout=30, isolation_level=None)
        with closing(holder):
            holder.execute("BEGIN EXCLUSIVE")
            yield
    else:
        with database.write() as connection:
            connection.execute(text("LOCK TABLE msgrun.message IN ACCESS EXCLUSIVE MODE"))
            yield
