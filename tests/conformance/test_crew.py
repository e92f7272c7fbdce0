"""Several workers of one run: who joins, who takes over, who ends it, each in one transaction."""

import threading
from datetime import timedelta

import pytest
from ledger_book import Book, M, R

from msgrun.database import Database
from msgrun.ledger import crew, messages, runs, workers
from msgrun.ledger.messages import Intent
from msgrun.states import RunStatus

STOP = (R.STOPPED, None, "SIGTERM received")
PAUSE = (R.PAUSED, "MR603", "421 not now")
GO = (R.RUNNING, None, "SIGTERM received")
ASKED = (R.STOPPING, None, "asked to stop")
WAIT = (R.WAITING, "MR505", "1 deferred")


@pytest.fixture
def book(postgresql_database: Database) -> Book:
    """A running run whose first worker is gone without a word, and taken over from."""
    made = Book(postgresql_database)
    made.recover()
    return made


def hire(book: Book) -> int:
    """Sign a live worker up."""
    with book.database.write() as connection:
        now = book.database.now(connection)
        return workers.register(connection, book.tables, book.run.id, now)


def die(book: Book, token: int) -> None:
    """Let a worker's lease lapse."""
    with book.database.write() as connection:
        long_ago = book.database.now(connection) - timedelta(hours=1)
        workers.heartbeat(connection, book.tables, token, long_ago)


def leave(
    book: Book,
    token: int,
    ending: tuple[RunStatus, str | None, str | None] | None = None,
    *,
    stays: bool = False,
) -> RunStatus | None:
    with book.database.write() as connection:
        return crew.leave(connection, book.database, book.run.id, token, ending=ending, stays=stays)


def claim(book: Book, token: int, wanted: int = 10) -> list[int]:
    with book.database.write() as connection:
        found = messages.claim(
            connection, book.tables, run_id=book.run.id, server="default", token=token,
            wanted=wanted, every=timedelta(0), now=book.database.now(connection),
            lease=workers.LEASE,
        )  # fmt: skip
    return [each.id for each in found]


def run_of(book: Book) -> runs.RunRow:
    with book.database.read() as connection, connection.begin():
        return runs.get_run(connection, book.tables, book.run.id)


def signed_off(book: Book, token: int) -> bool:
    with book.database.read() as connection, connection.begin():
        return workers.is_signed_off(connection, book.tables, token)


def wanted(book: Book) -> list[int]:
    with book.database.read() as connection, connection.begin():
        return [run.id for run in crew.wanted(connection, book.database)]


def join(book: Book, token: int | None = None) -> bool:
    with book.database.write() as connection:
        now = book.database.now(connection)
        token = token or workers.register(connection, book.tables, None, now, standing=True)
        return crew.join(connection, book.database, book.run.id, token)


# The end of a run.


def test_only_the_last_worker_ends_a_run(book: Book) -> None:
    first, second = hire(book), hire(book)

    assert leave(book, first) is R.RUNNING
    assert run_of(book).status is R.RUNNING
    assert leave(book, second) is R.FINISHED
    assert run_of(book).status is R.FINISHED


def test_of_two_workers_that_end_at_once_one_ends_the_run(book: Book) -> None:
    first, second = hire(book), hire(book)
    left: list[RunStatus | None] = []
    with book.database.write() as connection:
        crew.leave(connection, book.database, book.run.id, first, ending=None, stays=False)
        other = threading.Thread(target=lambda: left.append(leave(book, second)))
        other.start()
        other.join(0.5)
        assert other.is_alive(), "it did not wait for the first one's commit"
    other.join(10)

    assert left == [R.FINISHED]


def test_one_that_stays_waits_for_its_colleagues(book: Book) -> None:
    patient, other = hire(book), hire(book)

    assert leave(book, patient, stays=True) is None
    assert leave(book, other) is R.RUNNING
    assert leave(book, patient, stays=True) is R.FINISHED


def test_the_last_one_goes_on_when_a_colleague_gave_messages_back(book: Book) -> None:
    (key,) = book.add(M.PENDING)
    first, second = hire(book), hire(book)
    assert claim(book, first) == [key]
    book.release(key, token=first)
    assert leave(book, first, GO) is R.RUNNING

    assert leave(book, second) is None
    assert not signed_off(book, second)


def test_the_last_one_waits_for_what_a_colleague_deferred(book: Book) -> None:
    with book.database.read() as connection, connection.begin():
        later = book.database.now(connection) + timedelta(hours=1)
    book.add(M.DEFERRED, due_at=later)
    worker = hire(book)

    assert leave(book, worker) is None
    assert leave(book, worker, WAIT) is R.WAITING
    assert run_of(book).reason == "MR505"


def test_the_last_one_takes_over_from_the_dead_and_goes_on(book: Book) -> None:
    book.add(M.PENDING, M.PENDING)
    dead, last = hire(book), hire(book)
    sending, claimed = claim(book, dead)
    with book.database.write() as connection:
        assert messages.intend(
            connection, book.tables, run_id=book.run.id, token=dead,
            intents=[Intent(sending, book.database.now(connection), "ab", 7, "{}")],
            now=book.database.now(connection),
        )  # fmt: skip
    die(book, dead)

    assert leave(book, last) is None
    assert signed_off(book, dead)
    assert (book.row(sending).state, book.row(claimed).state) == (M.IN_DOUBT, M.PENDING)
    assert not book.settle(sending, M.SENT, token=dead)


