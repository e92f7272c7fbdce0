"""The wire to PostgreSQL breaks in a COMMIT: nobody knows whether it happened, no harm is done."""

import random
from pathlib import Path
from typing import Final

import pytest
from nursery import Nursery
from oracle import CONNECTIONS, hold_against_sink, no_journal_left
from proxy import Cut, running_proxy

from billing_world import make_world
from campaign import Tally
from msgrun.database import Database
from msgrun.demo.sink import running_sink
from msgrun.ledger.journal import _entries
from msgrun.states import MessageState, RunStatus

COMMITS: Final = {
    "claim": r"UPDATE msgrun\.message SET .*token=.* RETURNING",
    "intent": r"UPDATE msgrun\.message SET .*\bsize=",
    "record": r"UPDATE msgrun\.message SET .*\bqueue_id=",
    "heartbeat": r"UPDATE msgrun\.worker SET seen_at=",
    "finish": r"UPDATE msgrun\.worker SET .*\bended_at=",
}
"""What the transaction holds, by the name of what it does."""

CUSTOMERS: Final = 12


@pytest.mark.parametrize("cut", ["before", "after"])
@pytest.mark.parametrize("name", COMMITS)
def test_a_run_goes_on_after_a_commit_in_doubt(
    postgresql_database: Database,
    tmp_path: Path,
    nursery: Nursery,
    tally: Tally,
    name: str,
    cut: Cut,
) -> None:
    doubt_a_commit(postgresql_database, tmp_path, nursery, tally, name, cut)


def test_an_answer_that_is_recorded_in_the_end_is_no_longer_in_the_journal(
    postgresql_database: Database, tmp_path: Path, nursery: Nursery
) -> None:
    with (
        running_sink(tmp_path / "mail") as sink,
        running_proxy(postgresql_database.url) as (
            proxy,
            url,
        ),
    ):
        make_world(Database(url), tmp_path, sink.port, connections=1)
        proxy.arm(COMMITS["record"], "before")
        life = nursery.begin(tmp_path, "start", failpoint="finish.writing=freeze")
        life.freezes()
        (journal,) = tmp_path.glob("*.journal")
        data = journal.read_bytes()
        life.thaw()
        assert life.answer()["status"] == RunStatus.FINISHED
    assert b'"accepted"' in data, "the answer was never kept"
    assert _entries(data) == []


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_plan_whose_commit_is_in_doubt_is_sent_once_by_whoever_comes_next(
    postgresql_database: Database, tmp_path: Path, nursery: Nursery, tally: Tally, cut: Cut
) -> None:
    with (
        running_sink(tmp_path / "mail") as sink,
        running_proxy(postgresql_database.url) as (proxy, url),
    ):
        world = make_world(Database(url), tmp_path, sink.port, customers=CUSTOMERS)
        proxy.arm(r"INSERT INTO msgrun\.run ", cut)
        life = nursery.begin(tmp_path, "start")
        assert (life.answer()["error"], life.returncode) == ("database", 1)
        assert len(world.runs()) == (cut == "after")
        assert sink.received == []
        again = "restart" if cut == "after" else "start"
        assert nursery.begin(tmp_path, again).answer()["sent"] == CUSTOMERS
        assert hold_against_sink(world, sink) == {MessageState.SENT: CUSTOMERS}
    no_journal_left(world)
    tally.add("COMMIT in doubt", tried=1, messages=CUSTOMERS)


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("cut", ["before", "after"])
@pytest.mark.parametrize("name", COMMITS)
def test_runs_go_on_after_commits_in_doubt(
    postgresql_database: Database,
    tmp_path: Path,
    nursery: Nursery,
    tally: Tally,
    name: str,
    cut: Cut,
    seed: int,
) -> None:
    number = random.Random(seed).randint(1, {"intent": 4, "record": 4}.get(name, 1))
    doubt_a_commit(postgresql_database, tmp_path, nursery, tally, name, cut, number)


def doubt_a_commit(
    database: Database,
    folder: Path,
    nursery: Nursery,
    tally: Tally,
    name: str,
    cut: Cut,
    number: int = 1,
) -> None:
    """Break the wire in the n-th COMMIT of a kind; the run goes on, and every dot left once."""
    with (
        running_sink(folder / "mail") as sink,
        running_proxy(database.url) as (proxy, url),
    ):
        world = make_world(
            Database(url), folder, sink.port, customers=CUSTOMERS, connections=CONNECTIONS
        )
        proxy.arm(COMMITS[name], cut, number)
        life = nursery.begin(folder, "start")
        answer = life.answer()
        assert proxy.cut.is_set(), "no such COMMIT came by"
        settled = hold_against_sink(world, sink)
        messages = world.messages()
        (run,) = world.runs()
    assert (life.returncode, answer) == (0, {"status": RunStatus.FINISHED, "sent": CUSTOMERS})
    assert run.status is RunStatus.FINISHED
    assert settled == {MessageState.SENT: CUSTOMERS}
    assert [message.attempts for message in messages] == [1] * CUSTOMERS
    assert all(message.queue_id and message.reply for message in messages)
    no_journal_left(world)
    tally.add("COMMIT in doubt", tried=1, messages=CUSTOMERS, note="goes on by itself")
