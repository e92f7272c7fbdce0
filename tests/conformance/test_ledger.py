"""The ledger: guards, claims, intents, answers, take-over, permits, counts; on both databases."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from msgrun.database import Database
from msgrun.errors import NotFoundError
from msgrun.ledger import messages, runs, views, workers
from msgrun.ledger.messages import Settlement
from msgrun.ledger.rows import Claim, Frozen, RunRow
from msgrun.ledger.writer import Writer
from msgrun.model import Outcome, Refusal, Reply, Selection, Stage, Verdict
from msgrun.ratelimit import HORIZON
from msgrun.states import (
    HOLDING,
    LIVE,
    MESSAGE_MOVES,
    RUN_MOVES,
    MessageState,
    RunStatus,
)

M, R = MessageState, RunStatus
NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
FROZEN = Frozen("monthly", {"collate": False}, {"text": ("monthly.txt", "Dear")})
ACCEPTED = Outcome(Verdict.ACCEPTED, Stage.DOT, Reply(250, "2.0.0", "Ok"), queue_id="Q1")
REFUSED = Outcome(Verdict.REJECTED, Stage.RCPT, Reply(550, "5.1.1", "No such user"))


class Book:
    """One running run with a worker, and what a worker does, each in a transaction of its own."""

    def __init__(self, database: Database, definition: str = "monthly") -> None:
        self.database = database
        self.tables = database.tables
        frozen = Frozen(definition, FROZEN.definition, FROZEN.templates)
        with database.write() as connection:
            self.run: RunRow = runs.create_run(connection, self.tables, frozen, Selection(), NOW)
            runs.move_run(connection, self.tables, self.run.id, R.RUNNING, NOW)
            self.token = workers.register(connection, self.tables, self.run.id, NOW)

    def add(self, *states: MessageState, **values: Any) -> list[int]:
        """Write messages in these states, each with one invoice of its own."""
        made = []
        with self.database.write() as connection:
            taken = connection.execute(
                select(self.tables.message.c.number).where(
                    self.tables.message.c.run_id == self.run.id
                )
            ).all()
            for number, state in enumerate(states, len(taken) + 1):
                key = connection.execute(
                    insert(self.tables.message)
                    .values(
                        {"run_id": self.run.id, "number": number, "revision": 1,
                         "customer": f"C{number}", "recipients": [{"address": "a@x.test"}],
                         "state": state, "message_id": f"<{self.run.uid}.{number}@x>",
                         "attempts": 0, "updated_at": NOW} | values
                    )
                    .returning(self.tables.message.c.id)
                ).scalar_one()  # fmt: skip
                connection.execute(
                    insert(self.tables.message_invoice).values(
                        message_id=key, invoice=f"i{number}", definition=self.run.definition,
                        generation=1, holds=state in HOLDING,
                    )
                )  # fmt: skip
                made.append(key)
        return made

    def claim(
        self,
        wanted: int = 10,
        *,
        token: int | None = None,
        every: timedelta = timedelta(0),
        now: datetime = NOW,
    ) -> Sequence[Claim]:
        with self.database.write() as connection:
            return messages.claim(
                connection, self.tables, run_id=self.run.id, server="default",
                token=token or self.token, wanted=wanted, every=every, now=now,
                lease=workers.LEASE,
            )  # fmt: skip

    def intend(self, key: int, *, token: int | None = None, now: datetime = NOW) -> bool:
        with self.database.write() as connection:
            return messages.intend(
                connection, self.tables, run_id=self.run.id, message_id=key,
                token=token or self.token, date=NOW, sha256="ab", size=7, now=now,
            )  # fmt: skip

    def settle(
        self, key: int, to: MessageState, outcome: Outcome | None = None, **values: Any
    ) -> bool:
        token = values.pop("token", self.token)
        with self.database.write() as connection:
            return messages.settle(
                connection, self.tables, message_id=key, token=token,
                settlement=Settlement(to, outcome, **values), now=NOW,
            )  # fmt: skip

    def release(self, *keys: int, token: int | None = None) -> None:
        with self.database.write() as connection:
            messages.release(
                connection, self.tables, token=token or self.token, now=NOW, message_ids=keys
            )

    def recover(self) -> tuple[int, int]:
        with self.database.write() as connection:
            workers.end(connection, self.tables, [self.token], NOW)
            return messages.recover(
                connection, self.tables, run_id=self.run.id, dead_tokens=[self.token], now=NOW
            )

    def move(self, to: RunStatus) -> bool:
        with self.database.write() as connection:
            return runs.move_run(connection, self.tables, self.run.id, to, NOW)

    def force(self, **values: Any) -> None:
        """Put the run's row into a shape, past all rules."""
        with self.database.write() as connection:
            connection.execute(
                update(self.tables.run).where(self.tables.run.c.id == self.run.id).values(**values)
            )

    def row(self, key: int) -> Any:
        with self.database.read() as connection, connection.begin():
            return connection.execute(
                select(self.tables.message).where(self.tables.message.c.id == key)
            ).one()

    def holds(self, key: int) -> bool:
        link = self.tables.message_invoice
        with self.database.read() as connection, connection.begin():
            held: bool = connection.execute(
                select(link.c.holds).where(link.c.message_id == key)
            ).scalar_one()
            return held


