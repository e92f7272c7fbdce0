"""The ledger: permits, runs, the writer, counts; on both databases."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_book import FROZEN, NOW, SECOND, Book
from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import IntegrityError

from msgrun.database import Database
from msgrun.errors import NotFoundError
from msgrun.ledger import runs, views
from msgrun.ledger.writer import Writer
from msgrun.ratelimit import HORIZON
from msgrun.states import (
    RUN_MOVES,
    MessageState,
    RunStatus,
)

M, R = MessageState, RunStatus


@pytest.fixture
def book(database: Database) -> Book:
    return Book(database)


# What is claimed.


def test_a_claim_takes_the_lowest_numbers_above_the_one_it_is_given(book: Book) -> None:
    book.add(*[M.PENDING] * 5)
    assert [claim.number for claim in book.claim(2, after=2)] == [3, 4]
    assert [claim.number for claim in book.claim(2)] == [1, 2]


# Permits.


def test_claims_get_permits_an_interval_apart(book: Book) -> None:
    book.add(*[M.PENDING] * 3)
    assert [claim.not_before for claim in book.claim(every=SECOND)] == [
        NOW,
        NOW + SECOND,
        NOW + 2 * SECOND,
    ]


def test_a_claim_reaches_no_further_ahead_than_the_horizon(book: Book) -> None:
    book.add(*[M.PENDING] * 8)
    claims = book.claim(every=SECOND)
    assert claims[-1].not_before == NOW + HORIZON
    assert len(claims) == 6
    assert book.claim(every=SECOND) == []
    assert [claim.not_before for claim in book.claim(every=SECOND, now=NOW + SECOND)] == [
        NOW + HORIZON + SECOND
    ]


def test_permits_survive_the_connection_and_are_shared_by_all_runs_of_a_server(
    book: Book,
) -> None:
    book.add(M.PENDING)
    other = Book(Database(book.database.url.render_as_string(hide_password=False)), "reminder")
    other.add(M.PENDING)
    assert [claim.not_before for claim in book.claim(every=SECOND)] == [NOW]
    assert [claim.not_before for claim in other.claim(every=SECOND)] == [NOW + SECOND]


def test_a_released_message_does_not_get_its_permit_back(book: Book) -> None:
    (key,) = book.add(M.PENDING)
    book.claim(every=SECOND)
    book.release(key)
    assert [claim.not_before for claim in book.claim(every=SECOND)] == [NOW + SECOND]


# Runs.


@pytest.mark.parametrize("start", sorted(R))
@pytest.mark.parametrize("to", sorted(R))
def test_a_run_moves_only_along_the_table(
    sqlite_database: Database, start: RunStatus, to: RunStatus
) -> None:
    book = Book(sqlite_database)
    book.force(status=start)
    assert book.move(to) == ((start, to) in RUN_MOVES)


def test_every_move_of_a_run_is_an_event_with_its_actor(book: Book) -> None:
    book.move(R.STOPPING)
    book.move(R.FINISHED)
    with book.database.read() as connection, connection.begin():
        events = runs.events(connection, book.tables, book.run.id)
    assert [event["kind"] for event in events] == ["planned", "running", "stopping"]
    assert all("@" in event["actor"] for event in events)


def test_the_frozen_definition_comes_back_as_it_was(book: Book) -> None:
    with book.database.write() as connection:
        number = runs.add_revision(connection, book.tables, book.run.id, FROZEN, NOW)
        stored = runs.revisions(connection, book.tables, book.run.id)
    assert number == 2
    assert stored == {1: FROZEN, 2: FROZEN}


def test_last_is_the_newest_run_and_for_a_stop_the_newest_live_one(book: Book) -> None:
    resting = Book(book.database, "reminder")
    resting.move(R.FINISHED)

    def find(reference: str, *, prefer_live: bool = False) -> int:
        with book.database.read() as connection, connection.begin():
            return runs.find_run(connection, book.tables, reference, prefer_live=prefer_live).id

    assert find("last") == resting.run.id
    assert find("last", prefer_live=True) == book.run.id
    assert find(str(book.run.id)) == book.run.id
    book.move(R.FINISHED)
    assert find("last", prefer_live=True) == resting.run.id
    for unknown in ("99", "monthly", "-1"):
        with pytest.raises(NotFoundError):
            find(unknown)


def test_without_any_run_there_is_no_last_one(database: Database) -> None:
    with (
        database.read() as connection,
        connection.begin(),
        pytest.raises(NotFoundError, match="no run yet"),
    ):
        runs.find_run(connection, database.tables, "last")


# The writer.


@pytest.fixture
def writer(database: Database) -> Iterator[Writer]:
    made = Writer(database)
    yield made
    made.close()


def server_names(database: Database) -> list[str]:
    with database.read() as connection, connection.begin():
        return sorted(connection.execute(select(database.tables.server.c.name)).scalars())


def adding(database: Database, name: str) -> Callable[[Connection], str]:
    """Return a piece of work that adds a row to a table with a primary key."""

    def work(connection: Connection) -> str:
        connection.execute(insert(database.tables.server).values(name=name))
        return name

    return work


async def test_a_result_is_handed_out_once_others_can_see_it(
    database: Database, writer: Writer
) -> None:
    assert await writer.submit(adding(database, "a")) == "a"
    assert server_names(database) == ["a"]


async def test_a_refused_write_fails_alone_in_its_group(database: Database, writer: Writer) -> None:
    names = ["a", "b", "a", "c"]
    done = await asyncio.gather(
        *(writer.submit(adding(database, name)) for name in names), return_exceptions=True
    )
    assert [result if isinstance(result, str) else type(result) for result in done] == [
        "a",
        "b",
        IntegrityError,
        "c",
    ]
    assert server_names(database) == ["a", "b", "c"]


async def test_a_write_happens_though_the_one_who_asked_is_gone(
    database: Database, writer: Writer
) -> None:
    asking = asyncio.create_task(writer.submit(adding(database, "a")))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await writer.submit(adding(database, "b"))
    assert server_names(database) == ["a", "b"]


# Counts.


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(states=st.lists(st.sampled_from(M), max_size=30))
def test_the_counts_of_any_run_balance(database: Database, states: list[MessageState]) -> None:
    with database.write() as connection:
        for table in reversed(database.tables.metadata.sorted_tables):
            connection.execute(delete(table))
    book = Book(database)
    book.add(*states)
    with database.read() as connection, connection.begin():
        summary = views.summarize(connection, book.tables, book.run)
    counts, found = summary.counts, Counter(states)
    assert counts.balances
    assert counts == summary.messages
    assert counts.in_scope == len(states)
    assert counts.sent == found[M.SENT] + found[M.BOUNCED]
    assert counts.pending == found[M.PENDING] + found[M.CLAIMED] + found[M.SENDING]
    assert counts.left_over == len(states) - counts.sent - counts.skipped
