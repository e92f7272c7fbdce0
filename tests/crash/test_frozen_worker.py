"""A worker that stands still past its lease, is taken over, and wakes: no dot from it after that.

On SQLite nobody takes it over, since the kernel knows that it lives: it goes on by itself.
"""

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import pytest
from oracle import CONNECTIONS, hold_against_sink, sink_settles

from billing_process import answer_of, launch
from billing_world import World, address, make_world
from campaign import Tally
from freezing import await_stop, freeze, freeze_at_failpoint, thaw
from gated_sink import GatedSink, gated_sink, recipients_of, until
from ledger_rows import empty_ledger
from msgrun.database import Database
from msgrun.errors import ExitCode
from msgrun.ledger.rows import MessageRow
from msgrun.states import MessageState, RunStatus

LEASE = 1.5
CUSTOMERS = 30
LATEST = 12
"""At most so many messages have arrived when the worker is frozen."""

POINTS = ("", "body.written", "intent.committed", "dot.written", "answer.received")
"""Where it is frozen: at any moment, or exactly there."""

M = MessageState


# PostgreSQL: another process takes over.


def test_no_dot_leaves_a_worker_that_was_taken_over(
    postgresql_database: Database, tmp_path: Path, tally: Tally
) -> None:
    take_overs(postgresql_database, tmp_path, tally, points=["", "intent.committed", "dot.written"])


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_no_dot_leaves_any_of_a_hundred_workers_that_were_taken_over(
    postgresql_database: Database, tmp_path: Path, tally: Tally
) -> None:
    take_overs(postgresql_database, tmp_path, tally, points=[*POINTS] * 20)


@dataclass(frozen=True)
class TakeOver:
    """One world, and a sink for each of two workers: what comes to `theirs` is the frozen one's."""

    world: World
    theirs: GatedSink
    ours: GatedSink

    @classmethod
    @contextmanager
    def at(cls, database: Database, folder: Path) -> Iterator["TakeOver"]:
        with gated_sink(folder / "theirs") as theirs, gated_sink(folder / "ours") as ours:
            world = make_world(
                database, folder, theirs.port, customers=CUSTOMERS, connections=CONNECTIONS
            )
            # However long the freeze lasts on a busy machine, no answer is given up for it.
            world.reconfigure("dot_timeout = 10", "dot_timeout = 120")
            world.reconfigure("\ntimeout = 5", "\ntimeout = 60")
            yield cls(world, theirs, ours)

    def send_to(self, sink: GatedSink) -> None:
        """Let processes that start from now on send to this sink."""
        other = self.ours if sink is self.theirs else self.theirs
        if f"port = {other.port}" in (self.world.folder / "msgrun.toml").read_text():
            self.world.reconfigure(f"port = {other.port}", f"port = {sink.port}")


def take_overs(database: Database, folder: Path, tally: Tally, *, points: list[str]) -> None:
    """Freeze so many workers, each at its point, and have another process take over."""
    chance = random.Random(7)
    doubts = 0
    with TakeOver.at(database, folder) as scene:
        for point in points:
            doubts += one_take_over(scene, point, chance)
    tally.add(
        "worker frozen past its lease, taken over",
        tried=len(points),
        messages=CUSTOMERS * len(points),
        doubts=doubts,
        note=f"no dot from it after the take-over; at most {CONNECTIONS} in doubt each",
    )


def one_take_over(scene: TakeOver, point: str, chance: random.Random) -> int:
    """Freeze a worker, take over, let it wake; return how many messages are in doubt."""
    world, theirs, ours = scene.world, scene.theirs, scene.ours
    for sink in (theirs, ours):
        sink.delay = chance.choice([0, 0.01, 0.05])
    frozen = frozen_worker(scene, point, chance)
    before = theirs.seen()
    until(lambda: lease_is_over(world))
    scene.send_to(ours)
    successor = launch(world.folder, "restart", lease=LEASE)
    while_it_works = chance.random() < 0.5
    if while_it_works:
        # Where the frozen one had sent everything, only the run's end was left to take over.
        done = RunStatus.FINISHED
        until(lambda: ours.dots or world.runs()[0].status is done, what="nobody has taken over")
    else:
        assert answer_of(successor)["status"] == RunStatus.FINISHED
    left = world.messages()
    thaw(frozen)
    answer_of(frozen)
    if while_it_works:
        assert answer_of(successor)["status"] == RunStatus.FINISHED
    else:
        nothing_changed_but_doubt(left, world.messages(), theirs)
    assert theirs.seen() == before, "a dot left the worker that had been taken over"
    assert world.runs()[0].status is RunStatus.FINISHED
    return doubts_of(scene)


def frozen_worker(scene: TakeOver, point: str, chance: random.Random) -> "Popen[str]":
    """Return a worker that stands still, with none of the database's locks."""
    world, theirs = scene.world, scene.theirs
    times = 1 + chance.randrange(LATEST)

    def begin() -> "Popen[str]":
        empty_ledger(world)
        for sink in (theirs, scene.ours):
            sink.forget()
        scene.send_to(theirs)
        failpoint = f"{point}=freeze@{times}" if point else ""
        return launch(world.folder, "start", failpoint=failpoint, lease=LEASE)

    if point:
        return freeze_at_failpoint(begin, world.database)
    process = begin()
    until(lambda: len(theirs.dots) >= times)
    time.sleep(chance.uniform(0, 0.03))  # the moment is meant to be any
    freeze(process, world.database)
    return process


