"""Answers that the database could not take, kept on the host that heard them.

Own code, because nothing else may stand between a server's 250 and a disk. Each worker has
one file, held by a kernel lock for as long as it lives and made before the first message
leaves, with room in it, so that a full disk still takes what is written later. Each line is
a checksum and a JSON object; a line that was cut off by a crash does not count. The next
start merges the files of dead workers before it does anything else.
"""

import errno
import fcntl
import glob
import hashlib
import json
import os
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, select

from msgrun.database import Database
from msgrun.errors import DatabaseError
from msgrun.failpoints import reach
from msgrun.ledger.rows import refusals_json, refusals_of
from msgrun.ledger.runs import add_event
from msgrun.ledger.settling import Settlement, credit
from msgrun.model import Outcome, Reply, Stage, Verdict
from msgrun.states import UNSENT, MessageState, RunStatus

ROOM: Final = 256 * 1024
"""Bytes set aside in each file."""

_TRIES: Final = 50
_TRY_AGAIN_SECONDS: Final = 0.05

LONGEST_TEXT: Final = 1000
"""Characters of a reply that are kept here, so that every open connection's answer fits."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one message although the ledger does not say it.

    Attributes:
        run: uid of its run: a journal is never merged into another database.
        message: its row.
        token: of the worker that sent it.
        sha256: of the bytes that the answer is about.
        settlement: to sent, deferred or rejected; to pending where the dot was not written.
        at: when the answer came, by the host's clock.
    """

    run: str
    message: int
    token: int
    sha256: str
    settlement: Settlement
    at: datetime


