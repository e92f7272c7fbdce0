"""The ledger: the guard, claims, intents, answers, take-over; on both databases."""

from datetime import timedelta

import pytest
from ledger_book import ACCEPTED, NOW, REFUSED, SECOND, Book
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from msgrun.database import Database
from msgrun.ledger import messages, workers
from msgrun.model import Outcome, Refusal, Reply, Stage, Verdict
from msgrun.states import (
    LIVE,
    MESSAGE_MOVES,
    MessageState,
    RunStatus,
)

M, R = MessageState, RunStatus


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


def test_more_invoices_are_freed_at_once_than_one_statement_may_name(database: Database) -> None:
    with database.write() as connection:
        messages.hold(connection, database.tables, range(70_000), holds=False)


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
        # What is in doubt is settled by `credit`, which asks for the bytes too.
        assert moved == ((start, to) in MESSAGE_MOVES and start is not M.IN_DOUBT)
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
    book.settle(key, M.DEFERRED, REFUSED, retry_in=timedelta(0), counts=False)
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
    (key,) = book.add(M.PENDING)
    for give_up_in in (SECOND, 2 * SECOND):
        book.claim()
        book.settle(key, M.DEFERRED, REFUSED, retry_in=timedelta(0), give_up_in=give_up_in)
        with book.database.write() as connection:
            messages.make_due(connection, book.tables, book.run.id, NOW)
    assert book.row(key).deadline_at == NOW + SECOND
