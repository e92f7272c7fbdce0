"""The journal of answers that the database could not take: written, read back, merged once."""

import json
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ledger_book import ACCEPTED, NOW, SECOND, Book

from msgrun.database import Database
from msgrun.errors import DatabaseError
from msgrun.ledger import journal as journals_module
from msgrun.ledger import messages, runs, workers
from msgrun.ledger.doubt import find, settle_doubt
from msgrun.ledger.journal import ROOM, Entry, Journal, Journals
from msgrun.ledger.settling import Settlement
from msgrun.model import Outcome, Refusal, Reply, Stage, Verdict
from msgrun.states import MessageState

M = MessageState

SENT = Settlement(M.SENT, ACCEPTED)
LATER = NOW + 90 * SECOND
REFUSED_AT_DOT = Outcome(Verdict.REJECTED, Stage.DOT, Reply(554, "5.7.1", "No"))
BUSY_AT_DOT = Outcome(Verdict.DEFERRED, Stage.DOT, Reply(451, "4.3.0", "Busy"))
UNWRITTEN = Settlement(M.PENDING, counts=False)


@pytest.fixture
def book(database: Database) -> Book:
    return Book(database)


@pytest.fixture
def journals(database: Database, tmp_path: Path) -> Journals:
    return Journals.of(database, tmp_path)


def sending(book: Book, count: int = 1) -> list[int]:
    """Return messages whose dot may have left."""
    keys = book.add(*[M.PENDING] * count)
    book.claim(count)
    for key in keys:
        assert book.intend(key)
    return keys


def entry(book: Book, key: int, settlement: Settlement = SENT, **changed: Any) -> Entry:
    made = Entry(book.run.uid, key, book.token, "ab", settlement, LATER)
    return replace(made, **changed)


def leave(journals: Journals, book: Book, *entries: Entry) -> Path:
    """Write a journal and let its worker die; return the file."""
    journal = journals.open(book.token)
    for each in entries:
        journal.add(each)
    journal.close(merged=False)
    (path,) = journals._files()
    return path


def journal_events(book: Book) -> list[str]:
    with book.database.read() as connection, connection.begin():
        found = runs.events(connection, book.tables, book.run.id)
    return [event["detail"] for event in found if event["kind"] == "journal"]


# What is merged.


@pytest.mark.parametrize("recovered", [False, True], ids=["sending", "in doubt"])
@pytest.mark.parametrize(
    ("settlement", "attempts"),
    [
        (SENT, 1),
        (Settlement(M.REJECTED, REFUSED_AT_DOT, reason="MR506"), 1),
        (Settlement(M.DEFERRED, BUSY_AT_DOT, reason="MR505", retry_in=300 * SECOND), 1),
        (Settlement(M.DEFERRED, BUSY_AT_DOT, retry_in=300 * SECOND, counts=False), 0),
        (UNWRITTEN, 0),
    ],
    ids=["sent", "rejected", "deferred", "throttled", "pending"],
)
def test_an_answer_settles_what_nobody_else_has_settled(
    book: Book, journals: Journals, settlement: Settlement, attempts: int, recovered: bool
) -> None:
    (key,) = sending(book)
    path = leave(journals, book, entry(book, key, settlement))
    if recovered:
        book.recover()
        assert book.row(key).state == M.IN_DOUBT
    assert journals.merge(book.database) == 1
    row = book.row(key)
    assert (row.state, row.attempts, row.token) == (settlement.to, attempts, None)
    assert row.reason == settlement.reason
    if settlement.outcome is not None:
        assert settlement.outcome.reply is not None
        assert (row.code, row.reply) == (
            settlement.outcome.reply.code, settlement.outcome.reply.text
        )  # fmt: skip
    if settlement.retry_in is not None:
        assert row.due_at == LATER + settlement.retry_in
    assert book.holds(key) == (settlement.to is not M.REJECTED)
    assert journal_events(book) == [f"message {key} {settlement.to}, from the journal"]
    assert not path.exists()


def test_an_accepted_message_keeps_queue_id_and_the_moment_of_its_answer(
    book: Book, journals: Journals
) -> None:
    (key,) = sending(book)
    leave(journals, book, entry(book, key))
    journals.merge(book.database)
    row = book.row(key)
    assert (row.queue_id, row.sent_at) == ("Q1", LATER)


def test_a_second_merge_changes_nothing(book: Book, journals: Journals) -> None:
    (key,) = sending(book)
    path = leave(journals, book, entry(book, key))
    data = path.read_bytes()
    assert journals.merge(book.database) == 1
    before = book.row(key)
    path.write_bytes(data)  # died between commit and unlink
    assert journals.merge(book.database) == 0
    assert book.row(key) == before
    assert len(journal_events(book)) == 1
    assert not path.exists()


@pytest.mark.parametrize("settlement", [SENT, Settlement(M.REJECTED, REFUSED_AT_DOT), UNWRITTEN])
@pytest.mark.parametrize("resend", [False, True])
def test_what_a_person_resolved_meanwhile_stays_resolved(
    book: Book, journals: Journals, settlement: Settlement, resend: bool
) -> None:
    (key,) = sending(book)
    path = leave(journals, book, entry(book, key, settlement))
    book.recover()
    decide(book, key, resend=resend)
    before = book.row(key)
    assert journals.merge(book.database) == 0
    assert book.row(key) == before
    assert not path.exists()


