"""Intents and acceptances of several messages in one statement: as each of them alone."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime

import pytest
from ledger_book import ACCEPTED, NOW, Book
from sqlalchemy import Connection, insert, select

from msgrun.database import Database
from msgrun.ledger import messages, settling, workers
from msgrun.ledger.messages import Intent
from msgrun.ledger.writer import ApartError, Writer
from msgrun.states import MessageState, RunStatus

M = MessageState


@pytest.fixture
def book(database: Database) -> Book:
    return Book(database)


def claimed(book: Book, number: int) -> list[int]:
    keys = book.add(*[M.PENDING] * number)
    book.claim()
    return keys


def intend(book: Book, keys: Sequence[int], *, token: int | None = None) -> bool:
    """Mark messages together; as its callers do, take all of it back where one may not leave."""
    with book.database.connect() as connection:
        writing = connection.execution_options(begin="write")
        with writing.begin() as transaction:
            marked = messages.intend(
                writing, book.tables, run_id=book.run.id, token=token or book.token,
                intents=[Intent(key, NOW, f"ab{key}", key, f'{{"of": {key}}}') for key in keys],
                now=NOW,
            )  # fmt: skip
            if not marked:
                transaction.rollback()
        return marked


def accept(book: Book, keys: Sequence[int]) -> bool:
    with book.database.write() as connection:
        return settling.accept(
            connection, book.tables, token=book.token, now=NOW,
            accepted=[(key, ACCEPTED) for key in keys],
        )  # fmt: skip


def test_each_message_has_its_own_intent(book: Book) -> None:
    keys = claimed(book, 3)
    assert intend(book, keys)
    for key in keys:
        row = book.row(key)
        assert (row.state, row.sha256, row.size) == (M.SENDING, f"ab{key}", key)
        assert row.context == {"of": key}
        assert row.date == NOW


@pytest.mark.parametrize("amiss", ["another's", "not claimed", "stop", "lease"])
def test_none_leaves_together_with_one_that_must_not(book: Book, amiss: str) -> None:
    keys = claimed(book, 2)
    if amiss == "not claimed":
        keys += book.add(M.PENDING)
    elif amiss == "stop":
        book.move(RunStatus.STOPPING)
    elif amiss == "lease":
        late(book, NOW + 2 * workers.LEASE)
    token = book.token + 1 if amiss == "another's" else None
    assert not intend(book, keys, token=token)
    assert {book.row(key).state for key in keys} <= {M.CLAIMED, M.PENDING}


def late(book: Book, _now: datetime) -> None:
    """Let the lease of all claims run out."""
    message = book.tables.message
    with book.database.write() as connection:
        connection.execute(message.update().values(lease_until=NOW - workers.LEASE))


def test_an_acceptance_of_many_is_written_as_that_of_one(book: Book) -> None:
    *together, alone = keys = claimed(book, 4)
    assert intend(book, keys)
    assert accept(book, together)
    assert book.settle(alone, M.SENT, ACCEPTED)
    rows = [book.row(key)._asdict() for key in keys]
    own = {"id", "number", "customer", "message_id", "sha256", "size"}
    same = [{name: value for name, value in row.items() if name not in own} for row in rows]
    assert same == [same[0]] * 4
    assert (same[0]["state"], same[0]["queue_id"], same[0]["attempts"]) == (M.SENT, "Q1", 1)


def test_acceptances_of_which_one_is_not_ours_are_told_apart(book: Book) -> None:
    keys = claimed(book, 3)
    assert intend(book, keys[:2])
    assert not accept(book, keys)


# The writer.


@pytest.fixture
def writer(database: Database) -> Iterator[Writer]:
    made = Writer(database)
    yield made
    made.close()


class Names:
    """A batch that adds rows, and notes how many it was given at a time."""

    def __init__(self, database: Database, *, single: bool = False) -> None:
        self.database = database
        self.single = single
        self.given: list[int] = []

    def add(self, connection: Connection, names: Sequence[str]) -> list[str]:
        self.given.append(len(names))
        server = self.database.tables.server
        connection.execute(insert(server), [{"name": name} for name in names])
        if self.single and len(names) > 1:
            raise ApartError
        return [name.upper() for name in names]

    def there(self) -> list[str]:
        with self.database.read() as connection, connection.begin():
            return sorted(connection.execute(select(self.database.tables.server.c.name)).scalars())


async def test_what_waits_together_is_written_together(database: Database, writer: Writer) -> None:
    names = Names(database)
    gate = threading.Event()
    first = asyncio.create_task(writer.submit(lambda _: gate.wait(30)))
    await asyncio.sleep(0)
    asked = [writer.submit_to(names.add, name) for name in "abc"]
    gate.set()
    await first
    assert await asyncio.gather(*asked) == ["A", "B", "C"]
    assert max(names.given) > 1
    assert names.there() == ["a", "b", "c"]


async def test_a_batch_that_cannot_tell_apart_is_written_one_by_one(
    database: Database, writer: Writer
) -> None:
    names = Names(database, single=True)
    asked = [writer.submit_to(names.add, name) for name in ("a", "b", "a", "c")]
    done = await asyncio.gather(*asked, return_exceptions=True)
    assert [each if isinstance(each, str) else type(each).__name__ for each in done] == [
        "A",
        "B",
        "IntegrityError",
        "C",
    ]
    assert names.there() == ["a", "b", "c"]


async def test_an_item_is_written_though_nobody_waits_for_it(
    database: Database, writer: Writer
) -> None:
    names = Names(database)
    writer.submit_to(names.add, "a").cancel()
    await writer.submit_to(names.add, "b")
    assert names.there() == ["a", "b"]
