"""One thread that writes, many writes a commit (group commit).

Own code, because the wait between "committed" and "dot" is what the product stands on.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from msgrun.database import BUSY_SECONDS, Database
from msgrun.errors import DatabaseError
from msgrun.ledger import workers

T = TypeVar("T")
Work = Callable[[Connection], Any]
Job = tuple[Work, "Future[Any]"]

SILENCE_SECONDS: Final = 2.0 * BUSY_SECONDS
"""How long a database may say nothing: longer than a locked SQLite file is waited for."""

_GROUP: Final = 200
_BREATH_SECONDS: Final = 0.001


class Writer:
    """Runs pieces of work on one connection; each result is handed out once it is durable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="ledger writer", daemon=True)
        self._thread.start()

    async def submit(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in the next commit and return its result once that commit is durable.

        A write is never cancelled: it happens even when the caller is.

        Raises:
            DatabaseError: the database did not take it, or says nothing any more.
        """
        future: Future[T] = Future()
        self._jobs.put((work, future))
        durable = asyncio.shield(asyncio.wrap_future(future))
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                return await durable
        except TimeoutError:
            durable.add_done_callback(_hear)
            raise DatabaseError(
                f"database {self._database.describe()} has said nothing for "
                f"{SILENCE_SECONDS:g} s (MR001)",
                "see whether it is reachable, then restart the run",
            ) from None

    def close(self) -> None:
        """Finish what was submitted, as far as the database answers, then end the thread."""
        self._jobs.put(None)
        self._thread.join(SILENCE_SECONDS)

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
                _fail(group, error)

    def _bound_transactions(self, connection: Connection) -> None:
        """Have the server end a transaction in which this process freezes: its rows are locked."""
        if not self._database.is_sqlite:
            # Well within a lease: others who wait for those rows show no sign of life either.
            milliseconds = round(max(workers.LEASE.total_seconds() / 3, 1) * 1000)
            connection.exec_driver_sql(f"SET idle_in_transaction_session_timeout = {milliseconds}")
            connection.commit()

    def _next_group(self) -> tuple[list[Job], bool]:
        """Wait for work; return it and whether more may come."""
        job = self._jobs.get()
        group: list[Job] = []
        while job is not None:
            group.append(job)
            if len(group) == _GROUP:
                return group, True
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return group, True
        return group, False

    def _commit(self, connection: Connection, group: list[Job]) -> None:
        """Commit a group; when it fails for one piece's sake, commit each alone."""
        try:
            with connection.begin():
                results = [work(connection) for work, _ in group]
        except Exception as error:
            if len(group) == 1 or _concerns_all(connection, error):
                raise
            for job in group:
                try:
                    self._commit(connection, [job])
                except OperationalError:
                    raise  # not for this piece's sake: those behind it would fare no better
                except Exception as alone:  # noqa: BLE001 - handed to the one who waits
                    _fail([job], self._explained(alone))
            return
        for (_, future), result in zip(group, results, strict=True):
            future.set_result(result)

    def _explained(self, error: Exception) -> Exception:
        if isinstance(error, DBAPIError) and not isinstance(error, IntegrityError):
            return self._database.explain(error)
        return error


def _concerns_all(connection: Connection, error: Exception) -> bool:
    """Tell whether every piece would meet it: the connection is gone, or SQLite's file is.

    Locked, full or broken, the file would be waited for anew by each piece.
    """
    if not isinstance(error, DBAPIError):
        return False
    of_file = connection.dialect.name == "sqlite" and isinstance(error, OperationalError)
    return error.connection_invalidated or of_file


def _hear(late: "asyncio.Future[Any]") -> None:
    """Take note of what comes after nobody waits for it any more."""
    if not late.cancelled():
        late.exception()


def _fail(group: list[Job], error: Exception) -> None:
    for _, future in group:
        if not future.done():
            future.set_exception(error)