@pytest.mark.parametrize(
    "settlement",
    [SENT, Settlement(M.DEFERRED, BUSY_AT_DOT, retry_in=SECOND), UNWRITTEN],
    ids=["sent", "deferred", "pending"],
)
def test_an_earlier_tries_answer_does_not_settle_a_resend_in_doubt(
    book: Book, journals: Journals, settlement: Settlement
) -> None:
    """Another host may merge its journal only after a person had the same bytes sent again."""
    (key,) = sending(book)
    leave(journals, book, entry(book, key, settlement))
    try_again_in_doubt(book, key)
    assert journals.merge(book.database) == 0
    assert book.row(key).state == M.IN_DOUBT


def try_again_in_doubt(book: Book, key: int) -> None:
    """Let a person resend it, from a worker that dies in its turn."""
    book.recover()
    decide(book, key, resend=True)
    with book.database.write() as connection:
        second = workers.register(connection, book.tables, book.run.id, NOW)
    book.claim(token=second)
    assert book.intend(key, token=second)
    with book.database.write() as connection:
        workers.end(connection, book.tables, [second], NOW)
        messages.recover(connection, book.tables, run_id=book.run.id, dead_tokens=[second], now=NOW)
    assert book.row(key).state == M.IN_DOUBT


def decide(book: Book, key: int, *, resend: bool) -> None:
    with book.database.write() as connection:
        doubtful = find(connection, book.tables, str(key))
        assert settle_doubt(connection, book.tables, doubtful, resend=resend, because="", now=NOW)


def test_an_answer_about_other_bytes_changes_nothing(book: Book, journals: Journals) -> None:
    (key,) = sending(book)
    leave(journals, book, entry(book, key, sha256="cd"))
    assert journals.merge(book.database) == 0
    assert book.row(key).state == M.SENDING


def test_an_answer_of_a_foreign_run_changes_nothing(book: Book, journals: Journals) -> None:
    (key,) = sending(book)
    path = leave(journals, book, entry(book, key, run="another database's"))
    assert journals.merge(book.database) == 0
    assert book.row(key).state == M.SENDING
    assert not path.exists()


def test_an_answer_that_the_ledger_took_in_the_end_is_not_credited_to_the_next_try(
    book: Book, journals: Journals
) -> None:
    first, second = sending(book, 2)
    busy = Settlement(M.DEFERRED, BUSY_AT_DOT, retry_in=SECOND)
    journal = journals.open(book.token)
    journal.add(entry(book, first, busy))
    journal.add(entry(book, second))
    journal.take_back(entry(book, first, busy))
    journal.close(merged=False)
    assert journals.merge(book.database) == 1
    assert [book.row(key).state for key in (first, second)] == [M.SENDING, M.SENT]


# What is in a file.


def test_a_torn_last_line_does_not_count_and_those_before_it_do(
    book: Book, journals: Journals
) -> None:
    first, second = sending(book, 2)
    path = leave(journals, book, entry(book, first), entry(book, second))
    data = path.read_bytes().rstrip(b"\0")
    path.write_bytes(data[:-9] + bytes(9))
    assert journals.merge(book.database) == 1
    assert [book.row(key).state for key in (first, second)] == [M.SENT, M.SENDING]


def test_a_line_that_is_not_what_was_written_does_not_count(book: Book, journals: Journals) -> None:
    first, second = sending(book, 2)
    path = leave(journals, book, entry(book, first))
    data = path.read_bytes()
    changed = data.replace(f'"message": {first}'.encode(), f'"message": {second}'.encode())
    assert changed != data
    path.write_bytes(changed)
    assert journals.merge(book.database) == 0
    assert book.row(second).state == M.SENDING


def test_each_line_is_a_checksum_and_a_json_object(book: Book, journals: Journals) -> None:
    (key,) = sending(book)
    line = leave(journals, book, entry(book, key)).read_bytes().partition(b"\n")[0]
    checksum, _, text = line.partition(b" ")
    assert int(checksum, 16) == zlib.crc32(text)
    assert json.loads(text)["message"] == key


@pytest.mark.parametrize(
    "text", ["Grüße aus Köln, 日本 💌", 'a\r\nb\tc "d" \\ e\x1b[31m\x07', "\ud800 lone"]
)
def test_whatever_a_server_says_comes_back_as_it_was(
    book: Book, journals: Journals, text: str
) -> None:
    (key,) = sending(book)
    refusal = Refusal("zoë@x.test", Reply(550, "5.1.1", text))
    outcome = Outcome(
        Verdict.ACCEPTED, Stage.DOT, Reply(250, "2.0.0", text), queue_id="Q1", refused=(refusal,)
    )
    path = leave(journals, book, entry(book, key, Settlement(M.SENT, outcome)))
    (read,) = journals_module._entries(path.read_bytes())
    assert read == entry(book, key, Settlement(M.SENT, outcome))


