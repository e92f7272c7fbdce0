"""The database's clock is set by a day in mid-run: nothing leaves early, nothing twice."""

import random
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from oracle import hold_against_sink
from sqlalchemy import Connection

from billing_world import World, make_world
from campaign import Tally
from msgrun.database import Database
from msgrun.demo.sink import running_sink
from msgrun.source import Source
from msgrun.states import MessageState, RunStatus
from msgrun.workspace import Workspace

CUSTOMERS = 12
RATE = 240
INTERVAL = 60 / RATE
DAY = timedelta(days=1)


class Jumping(Database):
    """A database whose clock somebody sets."""

    shift = timedelta(0)

    def now(self, connection: Connection) -> datetime:
        return super().now(connection) + self.shift


@pytest.mark.parametrize("jump", [DAY, -DAY], ids=["a day on", "a day back"])
def test_a_jump_of_the_clock_sends_nothing_early_or_twice(
    database: Database, tmp_path: Path, tally: Tally, jump: timedelta
) -> None:
    survive_jumps(database, tmp_path, tally, {4: jump})


@pytest.mark.campaign
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(13))
def test_jumps_to_and_fro_send_nothing_early_or_twice(
    database: Database, tmp_path: Path, tally: Tally, seed: int
) -> None:
    chance = random.Random(seed)
    places = chance.sample(range(1, CUSTOMERS), 2)
    survive_jumps(
        database, tmp_path, tally, {place: chance.choice([DAY, -DAY]) for place in places}
    )


def survive_jumps(
    database: Database, folder: Path, tally: Tally, jumps: dict[int, timedelta]
) -> None:
    """Run under a rate, and set the clock whenever so many messages have arrived."""
    arrivals: list[float] = []
    with running_sink(folder / "mail") as sink:
        world = make_world(database, folder, sink.port, customers=CUSTOMERS, rate=RATE)
        jumping = with_jumping_clock(world)

        def on_message(_: object) -> None:
            arrivals.append(time.monotonic())
            jumping.shift += jumps.get(len(arrivals), timedelta(0))

        sink.on_message = on_message
        ending = world.start()
        settled = hold_against_sink(world, sink)
    assert ending.summary.run.status is RunStatus.FINISHED
    assert settled == {MessageState.SENT: CUSTOMERS}
    assert_no_burst(arrivals)
    tally.add("clock set by a day", tried=len(jumps), messages=CUSTOMERS, note="rate held")


def with_jumping_clock(world: World) -> Jumping:
    """Open the world's workspace again on a database whose clock can be set."""
    real = world.workspace
    jumping = Jumping(world.database.url.render_as_string(hide_password=False))
    source = Source(jumping, real.config.source.relations, real.source.documents_root)
    world.workspace = Workspace(real.config, jumping, source)
    return jumping


def assert_no_burst(arrivals: list[float]) -> None:
    """Hold all arrivals against the rate; the first may have been late by as much as the slack."""
    slack = 3 * INTERVAL
    for number, moment in enumerate(arrivals):
        assert moment - arrivals[0] >= number * INTERVAL - slack, f"arrival {number} was early"


def test_a_burst_would_be_noticed() -> None:
    with pytest.raises(AssertionError, match="early"):
        assert_no_burst([0.0] + [INTERVAL] * 5)
