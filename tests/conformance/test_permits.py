"""The rate, exact at its boundary: claims by a clock that the test holds, on both databases."""

import itertools
import random
from datetime import datetime, timedelta

import pytest
from ledger_book import NOW, SECOND, Book

from msgrun.database import Database
from msgrun.ledger import workers
from msgrun.ratelimit import interval
from msgrun.states import MessageState

MINUTE = timedelta(minutes=1)
PENDING = MessageState.PENDING


def permits_between(
    book: Book, since: datetime, until: datetime, every: timedelta
) -> list[datetime]:
    """Claim all that may be claimed, every few seconds, until the clock has come so far."""
    now, moments = since, []
    while now < until:
        claims = book.claim(100, every=every, now=now)
        moments += [claim.not_before for claim in claims]
        now += 2.5 * SECOND
    return moments


@pytest.mark.parametrize("rate", [1, 7, 11, 30, 60, 600])
def test_the_last_message_of_a_minutes_rate_leaves_within_it_and_the_next_one_after(
    database: Database, rate: int
) -> None:
    book = Book(database)
    book.add(*[PENDING] * (rate + 1))
    moments = permits_between(book, NOW, NOW + MINUTE + SECOND, interval(rate))
    assert len(moments) == rate + 1
    assert moments[rate - 1] < NOW + MINUTE <= moments[rate]
    assert moments[rate] - (NOW + MINUTE) <= rate * timedelta(microseconds=1)


def test_a_restart_goes_on_where_the_rate_stood(database: Database) -> None:
    """The dead worker's permits are spent, whether its messages left or not."""
    book = Book(database)
    book.add(*[PENDING] * 70)
    claimed = [claim.not_before for claim in book.claim(6, every=SECOND)]
    assert claimed == [NOW + n * SECOND for n in range(6)]
    book.recover()
    with database.write() as connection:
        book.token = workers.register(connection, book.tables, book.run.id, NOW)
    later = NOW + SECOND
    again = [claim.not_before for claim in book.claim(6, every=SECOND, now=later)]
    assert again[0] == NOW + 6 * SECOND
    moments = claimed + again + permits_between(book, later, NOW + MINUTE, SECOND)
    assert sum(moment < NOW + MINUTE for moment in moments) == 60


def test_workers_runs_and_definitions_share_one_servers_rate(database: Database) -> None:
    chance = random.Random(3)
    books = [Book(database, name) for name in ("monthly", "reminder", "dunning")]
    tokens = []
    for book in books:
        book.add(*[PENDING] * 60)
        with database.write() as connection:
            second = workers.register(connection, book.tables, book.run.id, NOW)
        tokens += [(book, book.token), (book, second)]
    now, moments = NOW, []
    while now < NOW + MINUTE:
        book, token = chance.choice(tokens)
        claims = book.claim(chance.randint(1, 9), token=token, every=SECOND, now=now)
        moments += [claim.not_before for claim in claims]
        now += chance.choice([0, 1, 2]) * SECOND
    assert moments == sorted(moments)
    assert all(b - a >= SECOND for a, b in itertools.pairwise(moments))
    for start in moments:
        assert sum(start <= moment < start + MINUTE for moment in moments) <= 60
    assert sum(NOW <= moment < NOW + MINUTE for moment in moments) == 60, "none is wasted"
