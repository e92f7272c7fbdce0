"""The campaign finds the faults that are planted in the program: each of its functions can fail."""

import time
from pathlib import Path

import pytest
from nursery import Nursery
from oracle import hold_against_sink
from own_server import Vanishing
from sqlalchemy import select
from test_database_loss import keep_answers
from test_failpoints import CUSTOMERS, die_and_restart

from billing_world import World, make_world
from campaign import Tally
from msgrun.database import Database
from msgrun.demo.sink import running_sink
from msgrun.states import MessageState

LEASE = 1.5


def test_sending_again_what_is_not_marked_sent_is_found(
    database: Database, tmp_path: Path, nursery: Nursery
) -> None:
    with pytest.raises(AssertionError, match="sent twice"):
        die_and_restart(
            database, tmp_path, nursery, Tally(), "dot.written", mutant="naive-recovery"
        )


def test_an_intent_that_comes_after_the_dot_is_found(
    database: Database, tmp_path: Path, nursery: Nursery
) -> None:
    with pytest.raises(AssertionError, match=r"state=<MessageState\.CLAIMED"):
        die_and_restart(
            database, tmp_path, nursery, Tally(), "dot.written", mutant="intent-after-dot"
        )


def test_a_journal_that_nobody_merges_is_found(
    vanishing: Vanishing, tmp_path: Path, nursery: Nursery
) -> None:
    with pytest.raises(AssertionError, match="an answer is lost"):
        keep_answers(
            vanishing, tmp_path, nursery, Tally(),
            connections=1, kill=True, mutant="journal-ignored",
        )  # fmt: skip


def test_a_worker_that_does_not_look_whose_message_it_is_is_found(
    postgresql_database: Database, tmp_path: Path, nursery: Nursery
) -> None:
    with pytest.raises(AssertionError, match="sent twice"):
        wake_the_frozen(postgresql_database, tmp_path, nursery, mutant="no-token-check")


def test_a_worker_that_wakes_beside_its_successor_sends_nothing(
    postgresql_database: Database, tmp_path: Path, nursery: Nursery
) -> None:
    wake_the_frozen(postgresql_database, tmp_path, nursery)


def wake_the_frozen(
    database: Database, folder: Path, nursery: Nursery, *, mutant: str = ""
) -> None:
    """Freeze a worker past its lease; wake it while its successor waits for an answer."""
    with running_sink(folder / "mail") as sink:
        world = make_world(database, folder, sink.port, customers=CUSTOMERS, connections=1)
        frozen = nursery.begin(
            folder, "start", failpoint="intent.committed=freeze", lease=LEASE, mutant=mutant
        )
        frozen.freezes()
        wait_for_the_end_of_its_lease(world)
        successor = nursery.begin(
            folder, "restart", failpoint="dot.written=freeze", lease=LEASE, mutant=mutant
        )
        successor.freezes()
        frozen.thaw()
        frozen.wait()
        successor.thaw()
        successor.wait()
        settled = hold_against_sink(world, sink)
    assert settled == {MessageState.SENT: CUSTOMERS - 1, MessageState.IN_DOUBT: 1}
    assert len(sink.received) == CUSTOMERS - 1, "a dot left after the lease"


def wait_for_the_end_of_its_lease(world: World) -> None:
    worker = world.database.tables.worker
    deadline, over = time.monotonic() + 10 * LEASE, False
    while not over:
        assert time.monotonic() < deadline
        with world.database.read() as connection, connection.begin():
            lease_until = connection.execute(select(worker.c.lease_until)).scalar_one()
            over = world.database.now(connection) > lease_until