@pytest.fixture
def book(database: Database) -> Book:
    return Book(database)


def sending(book: Book) -> int:
    """Return a message whose intent is committed."""
    (key,) = book.add(M.PENDING)
    book.claim()
    assert book.intend(key)
    return key


# The guard.


def test_an_invoice_is_held_once_in_a_definition_and_generation(book: Book) -> None:
    book.add(M.SENT)
    book.force(status=R.FINISHED)
    other = Book(book.database)
    with pytest.raises(IntegrityError):
        other.add(M.PENDING)


def test_another_definition_may_hold_the_same_invoice(book: Book) -> None:
    book.add(M.SENT)
    assert Book(book.database, "reminder").add(M.PENDING)


@pytest.mark.parametrize("state", [M.REJECTED, M.FAILED, M.SKIPPED])
def test_what_was_not_sent_leaves_its_invoice_free(book: Book, state: MessageState) -> None:
    book.add(state)
    book.force(status=R.FINISHED)
    assert Book(book.database).add(M.PENDING)


def test_a_refusal_frees_the_invoice_in_the_same_write(book: Book) -> None:
    (key,) = book.add(M.PENDING)
    book.claim()
    assert book.settle(key, M.REJECTED, REFUSED, reason="MR506")
    assert not book.holds(key)


@pytest.mark.parametrize("state", sorted(LIVE))
def test_a_definition_has_one_live_run(book: Book, state: RunStatus) -> None:
    book.force(status=state)
    with pytest.raises(IntegrityError):
        Book(book.database)


def test_different_definitions_run_side_by_side(book: Book) -> None:
    assert Book(book.database, "reminder").run.id != book.run.id


# Claims.


def test_a_claim_takes_pending_messages_in_order_and_no_others(book: Book) -> None:
    keys = book.add(M.PENDING, M.SENT, M.PENDING, M.SKIPPED, M.IN_DOUBT, M.DEFERRED, M.PENDING)
    assert [claim.id for claim in book.claim(2)] == [keys[0], keys[2]]
    assert [claim.id for claim in book.claim(2)] == [keys[6]]
    assert book.claim(2) == []


def test_a_claim_says_all_that_composing_needs(book: Book) -> None:
    book.add(M.PENDING)
    (claim,) = book.claim()
    assert claim.customer == "C1"
    assert claim.invoices == ("i1",)
    assert [each.address for each in claim.recipients] == ["a@x.test"]
    assert claim.message_id == f"<{book.run.uid}.1@x>"


def test_a_worker_that_was_signed_off_claims_nothing(book: Book) -> None:
    book.add(M.PENDING)
    book.recover()
    assert book.claim() == []


def test_a_worker_that_was_signed_off_is_told_at_its_next_heartbeat(book: Book) -> None:
    with book.database.write() as connection:
        assert workers.heartbeat(connection, book.tables, book.token, NOW)
    book.recover()
    with book.database.write() as connection:
        assert not workers.heartbeat(connection, book.tables, book.token, NOW)
        assert workers.is_signed_off(connection, book.tables, book.token)


def test_a_heartbeat_extends_the_lease_of_what_is_held(book: Book) -> None:
    (key,) = book.add(M.PENDING)
    book.claim()
    later = NOW + workers.LEASE
    assert not book.intend(key, now=later)
    with book.database.write() as connection:
        workers.heartbeat(connection, book.tables, book.token, later - SECOND)
    assert book.intend(key, now=later)


def test_released_messages_are_pending_again(book: Book) -> None:
    (key,) = book.add(M.PENDING)
    book.claim()
    book.release(key)
    row = book.row(key)
    assert (row.state, row.token, row.lease_until) == (M.PENDING, None, None)


# The point of no return.


def test_the_intent_is_committed_with_date_and_hash_of_the_bytes(book: Book) -> None:
    row = book.row(sending(book))
    assert (row.state, row.date, row.sha256, row.size) == (M.SENDING, NOW, "ab", 7)


@pytest.mark.parametrize("status", sorted(set(R) - {R.RUNNING}))
def test_no_intent_once_the_run_is_not_running(book: Book, status: RunStatus) -> None:
    (key,) = book.add(M.PENDING)
    book.claim()
    book.force(status=status)
    assert not book.intend(key)
    assert book.row(key).state == M.CLAIMED


def test_no_intent_at_the_very_end_of_the_lease(book: Book) -> None:
    (key,) = book.add(M.PENDING)
    book.claim()
    assert not book.intend(key, now=NOW + workers.LEASE)
    assert book.intend(key, now=NOW + workers.LEASE - timedelta(microseconds=1))


def test_no_second_intent_for_the_same_claim(book: Book) -> None:
    key = sending(book)
    assert not book.intend(key)


def test_a_stale_token_writes_nothing(book: Book) -> None:
    (key,) = book.add(M.PENDING)
    book.claim()
    before, stale = book.row(key), book.token + 1
    assert not book.intend(key, token=stale)
    assert not book.settle(key, M.REJECTED, REFUSED, token=stale)
    book.release(key, token=stale)
    assert book.row(key) == before


