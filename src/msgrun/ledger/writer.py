"""One thread that writes, many writes a commit (group commit).

Own code, because the wait between "committed" and "dot" is what the product stands on.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from msgrun.database import BUSY_SECONDS, Database
from msgrun.errors import DatabaseError
from msgrun.ledger import workers

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - an item of a batch
Work = Callable[[Connection], T]
Batch = Callable[[Connection, Sequence[I]], Sequence[T]]

SILENCE_SECONDS: Final = 2.0 * BUSY_SECONDS
"""How long a database may say nothing: longer than a locked SQLite file is waited for."""

_GROUP: Final = 200
_BREATH_SECONDS: Final = 0.001


class ApartError(Exception):
    """Raised by a batch that cannot tell its items apart: each is written alone then."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """One write: of a batch with its item, or of its own; and who waits for it."""

    work: Callable[..., Any]
    batched: bool
    item: Any
    future: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop


class Writer:
    """Runs pieces of work on one connection; each result is handed out once it is durable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pieces: queue.SimpleQueue[_Piece | None] = queue.SimpleQueue()
        self._waiting: dict[asyncio.Future[Any], float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._serve, name="ledger writer", daemon=True)
        self._thread.start()

    async def submit(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in the next commit and return its result once that commit is durable.

        A write is never cancelled: it happens even when the caller is.

        Raises:
            DatabaseError: the database did not take it, or says nothing any more.
        """
        result: T = await self._put(work, batched=False)
        return result

    def submit_to(self, batch: Batch[I, T], item: I) -> "asyncio.Future[T]":
        """Have `batch` write an item together with all others that the next commit holds.

        Args:
            batch: given all its items of a commit, returns a result for each; raises `ApartError`
                where it can only tell one by one. The same object for items that go together.
            item: is given back to nobody.

        Returns:
            What holds the item's result, or a `DatabaseError`, as for `submit`.
        """
        return self._put(batch, batched=True, item=item)

    def close(self) -> None:
        """Finish what was submitted, as far as the database answers, then end the thread."""
        self._pieces.put(None)
        self._thread.join(SILENCE_SECONDS)
        if self._timer is not None:
            self._timer.cancel()

    # In the event loop.

    def _put(
        self, work: Callable[..., Any], *, batched: bool, item: Any = None
    ) -> "asyncio.Future[Any]":
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiting[future] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(SILENCE_SECONDS, self._listen, loop)
        self._pieces.put(_Piece(work, batched, item, future, loop))
        return future

    def _hand_out(self, group: Sequence[_Piece], results: Sequence[Any]) -> None:
        for piece, result in zip(group, results, strict=True):
            self._waiting.pop(piece.future, None)
            if piece.future.done():
                continue  # nobody waits for it any more
            if isinstance(result, _Failure):
                piece.future.set_exception(result.error)
            else:
                piece.future.set_result(result)

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give up on what the database has not answered for too long."""
        self._timer = None
        for future, since in list(self._waiting.items()):
            left = since + SILENCE_SECONDS - loop.time()
            if left > 0:
                self._timer = loop.call_later(left, self._listen, loop)
                return
            del self._waiting[future]
            if not future.done():
                future.set_exception(self._silent())

    def _silent(self) -> DatabaseError:
        return DatabaseError(
            f"database {self._database.describe()} has said nothing for {SILENCE_SECONDS:g} s "
            "(MR001)",
            "see whether it is reachable, then restart the run",
        )

    # In the writer's thread.

    def _serve(self) -> None:
        open_ = True
        while open_:
            group, open_ = self._next_group()
            try:
                with self._database.connect() as connection:
                    self._bound_transactions(connection)
                    writing = connection.execution_options(begin="write")
                    while group:
                        self._commit(writing, group)
                        if not open_:
                            return
                        if self._database.is_sqlite:
                            # Back-to-back commits starve every other process, but for WAL.
                            time.sleep(_BREATH_SECONDS)
                        group, open_ = self._next_group()
            except Exception as error:  # noqa: BLE001 - handed to those who wait
                self._tell(group, [_Failure(error)] * len(group))

    def _bound_transactions(self, connection: Connection) -> None:
        """Have the server end a transaction in which this process freezes: its rows are locked."""
        if not self._database.is_sqlite:
            # Well within a lease: others who wait for those rows show no sign of life either.
            milliseconds = round(max(workers.LEASE.total_seconds() / 3, 1) * 1000)
            connection.exec_driver_sql(f"SET idle_in_transaction_session_timeout = {milliseconds}")
            connection.commit()

    def _next_group(self) -> tuple[list[_Piece], bool]:
        """Wait for work; return it and whether more may come."""
        piece = self._pieces.get()
        group: list[_Piece] = []
        while piece is not None:
            group.append(piece)
            if len(group) == _GROUP:
                return group, True
            try:
                piece = self._pieces.get_nowait()
            except queue.Empty:
                return group, True
        return group, False

    def _commit(self, connection: Connection, group: list[_Piece]) -> None:
        """Commit a group; when it fails for one piece's sake, commit each alone."""
        try:
            with connection.begin():
                results = _run(connection, group)
        except Exception as error:
            if len(group) == 1 or _concerns_all(connection, error):
                raise
            while group:
                try:
                    self._commit(connection, group[:1])
                except OperationalError:
                    raise  # not for this piece's sake: those behind it would fare no better
                except Exception as alone:  # noqa: BLE001 - handed to the one who waits
                    self._tell(group[:1], [_Failure(self._explained(alone))])
                del group[0]  # so that what fails now is not told to those who have their answer
            return
        self._tell(group, results)

    def _tell(self, group: Sequence[_Piece], results: Sequence[Any]) -> None:
        """Wake the event loop once for a whole group."""
        if group:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                group[0].loop.call_soon_threadsafe(self._hand_out, list(group), list(results))

    def _explained(self, error: Exception) -> Exception:
        if isinstance(error, DBAPIError) and not isinstance(error, IntegrityError):
            return self._database.explain(error)
        return error


@dataclass(frozen=True, slots=True)
class _Failure:
    error: Exception


def _run(connection: Connection, group: Sequence[_Piece]) -> list[Any]:
    """Run a group's pieces, those of one batch together; return their results in order."""
    results: list[Any] = [None] * len(group)
    batches: dict[Callable[..., Any], list[int]] = {}
    for place, piece in enumerate(group):
        if piece.batched:
            batches.setdefault(piece.work, []).append(place)
    for place, piece in enumerate(group):
        if not piece.batched:
            results[place] = piece.work(connection)
        elif (places := batches.pop(piece.work, None)) is not None:
            made = piece.work(connection, [group[each].item for each in places])
            for each, result in zip(places, made, strict=True):
                results[each] = result
    return results


def _concerns_all(connection: Connection, error: Exception) -> bool:
    """Tell whether every piece would meet it: the connection is gone, or SQLite's file is.

    Locked, full or broken, the file would be waited for anew by each piece.
    """
    if not isinstance(error, DBAPIError):
        return False
    of_file = connection.dialect.name == "sqlite" and isinstance(error, OperationalError)
    return error.connection_invalidated or of_file