class Journal:
    """One worker's file.

    Args:
        path: made here, and locked.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = _open_locked(path)
        self._end = 0
        try:
            os.posix_fallocate(self._handle, 0, ROOM)
            os.fsync(self._handle)
        except OSError:
            self.close(merged=True)
            raise
        _sync_folder(path.parent)

    def add(self, entry: Entry) -> None:
        """Keep an entry; it is on the disk when this returns.

        Raises:
            OSError: the disk does not take it.
        """
        self._write(_line(entry))
        reach("journal.written")

    def take_back(self, entry: Entry) -> None:
        """Note that the ledger has an entry after all: later tries must not be settled by it.

        Raises:
            OSError: the disk does not take it.
        """
        self._write(_checked({"message": entry.message, "taken_back": True}))

    def _write(self, line: bytes) -> None:
        os.pwrite(self._handle, line, self._end)
        os.fsync(self._handle)
        self._end += len(line)

    def close(self, *, merged: bool) -> None:
        """Let the file go; where the ledger has all of it, it is removed."""
        if merged:
            self._path.unlink(missing_ok=True)
        os.close(self._handle)


class Journals:
    """The journals of one database on this host.

    Args:
        folders: where they may lie, the preferred one first.
        stem: what the names of this database's files begin with.
    """

    def __init__(self, folders: Sequence[Path], stem: str) -> None:
        self._folders = folders
        self._stem = stem

    @classmethod
    def of(cls, database: Database, beside: Path) -> "Journals":
        """Return those of a database: beside an SQLite file, else beside the configuration.

        Where that folder is not ours to write, they lie in the user's state folder.
        """
        if database.is_sqlite:
            return cls((database.path.parent,), database.path.name)
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "msgrun"
        digest = hashlib.sha256(database.describe().encode()).hexdigest()[:12]
        return cls((beside, state), f"msgrun-{digest}")

    def open(self, token: int) -> Journal:
        """Make the journal of a new worker.

        Raises:
            DatabaseError: no folder takes it: nothing may be sent then.
        """
        failed: list[str] = []
        for folder in self._folders:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                return Journal(folder / f"{self._stem}.worker-{token}.journal")
            except OSError as error:
                failed.append(f"{folder}: {error.strerror or error}")
        raise DatabaseError(
            f"no journal can be kept for answers that the database does not take "
            f"({'; '.join(failed)})",
            "give this user the right to write that folder, or free disk space",
        )

    def merge(self, database: Database) -> int:
        """Bring what dead workers left into the ledger; return how many answers it took.

        Raises:
            DatabaseError: it does not take them; the files stay.
        """
        return sum(self._merge_file(database, path) for path in self._files())

    def _files(self) -> Iterator[Path]:
        for folder in self._folders:
            yield from sorted(folder.glob(f"{glob.escape(self._stem)}.worker-*.journal"))

    def _merge_file(self, database: Database, path: Path) -> int:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except (FileNotFoundError, PermissionError):
            return 0  # another process was quicker; or it is another user's, who will merge it
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_removed(handle):
                return 0  # another process was quicker
            entries = _entries(os.pread(handle, os.fstat(handle).st_size, 0))
            merged = 0
            if entries:
                with database.write() as connection:
                    merged = sum(_merge(connection, database, entry) for entry in entries)
            path.unlink(missing_ok=True)
            return merged
        except BlockingIOError:
            return 0  # its worker lives
        finally:
            os.close(handle)


def _open_locked(path: Path) -> int:
    """Make and lock a file; once more where a merge took it for a dead worker's meanwhile.

    Raises:
        OSError: it cannot be made, or another process keeps it.
    """
    for _ in range(_TRIES):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            time.sleep(_TRY_AGAIN_SECONDS)
            continue
        if not _is_removed(handle):
            return handle
        os.close(handle)
    raise BlockingIOError(errno.EAGAIN, "another process keeps the journal locked", str(path))


def _is_removed(handle: int) -> bool:
    return os.fstat(handle).st_nlink == 0


def _merge(connection: Connection, database: Database, entry: Entry) -> bool:
    tables = database.tables
    row = connection.execute(
        select(tables.run.c.id, tables.run.c.status).where(tables.run.c.uid == entry.run)
    ).one_or_none()
    if row is None:
        return False
    run_id, status = row
    if status == RunStatus.CANCELLED and entry.settlement.to in UNSENT:
        return False  # nobody would send it, and it would keep its invoice
    credited = credit(
        connection,
        tables,
        message_id=entry.message,
        token=entry.token,
        sha256=entry.sha256,
        settlement=entry.settlement,
        now=entry.at,
    )
    if credited:
        told = f"message {entry.message} {entry.settlement.to}, from the journal"
        add_event(connection, tables, run_id, "journal", database.now(connection), told)
    return credited


def _line(entry: Entry) -> bytes:
    settlement, outcome = entry.settlement, entry.settlement.outcome
    content: dict[str, Any] = {
        "run": entry.run,
        "message": entry.message,
        "token": entry.token,
        "sha256": entry.sha256,
        "at": entry.at.isoformat(),
        "to": settlement.to,
        "reason": settlement.reason,
        "retry_in": _seconds(settlement.retry_in),
        "give_up_in": _seconds(settlement.give_up_in),
        "counts": settlement.counts,
    }
    if outcome is not None:
        reply = outcome.reply
        content["outcome"] = {
            "verdict": outcome.verdict,
            "stage": outcome.stage,
            "reply": [reply.code, reply.enhanced, reply.text[:LONGEST_TEXT]] if reply else None,
            "text": outcome.text[:LONGEST_TEXT],
            "queue_id": outcome.queue_id,
            "refused": refusals_json(outcome.refused),
            "refused_bcc": refusals_json(outcome.refused_bcc),
        }
    return _checked(content)


def _checked(content: dict[str, Any]) -> bytes:
    text = json.dumps(content).encode("ascii")
    return b"%08x " % zlib.crc32(text) + text + b"\n"


def _entries(data: bytes) -> Sequence[Entry]:
    """Read a file's lines up to the first that is not whole; the last word on each message."""
    entries: dict[int, Entry] = {}
    for line in data.split(b"\n"):
        checksum, _, text = line.partition(b" ")
        if checksum != b"%08x" % zlib.crc32(text):
            break
        content = json.loads(text)
        entries.pop(content["message"], None)
        if "taken_back" in content:
            continue
        entries[content["message"]] = Entry(
            content["run"],
            content["message"],
            content["token"],
            content["sha256"],
            _settlement(content),
            datetime.fromisoformat(content["at"]).astimezone(UTC),
        )
    return list(entries.values())


def _settlement(content: dict[str, Any]) -> Settlement:
    told = content.get("outcome")
    outcome = None
    if told is not None:
        outcome = Outcome(
            Verdict(told["verdict"]),
            Stage(told["stage"]),
            Reply(*told["reply"]) if told["reply"] else None,
            text=told["text"],
            queue_id=told["queue_id"],
            refused=refusals_of(told["refused"]),
            refused_bcc=refusals_of(told["refused_bcc"]),
        )
    return Settlement(
        MessageState(content["to"]),
        outcome,
        reason=content["reason"],
        retry_in=_span(content["retry_in"]),
        give_up_in=_span(content["give_up_in"]),
        counts=content["counts"],
    )


def _seconds(span: timedelta | None) -> float | None:
    return None if span is None else span.total_seconds()


def _span(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


def _sync_folder(folder: Path) -> None:
    """Make sure that the file's name is on the disk too."""
    with suppress(OSError):  # some file systems cannot sync a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