def test_one_that_was_held_for_dead_changes_nothing(book: Book) -> None:
    woken, other = hire(book), hire(book)
    die(book, woken)
    assert leave(book, other) is R.FINISHED

    assert leave(book, woken, STOP) is R.FINISHED
    assert run_of(book).status is R.FINISHED


# Stop, pause, and a worker that is asked to go.


def test_a_pause_keeps_its_reason_when_the_others_leave(book: Book) -> None:
    book.add(M.PENDING)
    first, second, third = hire(book), hire(book), hire(book)

    assert leave(book, first, PAUSE) is R.PAUSED
    assert leave(book, second, ASKED) is R.PAUSED
    assert leave(book, third, (R.PAUSED, "MR512", "another")) is R.PAUSED
    assert (run_of(book).status, run_of(book).reason) == (R.PAUSED, "MR603")


@pytest.mark.parametrize("ending", [ASKED, PAUSE, None, GO])
def test_the_last_one_to_drain_brings_a_stop_to_its_end(
    book: Book, ending: tuple[RunStatus, str | None, str | None] | None
) -> None:
    book.add(M.PENDING)
    first, second = hire(book), hire(book)
    assert book.move(R.STOPPING)

    assert leave(book, first, ASKED) is R.STOPPING
    assert leave(book, second, ending) is R.STOPPED


def test_a_signal_to_one_that_stops_the_run_stops_it_for_all(book: Book) -> None:
    book.add(M.PENDING)
    first, second = hire(book), hire(book)

    assert leave(book, first, STOP) is R.STOPPING
    assert leave(book, second, ASKED) is R.STOPPED


def test_one_that_goes_leaves_the_run_to_whoever_comes(book: Book) -> None:
    book.add(M.PENDING)

    assert leave(book, hire(book), GO) is R.RUNNING
    assert wanted(book) == [book.run.id]


def test_the_last_one_that_goes_ends_a_run_that_has_nothing_left(book: Book) -> None:
    assert leave(book, hire(book), GO) is R.FINISHED


# Joining.


def test_a_run_is_wanted_while_it_has_something_that_nobody_holds(book: Book) -> None:
    book.add(M.PENDING)
    first = hire(book)
    assert wanted(book) == [book.run.id]
    claim(book, first)
    assert wanted(book) == []
    die(book, first)
    assert wanted(book) == [book.run.id]


def test_the_loneliest_run_is_joined_first(book: Book) -> None:
    other = Book(book.database, "reminder")
    other.recover()
    for each in (book, other):
        each.add(M.PENDING)
    hire(book)

    assert wanted(book) == [other.run.id, book.run.id]


@pytest.mark.parametrize("status", [R.PLANNED, R.WAITING])
@pytest.mark.parametrize("distributed", [True, False])
def test_only_a_run_that_was_handed_over_is_taken_on(
    book: Book, status: RunStatus, distributed: bool
) -> None:
    book.add(M.PENDING)
    book.force(status=status, distributed=distributed)

    assert bool(wanted(book)) is distributed
    assert join(book) is distributed
    assert run_of(book).status is (R.RUNNING if distributed else status)


@pytest.mark.parametrize("status", [R.STOPPING, R.STOPPED, R.PAUSED, R.FINISHED, R.CANCELLED])
def test_nobody_joins_a_run_at_rest(book: Book, status: RunStatus) -> None:
    book.add(M.PENDING)
    book.force(status=status, distributed=True)

    assert wanted(book) == []
    assert not join(book)


def test_a_waiting_run_is_wanted_when_its_next_message_is_due(book: Book) -> None:
    with book.database.read() as connection, connection.begin():
        now = book.database.now(connection)
    (key,) = book.add(M.DEFERRED, due_at=now + timedelta(hours=1))
    book.force(status=R.WAITING, distributed=True)
    assert wanted(book) == []
    with book.database.write() as connection:
        message = book.tables.message
        connection.execute(message.update().where(message.c.id == key).values(due_at=now))

    assert wanted(book) == [book.run.id]


def test_one_that_was_forgotten_joins_nothing(book: Book) -> None:
    book.add(M.PENDING)
    token = hire(book)
    with book.database.write() as connection:
        workers.end(connection, book.tables, [token], book.database.now(connection))

    assert not join(book, token)


def test_a_heartbeat_extends_the_lease_of_what_a_worker_holds(book: Book) -> None:
    (key,) = book.add(M.PENDING)
    token = hire(book)
    claim(book, token)
    with book.database.write() as connection:
        later = book.database.now(connection) + timedelta(hours=1)
        assert workers.heartbeat(connection, book.tables, token, later, sent=3, per_minute=9)

    assert book.row(key).lease_until == later + workers.LEASE
