"""The journal's file: found under any name, never lost to a merge that is under way."""

import fcntl
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from msgrun.database import Database
from msgrun.ledger import journal as module
from msgrun.ledger.journal import Entry, Journals
from msgrun.ledger.settling import Settlement
from msgrun.states import MessageState

_NOW = datetime(2026, 11, 3, tzinfo=UTC)
_ENTRY = Entry("another run", 1, 1, "00", Settlement(MessageState.PENDING, counts=False), _NOW)


def _journals(database: Database) -> Journals:
    return Journals.of(database, database.path.parent)


def test_a_journal_is_found_whatever_the_database_is_called(
    sqlite_database: Database, tmp_path: Path
) -> None:
    odd = tmp_path / "bill[1]*.db"
    shutil.copyfile(sqlite_database.path, odd)
    database = Database(f"sqlite:///{odd}")
    _journals(database).open(1).close(merged=False)
    _journals(database).merge(database)
    assert list(tmp_path.glob("*.journal")) == []


def test_a_journal_that_another_process_merges_first_is_no_trouble(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = _journals(sqlite_database).open(1)
    journal.add(_ENTRY)
    journal.close(merged=False)
    flock = fcntl.flock

    def late(handle: int, how: int) -> None:
        monkeypatch.setattr(module.fcntl, "flock", flock)
        _journals(sqlite_database).merge(sqlite_database)
        flock(handle, how)

    monkeypatch.setattr(module.fcntl, "flock", late)
    assert _journals(sqlite_database).merge(sqlite_database) == 0


def test_a_journal_just_made_is_not_taken_for_a_dead_workers(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock

    def late(handle: int, how: int) -> None:
        monkeypatch.setattr(module.fcntl, "flock", flock)
        _journals(sqlite_database).merge(sqlite_database)
        flock(handle, how)

    monkeypatch.setattr(module.fcntl, "flock", late)
    journal = _journals(sqlite_database).open(1)
    journal.add(_ENTRY)
    journal.close(merged=False)
    assert len(list(sqlite_database.path.parent.glob("*.journal"))) == 1


def test_a_journal_of_another_user_is_left_to_them(sqlite_database: Database) -> None:
    _journals(sqlite_database).open(1).close(merged=False)
    (path,) = sqlite_database.path.parent.glob("*.journal")
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path.chmod(0)
    assert _journals(sqlite_database).merge(sqlite_database) == 0
    assert path.exists()
