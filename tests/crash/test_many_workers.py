"""Four workers drain one run, killed and frozen at random: nothing lost, nothing twice.

The full campaign is `pytest -m campaign tests/crash/test_many_workers.py`; WORKER_MESSAGES
says with how many messages (100,000 where it is not set).
"""

import os
import random
import signal
import time
from pathlib import Path

import pytest
from counting_sink import CountingSink, counting_sink
from nursery import Life, Nursery
from oracle import CONNECTIONS, hold_against_sink, in_doubt, no_journal_left

from billing_world import World, make_world
from campaign import Tally
from gated_sink import until
from msgrun.database import Database
from msgrun.ledger import runs
from msgrun.ledger.crew import TAKEN_OVER
from msgrun.states import MessageState, RunStatus

WORKERS = 4
LEASE = 3.0
RATE = 6000
MESSAGES = int(os.environ.get("WORKER_MESSAGES", "100000"))


def test_four_workers_survive_kills_and_freezes(
    postgresql_database: Database, tmp_path: Path, nursery: Nursery, tally: Tally
) -> None:
    # Under a rate, so that it is not over before it is harmed.
    campaign(
        postgresql_database, tmp_path, nursery, tally, customers=400, faults=6, seed=1, rate=1200
    )


@pytest.mark.campaign
@pytest.mark.timeout(7200)
def test_four_workers_survive_kills_and_freezes_among_very_many_messages(
    postgresql_database: Database, tmp_path: Path, nursery: Nursery, tally: Tally
) -> None:
    campaign(
        postgresql_database, tmp_path, nursery, tally,
        customers=MESSAGES, faults=max(10, MESSAGES // 500), seed=2,
    )  # fmt: skip


def campaign(
    database: Database,
    folder: Path,
    nursery: Nursery,
    tally: Tally,
    *,
    customers: int,
    faults: int,
    seed: int,
    rate: int = 0,
) -> None:
    """Harm the crew of one run again and again while it works, and let it finish."""
    with counting_sink(folder / "mail") as sink:
        world = handed_over(database, folder, nursery, sink, customers, rate)
        crew = Crew(world, nursery, random.Random(seed))
        harmed = 0
        while harmed < faults and sink_has_room(sink, customers):
            crew.harm(sink)
            harmed += 1
        crew.finish(timeout=120 + customers / 20)
        settled = hold_against_sink(world, sink)
    assert set(settled) <= {MessageState.SENT, MessageState.IN_DOUBT}
    assert settled.total() == customers
    doubts = in_doubt(settled)
    assert doubts <= CONNECTIONS * harmed
    assert harmed == faults or customers > 1000, "the run was over before it was harmed"
    assert taken_over(world) >= crew.kills // 2
    no_journal_left(world)
    tally.add(
        f"kill -9 and SIGSTOP among {WORKERS} workers of one run", tried=harmed,
        messages=customers, doubts=doubts,
        note="at most one in doubt for each connection and fault; the run finishes",
    )  # fmt: skip


def handed_over(
    database: Database,
    folder: Path,
    nursery: Nursery,
    sink: CountingSink,
    customers: int,
    rate: int = 0,
) -> World:
    """Return a world whose run waits for workers."""
    world = make_world(
        database, folder, sink.port, customers=customers, connections=CONNECTIONS, rate=rate
    )
    world.reconfigure("dot_timeout = 10", "dot_timeout = 120")
    world.reconfigure("\ntimeout = 5", "\ntimeout = 60")
    answer = nursery.begin(folder, "hand-over").answer(600)
    assert answer["status"] == RunStatus.PLANNED, answer
    return world


def sink_has_room(sink: CountingSink, customers: int) -> bool:
    """Tell whether enough is left to send for another fault to hit."""
    return len(sink.received) < customers - 20 * WORKERS


class Crew:
    """The workers of a run, and what is done to them."""

    def __init__(self, world: World, nursery: Nursery, chance: random.Random) -> None:
        self.world = world
        self.kills = 0
        self._nursery = nursery
        self._chance = chance
        self._lives = [self._begin() for _ in range(WORKERS)]

    def harm(self, sink: CountingSink) -> None:
        """Wait for some messages, then kill a worker, or freeze it for any time around a lease."""
        enough = len(sink.received) + self._chance.randrange(10, 40)
        sink.delay = self._chance.choice([0, 0.01, 0.05])
        until(lambda: len(sink.received) >= enough or self._over(), seconds=60)
        place = self._chance.randrange(WORKERS)
        life = self._lives[place]
        if life.poll() is not None:
            raise AssertionError(f"a worker ended by itself: {life.answer()}")
        if self._chance.random() < 0.5:
            life.kill()
            self.kills += 1
            self._lives[place] = self._begin()
        else:
            os.kill(life.pid, signal.SIGSTOP)
            time.sleep(self._chance.choice([0.2, 1.5 * LEASE]))  # within its lease, or past it
            life.thaw()

    def finish(self, timeout: float) -> None:
        """Let the run come to its end, then ask the workers to go."""
        until(self._over, seconds=timeout, what="the run does not finish")
        assert self.world.runs()[0].status is RunStatus.FINISHED
        for life in self._lives:
            os.kill(life.pid, signal.SIGTERM)
        for life in self._lives:
            assert life.wait() == 0

    def _begin(self) -> Life:
        return self._nursery.begin(self.world.folder, "worker", lease=LEASE)

    def _over(self) -> bool:
        return self.world.runs()[0].status not in {RunStatus.PLANNED, RunStatus.RUNNING}


def taken_over(world: World) -> int:
    """Return how often workers took over from dead ones."""
    with world.database.read() as connection, connection.begin():
        found = runs.events(connection, world.database.tables, world.runs()[0].id)
    return sum(event["kind"] == TAKEN_OVER for event in found)


def test_four_workers_share_one_rate(
    postgresql_database: Database, tmp_path: Path, nursery: Nursery, tally: Tally
) -> None:
    # In eight seconds one late MAIL is two percent: the campaign looks closer.
    shared_rate(
        postgresql_database, tmp_path, nursery, tally, customers=200, rate=1200, within=(0.0, 1.1)
    )


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_four_workers_hold_the_rate_within_two_percent(
    postgresql_database: Database, tmp_path: Path, nursery: Nursery, tally: Tally
) -> None:
    shared_rate(
        postgresql_database,
        tmp_path,
        nursery,
        tally,
        customers=4000,
        rate=RATE,
        within=(0.98, 1.02),
    )


def shared_rate(
    database: Database,
    folder: Path,
    nursery: Nursery,
    tally: Tally,
    *,
    customers: int,
    rate: int,
    within: tuple[float, float],
) -> None:
    """Let four workers send under one rate, and count the MAILs of all but begin and end."""
    with counting_sink(folder / "mail") as sink:
        world = handed_over(database, folder, nursery, sink, customers, rate)
        lives = [nursery.begin(folder, "worker-until-idle") for _ in range(WORKERS)]
        for life in lives:
            assert life.wait(60 + 3 * customers * 60 / rate) == 0
        sent = [life.answer()["sent"] for life in lives]
        assert hold_against_sink(world, sink) == {MessageState.SENT: customers}
    assert sum(sent) == customers
    assert sum(number > 0 for number in sent) > 1, "one worker did it all"
    moments = sorted(sink.mails)
    middle = moments[customers // 10 : -customers // 10]
    held = (len(middle) - 1) / (middle[-1] - middle[0]) * 60 / rate
    assert within[0] <= held <= within[1], f"{held:.2%} of the rate"
    tally.add(
        f"rate shared by {WORKERS} workers", tried=1, messages=customers,
        note=f"{held:.1%} of {rate:,} a minute",
    )  # fmt: skip