def nothing_changed_but_doubt(
    before: list[MessageRow], after: list[MessageRow], theirs: GatedSink
) -> None:
    """Check what the worker wrote once it woke: at most the answer to a dot it had sent before."""
    arrived = {entry.message_id for entry in theirs.received}
    for old, new in zip(before, after, strict=True):
        if new != old:
            assert (old.state, new.state) == (M.IN_DOUBT, M.SENT), f"{old} became {new}"
            assert new.message_id in arrived


def doubts_of(scene: TakeOver) -> int:
    """Hold both sinks against the ledger; return how many messages are in doubt."""
    for sink in (scene.theirs, scene.ours):
        sink_settles(sink)
    arrived = Counter(
        entry.message_id for sink in (scene.theirs, scene.ours) for entry in sink.received
    )
    messages = scene.world.messages()
    assert [key for key, times in arrived.items() if times > 1] == [], "sent twice"
    assert {message.state for message in messages} <= {M.SENT, M.IN_DOUBT}
    for message in messages:
        if message.state is M.SENT:
            assert message.message_id in arrived, f"{message} never arrived"
    doubts = sum(message.state is M.IN_DOUBT for message in messages)
    assert doubts <= CONNECTIONS
    return doubts


def lease_is_over(world: World) -> bool:
    """Tell whether the newest worker's lease has lapsed, by the database's clock."""
    worker = world.database.tables.worker
    with world.database.read() as connection, connection.begin():
        row = connection.execute(worker.select().order_by(worker.c.id.desc())).mappings().first()
        assert row is not None
        over: bool = row["lease_until"] <= world.database.now(connection)
    return over


def test_a_worker_frozen_within_a_transaction_is_taken_over_too(
    postgresql_database: Database, tmp_path: Path
) -> None:
    take_over_within_a_transaction(postgresql_database, tmp_path, "intent.writing=freeze@2")


@pytest.mark.campaign
@pytest.mark.parametrize("point", ["claim.writing=freeze", "record.writing=freeze"])
def test_a_worker_frozen_within_any_transaction_is_taken_over_too(
    postgresql_database: Database, tmp_path: Path, point: str
) -> None:
    take_over_within_a_transaction(postgresql_database, tmp_path, point)


def take_over_within_a_transaction(database: Database, folder: Path, point: str) -> None:
    """Freeze a worker that holds locks of rows, and take over once its lease is over."""
    with TakeOver.at(database, folder) as scene:
        frozen = launch(folder, "start", failpoint=point, lease=LEASE)
        await_stop(frozen)
        until(lambda: lease_is_over(scene.world))
        successor = launch(folder, "restart", lease=LEASE)
        try:
            assert answer_of(successor, 25)["status"] == RunStatus.FINISHED
        finally:
            for process in (successor, frozen):
                process.kill()
                process.communicate()


# SQLite: it goes on by itself.


def test_a_worker_on_sqlite_goes_on_after_a_freeze_and_nobody_takes_over(
    sqlite_database: Database, tmp_path: Path, tally: Tally
) -> None:
    freezes(sqlite_database, tmp_path, tally, points=["", "intent.committed"])


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_a_hundred_workers_on_sqlite_go_on_after_a_freeze(
    sqlite_database: Database, tmp_path: Path, tally: Tally
) -> None:
    freezes(sqlite_database, tmp_path, tally, points=[*POINTS] * 20)


def freezes(database: Database, folder: Path, tally: Tally, *, points: list[str]) -> None:
    """Freeze so many workers past their lease; nobody else may take over, none is harmed."""
    chance = random.Random(8)
    with TakeOver.at(database, folder) as scene:
        for point in points:
            one_freeze(scene, point, chance)
    tally.add(
        "worker frozen past its lease, SQLite",
        tried=len(points),
        messages=CUSTOMERS * len(points),
        note="nobody takes over; it goes on by itself, none in doubt",
    )


def one_freeze(scene: TakeOver, point: str, chance: random.Random) -> None:
    """Freeze a worker past its lease, try to take over, let it go on to its end."""
    world, theirs = scene.world, scene.theirs
    theirs.delay = chance.choice([0, 0.01, 0.05])
    frozen = frozen_worker(scene, point, chance)
    until(lambda: lease_is_over(world))
    scene.send_to(scene.ours)
    second = launch(world.folder, "restart", lease=LEASE)
    assert (answer_of(second)["error"], second.returncode) == ("already_running", 11)
    thaw(frozen)
    assert answer_of(frozen) == {"status": RunStatus.FINISHED, "sent": CUSTOMERS}
    assert frozen.returncode == ExitCode.DONE
    assert hold_against_sink(world, theirs) == {M.SENT: CUSTOMERS}
    assert Counter(recipients_of(theirs.dots)) == Counter(map(address, range(1, CUSTOMERS + 1)))
    assert scene.ours.seen() == 0


def test_an_answer_that_came_during_a_freeze_is_heard(
    sqlite_database: Database, tmp_path: Path
) -> None:
    with TakeOver.at(sqlite_database, tmp_path) as scene:
        world, theirs = scene.world, scene.theirs
        world.reconfigure("dot_timeout = 120", "dot_timeout = 3")
        theirs.hold()
        frozen = launch(tmp_path, "start", lease=4)
        until(lambda: len(theirs.dots) == CONNECTIONS)
        freeze(frozen, world.database)
        theirs.let_go()
        until(lambda: lease_is_over(world))  # longer than an answer is waited for
        thaw(frozen)
        answer_of(frozen)
        assert hold_against_sink(world, theirs)[M.IN_DOUBT] == 0
