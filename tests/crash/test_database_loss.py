"""The database goes away in mid-run: it is waited for, nothing is sent twice, no answer is lost."""

import random
import threading
import time
from pathlib import Path
from typing import Final

import pytest
from nursery import Life, Nursery
from oracle import CONNECTIONS, hold_against_sink, no_journal_left
from own_server import TERMINATE, OwnServer, Vanishing
from sqlalchemy import text

from billing_world import World, make_world
from campaign import Tally
from msgrun.database import Database
from msgrun.demo.sink import Received, Sink, running_sink
from msgrun.ledger import runs
from msgrun.states import MessageState, RunStatus

M, R = MessageState, RunStatus

PATIENCE: Final = 1.0
"""Seconds that a process waits for its database here, where it is not to come back."""

IN_A_TRANSACTION: Final = ("claim.writing", "intent.writing", "record.writing", "finish.writing")


# The connections are cut, the server goes on.


@pytest.mark.parametrize("step", IN_A_TRANSACTION)
def test_a_run_goes_on_after_its_connections_were_cut_in_a_transaction(
    postgresql_database: Database, tmp_path: Path, nursery: Nursery, tally: Tally, step: str
) -> None:
    cut_in_a_transaction(postgresql_database, tmp_path, nursery, tally, step, number=1)


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("step", IN_A_TRANSACTION)
def test_runs_go_on_after_their_connections_were_cut_in_a_transaction(
    postgresql_database: Database,
    tmp_path: Path,
    nursery: Nursery,
    tally: Tally,
    step: str,
    seed: int,
) -> None:
    most = {"claim.writing": 2, "finish.writing": 1}.get(step, 10)
    number = random.Random(seed).randint(1, most)
    cut_in_a_transaction(postgresql_database, tmp_path, nursery, tally, step, number)


def test_a_run_goes_on_after_its_connections_were_cut_at_any_moment(
    postgresql_database: Database, tmp_path: Path, nursery: Nursery, tally: Tally
) -> None:
    cut_at_any_moment(postgresql_database, tmp_path, nursery, tally, cuts=3, seed=1)


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(20))
def test_runs_go_on_after_their_connections_were_cut_at_any_moment(
    postgresql_database: Database, tmp_path: Path, nursery: Nursery, tally: Tally, seed: int
) -> None:
    cut_at_any_moment(postgresql_database, tmp_path, nursery, tally, cuts=3, seed=seed)


def cut_in_a_transaction(
    database: Database, folder: Path, nursery: Nursery, tally: Tally, step: str, number: int
) -> None:
    """Freeze a run while a transaction of it is open, cut its connections, let it go on."""
    customers = 200 if step == "claim.writing" else 30  # more than one claim takes
    with running_sink(folder / "mail") as sink:
        world = make_world(
            database, folder, sink.port, customers=customers, connections=CONNECTIONS
        )
        life = nursery.begin(folder, "start", failpoint=f"{step}=freeze@{number}")
        life.freezes()
        assert cut_connections(database) >= 1
        life.thaw()
        finishes_as_if_nothing_was(life, world, sink)
    tally.add("PostgreSQL connections cut", tried=1, messages=customers, note="goes on by itself")


def cut_at_any_moment(
    database: Database, folder: Path, nursery: Nursery, tally: Tally, *, cuts: int, seed: int
) -> None:
    """Cut a run's connections a few times while it sends."""
    chance, a_part = random.Random(seed), 8
    customers = (cuts + 1) * a_part
    with running_sink(folder / "mail", delay=0.02) as sink:
        world = make_world(
            database, folder, sink.port, customers=customers, connections=CONNECTIONS
        )
        life = nursery.begin(folder, "start")
        for cut in range(cuts):
            arrived(sink, cut * a_part + chance.randint(1, a_part))
            time.sleep(chance.uniform(0, 0.02))  # the moment is meant to be any
            cut_connections(database)
        finishes_as_if_nothing_was(life, world, sink)
    tally.add("PostgreSQL connections cut", tried=cuts, messages=customers)


# The server is gone for a moment.


def test_a_run_goes_on_after_the_server_was_restarted(
    own_server: OwnServer, tmp_path: Path, nursery: Nursery, tally: Tally
) -> None:
    restart_the_server(own_server, tmp_path, nursery, tally, seed=1)


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(30))
def test_runs_go_on_after_the_server_was_restarted(
    own_server: OwnServer, tmp_path: Path, nursery: Nursery, tally: Tally, seed: int
) -> None:
    restart_the_server(own_server, tmp_path, nursery, tally, seed)


