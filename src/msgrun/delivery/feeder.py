"""The feeder: claims messages, has them composed, and knows when nothing is left."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection

from msgrun.delivery.composing import Composer
from msgrun.delivery.floor import Floor
from msgrun.errors import SourceError
from msgrun.events import WaitingForDeferred
from msgrun.ledger import messages, workers
from msgrun.ledger.rows import Claim
from msgrun.states import MessageState, RunStatus

_LOOK_AGAIN_SECONDS: Final = 1.0


class Feeder:
    """Keeps the senders' queue filled, two messages a connection ahead."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._job = floor.job
        self._tables = floor.job.database.tables

    async def feed(self) -> None:
        """Feed until nothing is left or a halt; then send the senders home."""
        floor = self._floor
        composer = Composer(self._job)
        try:
            while not floor.halt.is_set():
                floor.stirred.clear()
                claims = await self._claim()
                if claims:
                    await self._compose(composer, claims)
                elif not await self._more_may_come():
                    return
        finally:
            composer.close()
            for _ in range(self._job.connections):
                floor.queue.put_nowait(None)

    async def _compose(self, composer: Composer, claims: Sequence[Claim]) -> None:
        """Queue what was composed; when the source itself is broken, pause the run."""
        floor = self._floor
        try:
            composed = await composer.compose(claims)
        except SourceError as error:
            floor.halt_with(RunStatus.PAUSED, "MR006", error.message)
            await floor.release([claim.id for claim in claims])
            floor.claimed -= len(claims)
            return
        for ready in composed:
            floor.queue.put_nowait(ready)

    async def _claim(self) -> Sequence[Claim]:
        job, floor = self._job, self._floor
        ahead = 3 * job.connections
        if floor.claimed > ahead - job.connections:
            return ()

        def work(connection: Connection) -> Sequence[Claim]:
            now = job.database.now(connection)
            messages.wake_deferred(connection, self._tables, job.run.id, now)
            return messages.claim(
                connection,
                self._tables,
                run_id=job.run.id,
                server=job.server,
                token=job.token,
                wanted=ahead - floor.claimed,
                every=job.every,
                now=now,
                lease=workers.LEASE,
            )

        claims = await floor.write(work)
        floor.claimed += len(claims)
        return claims

    async def _more_may_come(self) -> bool:
        """Wait until a claim may find something again; False when nothing is left to do here."""
        floor = self._floor
        if floor.claimed:
            await floor.pause(_LOOK_AGAIN_SECONDS, floor.stirred)
            return True
        pending, deferred, due = await floor.write(self._left)
        if pending:
            await floor.pause(_LOOK_AGAIN_SECONDS, floor.stirred)
            return True
        if due is None:
            return False
        if not self._job.wait:
            floor.ending = (RunStatus.WAITING, "MR505", f"{deferred} deferred")
            return False
        self._job.listener(WaitingForDeferred(due, deferred))
        await floor.pause((due - datetime.now(UTC)).total_seconds(), floor.halt)
        return True

    def _left(self, connection: Connection) -> tuple[int, int, datetime | None]:
        run_id = self._job.run.id
        return (
            messages.count_in(connection, self._tables, run_id, (MessageState.PENDING,)),
            messages.count_in(connection, self._tables, run_id, (MessageState.DEFERRED,)),
            messages.next_due(connection, self._tables, run_id),
        )
