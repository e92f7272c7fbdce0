"""A sender: one connection, one message after the other, each outcome recorded."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from sqlalchemy import Connection

from msgrun.delivery.composing import Ready, Unsendable
from msgrun.delivery.floor import Floor, boot_seconds
from msgrun.delivery.policy import HOPELESS, settlement_of
from msgrun.events import MessageSettled, ServerTrouble
from msgrun.ledger import messages
from msgrun.ledger.messages import Settlement
from msgrun.ledger.rows import Claim
from msgrun.model import Outcome, Verdict
from msgrun.states import MessageState, RunStatus
from msgrun.transport.base import WithheldError


class Sender:
    """Takes composed messages from the floor's queue until it is sent home."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._job = floor.job
        self._tables = floor.job.database.tables
        self._transport = floor.job.transport()

    async def serve(self) -> None:
        """Send what the queue holds; after a halt, give it back unspent."""
        floor = self._floor
        try:
            while (ready := await floor.queue.get()) is not None:
                if floor.halt.is_set():
                    await self._floor.release([ready.claim.id])
                elif isinstance(ready, Unsendable):
                    await self._fail(ready)
                else:
                    await self._attempt(ready)
                floor.claimed -= 1
                floor.stirred.set()
        finally:
            await self._transport.close()

    async def _attempt(self, ready: Ready) -> None:
        """Send one message; aborted before its intent, it is given back."""
        sending = asyncio.create_task(self._send(ready))
        self._floor.unspent.add(sending)
        try:
            await sending
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is None or current.cancelling():
                raise
            await self._transport.close()
            await self._floor.release([ready.claim.id])
        finally:
            self._floor.unspent.discard(sending)

    async def _send(self, ready: Ready) -> None:
        await self._until_due(ready.claim)
        if self._floor.halt.is_set():
            await self._floor.release([ready.claim.id])
            return
        try:
            outcome = await self._transport.send(ready.envelope, ready.message, self._intent(ready))
        except WithheldError:
            await self._floor.release([ready.claim.id])
            return
        if outcome.verdict in (Verdict.SERVER_FAULT, Verdict.IN_DOUBT):
            # A server that takes messages and never answers must not put a whole run in doubt.
            self._trouble(outcome)
        else:
            self._floor.patience.well()
        if self._floor.refusals.note(outcome, ready.envelope.recipients):
            told = f"the same refusal for several recipients in a row: {outcome.reply}"
            self._floor.halt_with(RunStatus.PAUSED, "MR506", told)
        now = datetime.now(UTC)
        settlement = settlement_of(outcome, ready.claim.attempts, now, self._job.randomness)
        if settlement is None:
            await self._floor.release([ready.claim.id])
        else:
            await self._record(ready, settlement)

    async def _until_due(self, claim: Claim) -> None:
        """Wait for the message's permit, and for the server to be tried again."""
        permit = (claim.not_before - datetime.now(UTC)).total_seconds()
        trouble = self._floor.patience.hold_until - time.monotonic()
        if max(permit, trouble) > 0:
            await self._floor.pause(max(permit, trouble), self._floor.halt)

    def _intent(self, ready: Ready) -> Callable[[], Awaitable[bool]]:
        """Return what the transport awaits directly before the final dot."""
        floor, job, message = self._floor, self._job, ready.message

        def work(connection: Connection) -> bool:
            return messages.intend(
                connection,
                self._tables,
                run_id=job.run.id,
                message_id=ready.claim.id,
                token=job.token,
                date=message.date,
                sha256=message.sha256,
                size=len(message.data),
                now=job.database.now(connection),
            )

        async def intent() -> bool:
            task = asyncio.current_task()
            if task is not None:
                floor.unspent.discard(task)
            if floor.halt.is_set():
                return False
            floor.near_dot += 1
            try:
                marked = await floor.write(work)
                return marked and boot_seconds() < floor.lease_over
            finally:
                # The transport writes the dot in the very step in which we return; this runs next.
                asyncio.get_running_loop().call_soon(self._past_dot)

        return intent

    def _past_dot(self) -> None:
        self._floor.near_dot -= 1

    def _trouble(self, outcome: Outcome) -> None:
        """Hold back, or pause the run when waiting does not help."""
        floor = self._floor
        told = f"{outcome.stage}: {outcome.reply or outcome.text}"
        wait = None
        if outcome.finding not in HOPELESS:
            wait = floor.patience.trouble(time.monotonic(), self._job.randomness)
        if wait is None:
            floor.halt_with(RunStatus.PAUSED, outcome.finding or "MR603", told)
        else:
            self._job.listener(ServerTrouble(told, wait))

    async def _fail(self, unsendable: Unsendable) -> None:
        error = unsendable.error
        if error.finding == "MR512":
            self._floor.halt_with(RunStatus.PAUSED, "MR512", error.message)
        settlement = Settlement(
            MessageState.FAILED, reason=error.finding, detail=error.message, counts=False
        )
        await self._record(unsendable, settlement)

    async def _record(self, ready: Ready | Unsendable, settlement: Settlement) -> None:
        job, claim = self._job, ready.claim

        def work(connection: Connection) -> None:
            now = job.database.now(connection)
            settled = messages.settle(
                connection,
                self._tables,
                message_id=claim.id,
                token=job.token,
                settlement=settlement,
                now=now,
            )
            if settled and settlement.to is MessageState.DEFERRED:
                messages.set_deadline(connection, self._tables, claim.id, now + job.deadline)

        await self._floor.write(work)
        outcome = settlement.outcome
        answer = settlement.detail or ""
        if outcome is not None:
            answer = str(outcome.reply or outcome.text)
        job.listener(
            MessageSettled(
                customer=claim.customer,
                recipients=tuple(each.address for each in claim.recipients),
                invoices=ready.invoices,
                state=settlement.to,
                reason=settlement.reason,
                answer=answer,
                due_at=settlement.due_at,
            )
        )