@pytest.mark.parametrize("start", sorted(M))
@pytest.mark.parametrize("to", sorted(set(M) - {M.PENDING, M.CLAIMED, M.SKIPPED, M.BOUNCED}))
def test_an_answer_moves_a_message_only_along_the_table(
    sqlite_database: Database, start: MessageState, to: MessageState
) -> None:
    book = Book(sqlite_database)
    (key,) = book.add(start, token=book.token)
    moved = book.intend(key) if to is M.SENDING else book.settle(key, to)
    if to is M.SENDING:
        assert not moved  # it has no lease
    else:
        assert moved == ((start, to) in MESSAGE_MOVES)
        assert book.row(key).state == (to if moved else start)


# Answers.


def test_a_250_is_stored_with_reply_queue_id_and_time(book: Book) -> None:
    key = sending(book)
    assert book.settle(key, M.SENT, ACCEPTED)
    row = book.row(key)
    assert (row.state, row.code, row.enhanced, row.reply) == (M.SENT, 250, "2.0.0", "Ok")
    assert (row.queue_id, row.sent_at, row.attempts, row.token) == ("Q1", NOW, 1, None)
    assert book.holds(key)


def test_an_answer_is_recorded_once(book: Book) -> None:
    key = sending(book)
    assert book.settle(key, M.SENT, ACCEPTED)
    assert not book.settle(key, M.DEFERRED, REFUSED)
    assert book.row(key).state == M.SENT


def test_every_try_that_was_not_a_clean_250_is_kept(book: Book) -> None:
    first, second = book.add(M.PENDING, M.PENDING)
    book.claim()
    book.settle(first, M.REJECTED, REFUSED)
    book.intend(second)
    partly = Outcome(
        Verdict.ACCEPTED, Stage.DOT, Reply(250, "", "Ok"),
        refused=(Refusal("b@x.test", Reply(550, "", "No")),),
    )  # fmt: skip
    book.settle(second, M.SENT, partly)
    with book.database.read() as connection, connection.begin():
        kept = connection.execute(
            select(book.tables.attempt.c.message_id, book.tables.attempt.c.verdict)
        ).all()
    assert sorted(kept) == [(first, "rejected"), (second, "accepted")]


def test_a_try_that_is_not_the_messages_fault_costs_it_nothing(book: Book) -> None:
    key = sending(book)
    book.settle(key, M.DEFERRED, REFUSED, due_at=NOW, counts=False)
    assert book.row(key).attempts == 0


# Take-over.


def test_a_dead_workers_claims_are_given_back_and_its_intents_are_in_doubt(book: Book) -> None:
    first, second, third = book.add(M.PENDING, M.PENDING, M.PENDING)
    book.claim(2)
    book.intend(first)
    assert book.recover() == (1, 1)
    assert [book.row(key).state for key in (first, second, third)] == [
        M.IN_DOUBT,
        M.PENDING,
        M.PENDING,
    ]
    assert book.row(first).reason == "MR507"


def test_a_worker_that_comes_back_from_the_dead_sends_no_dot_and_records_nothing(
    book: Book,
) -> None:
    first, second = book.add(M.PENDING, M.PENDING)
    book.claim()
    book.intend(first)
    book.recover()
    assert not book.intend(second)
    assert not book.settle(first, M.SENT, ACCEPTED)
    assert book.row(first).state == M.IN_DOUBT


def test_take_over_leaves_other_runs_alone(book: Book) -> None:
    other = Book(book.database, "reminder")
    (theirs,) = other.add(M.PENDING)
    other.claim()
    book.recover()
    assert other.row(theirs).state == M.CLAIMED


# Deferred messages.


def test_a_deferred_message_is_pending_again_exactly_when_it_is_due(book: Book) -> None:
    (key,) = book.add(M.DEFERRED, due_at=NOW)
    with book.database.write() as connection:
        messages.wake_deferred(connection, book.tables, book.run.id, NOW - SECOND)
        assert messages.next_due(connection, book.tables, book.run.id) == NOW
    assert book.row(key).state == M.DEFERRED
    with book.database.write() as connection:
        messages.wake_deferred(connection, book.tables, book.run.id, NOW)
        assert messages.next_due(connection, book.tables, book.run.id) is None
    assert book.row(key).state == M.PENDING


def test_a_deferred_message_past_its_deadline_is_given_up_and_freed(book: Book) -> None:
    (key,) = book.add(M.DEFERRED, due_at=NOW, deadline_at=NOW)
    with book.database.write() as connection:
        messages.wake_deferred(connection, book.tables, book.run.id, NOW)
    assert (book.row(key).state, book.row(key).reason) == (M.REJECTED, "MR513")
    assert not book.holds(key)


def test_the_deadline_counts_from_the_first_deferral(book: Book) -> None:
    (key,) = book.add(M.DEFERRED, due_at=NOW)
    for deadline in (NOW, NOW + SECOND):
        with book.database.write() as connection:
            messages.set_deadline(connection, book.tables, key, deadline)
    assert book.row(key).deadline_at == NOW


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