def restart_the_server(
    server: OwnServer, folder: Path, nursery: Nursery, tally: Tally, seed: int
) -> None:
    """Stop the server at any moment of a run, as a crash would, and start it again."""
    chance, customers = random.Random(seed), 20
    with running_sink(folder / "mail", delay=0.02) as sink:
        world = make_world(
            Database(server.new_database()), folder, sink.port,
            customers=customers, connections=CONNECTIONS,
        )  # fmt: skip
        life = nursery.begin(folder, "start", patience=30)  # a busy machine starts it slowly
        arrived(sink, chance.randint(1, customers - 2 * CONNECTIONS))
        server.stop()
        time.sleep(chance.uniform(0, 0.5))  # some are gone for longer
        server.start()
        finishes_as_if_nothing_was(life, world, sink)
    tally.add("PostgreSQL restarted", tried=1, messages=customers, note="goes on by itself")


# The database is gone for good, answers are outstanding.


def test_answers_that_no_database_takes_are_kept_and_merged(
    vanishing: Vanishing, tmp_path: Path, nursery: Nursery, tally: Tally
) -> None:
    keep_answers(vanishing, tmp_path, nursery, tally)


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(15))
def test_all_answers_that_no_database_takes_are_kept_and_merged(
    vanishing: Vanishing, tmp_path: Path, nursery: Nursery, tally: Tally, seed: int
) -> None:
    chance = random.Random(seed)
    keep_answers(
        vanishing, tmp_path, nursery, tally,
        connections=chance.randint(1, 3), number=chance.randint(1, 8),
    )  # fmt: skip


def test_an_answer_in_the_journal_outlives_a_kill(
    vanishing: Vanishing, tmp_path: Path, nursery: Nursery, tally: Tally
) -> None:
    keep_answers(vanishing, tmp_path, nursery, tally, connections=1, kill=True)


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(20))
def test_answers_in_the_journal_outlive_kills(
    vanishing: Vanishing, tmp_path: Path, nursery: Nursery, tally: Tally, seed: int
) -> None:
    number = random.Random(seed).randint(1, 8)
    keep_answers(vanishing, tmp_path, nursery, tally, connections=1, number=number, kill=True)


def keep_answers(
    vanishing: Vanishing,
    folder: Path,
    nursery: Nursery,
    tally: Tally,
    *,
    connections: int = CONNECTIONS,
    number: int = 1,
    kill: bool = False,
    mutant: str = "",
) -> None:
    """Take the database away between dot and answer; restart when it is back."""
    customers = 12

    def on_message(entry: Received) -> None:
        if entry.number == number:
            vanishing.take_away()

    with running_sink(folder / "mail") as sink:
        world = make_world(
            vanishing.database, folder, sink.port, customers=customers, connections=connections
        )
        sink.on_message = on_message
        failpoint = "journal.written=kill" if kill else ""
        life = nursery.begin(folder, "start", failpoint=failpoint, patience=PATIENCE, busy=PATIENCE)
        code = life.wait()
        vanishing.give_back()
        if kill:
            life.dies()
        else:
            assert (code, life.answer()["error"]) == (1, "database")
        (journal,) = folder.glob("*.journal")
        kept = journal.read_bytes().count(b'"accepted"')
        assert 1 <= kept <= connections
        held = hold_against_sink(world, sink)
        assert held[M.SENT] + kept == len(sink.received), "an answer is neither here nor there"
        answer = nursery.begin(folder, "restart", mutant=mutant).answer()
        settled = hold_against_sink(world, sink)
    assert settled == {M.SENT: customers}, "an answer is lost"
    assert answer["status"] == R.FINISHED
    assert all(message.queue_id and message.reply for message in world.messages())
    assert all(message.attempts == 1 for message in world.messages())
    assert kept <= len(merged_messages(world)) <= connections
    no_journal_left(world)
    name = "SQLite locked" if world.database.is_sqlite else "PostgreSQL gone"
    tally.add(
        f"{name}, answers outstanding" + ", killed" * kill, tried=1, messages=customers,
        note="every answer merged from the journal",
    )  # fmt: skip


def merged_messages(world: World) -> list[str]:
    """Return what the run's events say of the journal; it comes before anything else."""
    with world.database.read() as connection, connection.begin():
        (run,) = world.runs()
        events = runs.events(connection, world.database.tables, run.id)
    kinds = [event["kind"] for event in events]
    assert "recovered" not in kinds[: kinds.index("journal")]
    return [event["detail"] for event in events if event["kind"] == "journal"]


def cut_connections(database: Database) -> int:
    """Cut every connection but our own; return how many these were."""
    with database.write() as connection:
        return len(connection.execute(text(TERMINATE)).all())


def arrived(sink: Sink, count: int) -> None:
    """Wait until so many messages have."""
    enough = threading.Event()
    sink.on_message = lambda _: enough.set() if len(sink.received) >= count else None
    if len(sink.received) < count:
        assert enough.wait(30)


def finishes_as_if_nothing_was(life: Life, world: World, sink: Sink) -> None:
    """Wait for the end of a run in which everything is sent once and nothing is in doubt."""
    answer = life.answer()
    settled = hold_against_sink(world, sink)
    assert (life.returncode, answer.get("status")) == (0, R.FINISHED), answer
    assert settled == {M.SENT: len(world.messages())}
    assert all(message.attempts == 1 for message in world.messages())
    no_journal_left(world)
