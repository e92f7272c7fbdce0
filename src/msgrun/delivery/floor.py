"""What feeder, senders and watch of one worker share."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

from sqlalchemy import Connection

from msgrun.clock import boot_seconds
from msgrun.delivery.composing import Ready, Unsendable
from msgrun.delivery.job import Job
from msgrun.delivery.policy import Patience, Refusals
from msgrun.errors import DatabaseError, MsgrunError
from msgrun.events import Stopping
from msgrun.ledger import messages
from msgrun.ledger.writer import Writer
from msgrun.states import RunStatus

T = TypeVar("T")


DATABASE_PATIENCE: Final = 10.0
"""Seconds in which a database that went away may come back, before sending stops."""

_DATABASE_RETRY_SECONDS: Final = 0.2


class Floor:
    """The shared state of one worker; touched by the event loop's thread alone.

    Attributes:
        queue: composed messages on their way to a sender; None sends one sender home.
        halt: set when nothing new may start.
        stirred: set when more may be claimed, or the halt came.
        ending: status, reason and detail that the run is left with; None: finished.
        error: why the run cannot go on (the ledger cannot be written any more); it is left as
            it is then.
        held: messages claimed and neither settled nor released; with each, when the rate lets it
            leave, on `boot_seconds`.
        enough: so many held messages are enough: above it, nobody claims more.
        intents_lost: intents in a row that the database did not take.
        near_dot: connections between intent and dot.
        unspent: senders whose message has not come to its intent.
        aborted: senders that were told to drop such a message.
        lease_over: on `boot_seconds`, when our claims are no longer ours.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.writer = Writer(job.database)
        self.queue: asyncio.Queue[Ready | Unsendable | None] = asyncio.Queue()
        self.halt = asyncio.Event()
        self.stirred = asyncio.Event()
        self.ending: tuple[RunStatus, str | None, str | None] | None = None
        self.error: Exception | None = None
        self.patience = Patience()
        self.refusals = Refusals()
        self.held: dict[int, float] = {}
        self.enough = 0
        self.intents_lost = 0
        self.near_dot = 0
        self.unspent: set[asyncio.Task[Any]] = set()
        self.aborted: set[asyncio.Task[Any]] = set()
        self.lease_over = 0.0

    def halt_with(self, status: RunStatus, reason: str | None, detail: str) -> None:
        """Start nothing new; the first reason to halt is the one that is kept."""
        if self.ending is None:
            self.ending = (status, reason, detail)
            self.halt.set()
            self.stirred.set()
            self.job.listener(Stopping(detail))

    def fail(self, error: Exception) -> None:
        """Stop sending because the ledger cannot be written; what has left is still waited for.

        So it is for a fault of the program: raised at once, it would put every message in
        doubt whose answer is on its way.
        """
        if self.error is None:
            self.error = error
        told = error.message if isinstance(error, MsgrunError) else f"a fault: {error!r}"
        self.halt_with(RunStatus.STOPPED, None, told)

    async def write(
        self, work: Callable[[Connection], T], patience: float = DATABASE_PATIENCE
    ) -> T:
        """Run a ledger write (see `Writer.submit`) until the database takes it.

        Args:
            work: is made again when the database went away or its COMMIT is in doubt.
            patience: seconds in which it is; 0 to learn of the first trouble.

        Raises:
            DatabaseError: it did not take it in time.
        """
        return await self.patiently(lambda: self.writer.submit(work), patience)

    async def patiently(
        self, use: Callable[[], Awaitable[T]], patience: float = DATABASE_PATIENCE
    ) -> T:
        """Use the database once more for as long as it is away, but not past `patience` seconds.

        Raises:
            DatabaseError: it did not come back in time.
        """
        until = boot_seconds() + patience
        while True:
            try:
                return await use()
            except DatabaseError:
                if boot_seconds() >= until or self.error is not None:
                    raise
                await asyncio.sleep(_DATABASE_RETRY_SECONDS)

    async def release(self, message_ids: Sequence[int]) -> None:
        """Give messages back unspent; the caller vouches that none of their dots has left.

        Raises:
            DatabaseError: the ledger does not take it; the next start gives them back.
        """
        if isinstance(self.error, DatabaseError):
            raise self.error  # each try may wait for as long as a locked database is waited for
        job = self.job

        def work(connection: Connection) -> None:
            messages.release(
                connection,
                job.database.tables,
                token=job.token,
                now=job.database.now(connection),
                message_ids=message_ids,
            )

        await self.write(work)

    def let_go(self, message_id: int) -> None:
        """Note that a message was settled or released."""
        self.held.pop(message_id, None)
        if len(self.held) <= self.enough:
            self.stirred.set()

    async def pause(self, seconds: float, until: asyncio.Event) -> None:
        """Wait for an event, at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0.01)):
                await until.wait()