def test_a_long_text_is_cut_so_that_every_connections_answer_fits(
    book: Book, journals: Journals
) -> None:
    """1,000 characters of 12 bytes each, the longest that JSON makes of one."""
    (key,) = sending(book)
    outcome = replace(ACCEPTED, reply=Reply(250, "2.0.0", "💌" * 5000))
    path = leave(journals, book, *[entry(book, key, Settlement(M.SENT, outcome))] * 20)
    assert path.stat().st_size == ROOM
    (read,) = journals_module._entries(path.read_bytes())
    assert read.settlement.outcome is not None
    assert read.settlement.outcome.reply == Reply(250, "2.0.0", "💌" * 1000)


def test_the_file_has_its_room_before_anything_is_written(book: Book, journals: Journals) -> None:
    path = leave(journals, book)
    assert path.stat().st_size == ROOM
    assert path.stat().st_blocks * 512 >= ROOM
    assert path.stat().st_mode & 0o777 == 0o600


def test_more_than_the_room_is_still_kept(book: Book, journals: Journals) -> None:
    (key,) = sending(book)
    outcome = replace(ACCEPTED, reply=Reply(250, "2.0.0", "x" * 1000))
    many = ROOM // 1000
    path = leave(journals, book, *[entry(book, key, Settlement(M.SENT, outcome))] * many)
    assert path.stat().st_size > ROOM
    assert journals.merge(book.database) == 1


# Whose file it is.


def test_a_live_workers_file_is_left_alone(book: Book, journals: Journals) -> None:
    (key,) = sending(book)
    journal = journals.open(book.token)
    journal.add(entry(book, key))
    (path,) = journals._files()
    assert journals.merge(book.database) == 0
    assert path.exists()
    assert book.row(key).state == M.SENDING
    journal.close(merged=False)
    assert journals.merge(book.database) == 1


def test_a_worker_that_ends_well_leaves_no_file(book: Book, journals: Journals) -> None:
    journals.open(book.token).close(merged=True)
    assert list(journals._files()) == []


def test_the_journals_of_other_databases_are_not_looked_at(
    book: Book, journals: Journals, tmp_path: Path
) -> None:
    (key,) = sending(book)
    path = leave(journals, book, entry(book, key))
    other = Journals([path.parent], "other.db")
    assert other.merge(book.database) == 0
    assert path.exists()


def at_once(count: int, act: Callable[[int], int]) -> list[int]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(act, range(count)))


def test_several_that_merge_at_once_merge_it_once(book: Book, journals: Journals) -> None:
    for _ in range(10):
        (key,) = sending(book)
        leave(journals, book, entry(book, key))
        assert sum(at_once(4, lambda _: journals.merge(book.database))) == 1
        assert book.row(key).state == M.SENT


def test_a_merge_beside_a_new_worker_never_takes_its_file_away(
    database: Database, tmp_path: Path
) -> None:
    journals = Journals([tmp_path], "busy")
    for token in range(200):
        made: list[Journal] = []

        def open_or_merge(number: int, token: int = token, made: list[Journal] = made) -> int:
            if number == 0:
                made.append(journals.open(token))
                return 0
            return journals.merge(database)

        at_once(3, open_or_merge)
        assert len(list(journals._files())) == 1, "the worker writes into a file without a name"
        made[0].close(merged=True)


# Where the files lie.


def test_beside_an_sqlite_file(sqlite_database: Database, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    Journals.of(sqlite_database, tmp_path / "config").open(7).close(merged=False)
    assert (tmp_path / "msgrun.db.worker-7.journal").exists()


def test_beside_the_configuration_for_postgresql(
    postgresql_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    Journals.of(postgresql_database, tmp_path).open(7).close(merged=False)
    (made,) = tmp_path.glob("msgrun-*.worker-7.journal")
    assert made.is_file()
    assert not (tmp_path / "state").exists()


def test_in_the_state_folder_where_the_configurations_is_not_ours_to_write(
    postgresql_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    book = Book(postgresql_database)
    (key,) = sending(book)
    journals = Journals.of(postgresql_database, unwritable(tmp_path))
    path = leave(journals, book, entry(book, key))
    assert path.parent == tmp_path / "state" / "msgrun"
    assert journals.merge(postgresql_database) == 1
    assert book.row(key).state == M.SENT


def test_where_no_folder_takes_it_nothing_may_be_sent(
    postgresql_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(unwritable(tmp_path)))
    journals = Journals.of(postgresql_database, unwritable(tmp_path))
    with pytest.raises(DatabaseError, match="no journal can be kept") as refused:
        journals.open(7)
    assert "right to write" in refused.value.hint


def unwritable(folder: Path) -> Path:
    """Return a folder that nobody can make a file in, not even root: it is a file."""
    path = folder / "not-a-folder"
    path.touch()
    return path


def test_a_disk_without_room_is_said_and_leaves_no_file(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journals_module.os, "posix_fallocate", full)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    journals = Journals.of(database, tmp_path)
    with pytest.raises(DatabaseError, match="No space left"):
        journals.open(7)
    assert list(journals._files()) == []
