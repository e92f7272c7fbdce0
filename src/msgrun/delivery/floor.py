"""What feeder, senders and watch of one worker share."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import Connection

from msgrun.delivery.composing import Ready, Unsendable
from msgrun.delivery.job import Job
from msgrun.delivery.policy import Patience, Refusals
from msgrun.events import Stopping
from msgrun.ledger import messages, workers
from msgrun.ledger.writer import Writer
from msgrun.states import RunStatus

T = TypeVar("T")


def boot_seconds() -> float:
    """Return a clock that goes on while the machine sleeps, for leases."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Floor:
    """The shared state of one worker; touched by the event loop's thread alone.

    Attributes:
        queue: composed messages on their way to a sender; None sends one sender home.
        halt: set when nothing new may start.
        stirred: set whenever a message was settled, or the halt came.
        ending: status, reason and detail that the run is left with; None: finished.
        claimed: messages held and neither settled nor released.
        near_dot: connections between intent and dot.
        unspent: sending tasks that have not come to their intent.
        lease_over: on `boot_seconds`, when our claims are no longer ours.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.writer = Writer(job.database)
        self.queue: asyncio.Queue[Ready | Unsendable | None] = asyncio.Queue()
        self.halt = asyncio.Event()
        self.stirred = asyncio.Event()
        self.ending: tuple[RunStatus, str | None, str | None] | None = None
        self.patience = Patience()
        self.refusals = Refusals()
        self.claimed = 0
        self.near_dot = 0
        self.unspent: set[asyncio.Task[None]] = set()
        self.lease_over = boot_seconds() + workers.LEASE.total_seconds()

    def halt_with(self, status: RunStatus, reason: str | None, detail: str) -> None:
        """Start nothing new; the first reason to halt is the one that is kept."""
        if self.ending is None:
            self.ending = (status, reason, detail)
            self.halt.set()
            self.stirred.set()
            self.job.listener(Stopping(detail))

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run a ledger write; see `Writer.submit`."""
        return await self.writer.submit(work)

    async def release(self, message_ids: Sequence[int]) -> None:
        """Give messages back unspent; the caller vouches that none of their dots has left."""
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

    async def pause(self, seconds: float, until: asyncio.Event) -> None:
        """Wait for an event, at most so long."""
        try:
            await asyncio.wait_for(until.wait(), max(seconds, 0.01))
        except TimeoutError:
            return
