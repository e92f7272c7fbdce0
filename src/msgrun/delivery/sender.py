"""A sender: one connection, one message after the other, each outcome recorded."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable

from sqlalchemy import Connection

from msgrun.clock import boot_seconds
from msgrun.compose.mime import mailbox
from msgrun.delivery.composing import Ready, Unsendable
from msgrun.delivery.floor import Floor
from msgrun.delivery.policy import DOUBT_WEIGHS, HOPELESS, is_quota, remedy_of, settlement_of
from msgrun.delivery.record import Recorder
from msgrun.errors import DatabaseError
from msgrun.events import ServerTrouble
from msgrun.failpoints import reach
from msgrun.ledger import messages
from msgrun.ledger.context import context_json
from msgrun.ledger.settling import Settlement
from msgrun.model import Address, Outcome, Verdict
from msgrun.states import MessageState, RunStatus
from msgrun.transport.base import WithheldError


class Sender:
    """Takes composed messages from the floor's queue until it is sent home."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._job = floor.job
        self._tables = floor.job.database.tables
        self._transport = floor.job.transport()
        self._recorder = Recorder(floor)
        self._behind: tuple[int, asyncio.Task[None]] | None = None

    async def serve(self) -> None:
        """Send what the queue holds; after a halt, give it back unspent."""
        floor = self._floor
        try:
            while (ready := await floor.queue.get()) is not None:
                try:
                    await self._take(ready)
                except Exception as error:  # noqa: BLE001 - raised when the others have ended
                    floor.fail(error)
                if self._behind is None or self._behind[0] != ready.claim.id:
                    floor.let_go(ready.claim.id)
            await self._recorded()
        finally:
            await self._transport.close()

    async def _take(self, ready: Ready | Unsendable) -> None:
        if self._floor.halt.is_set():
            await self._floor.release([ready.claim.id])
        elif isinstance(ready, Unsendable):
            await self._fail(ready)
        else:
            await self._attempt(ready)

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
        await self._until_due(ready)
        if self._floor.halt.is_set():
            await self._floor.release([ready.claim.id])
            return
        try:
            outcome = await self._transport.send(ready.envelope, ready.message, self._intent(ready))
        except WithheldError:
            await self._withheld(ready)
        except DatabaseError as error:
            # The intent's COMMIT failed or is in doubt; the transport has dropped the connection.
            await self._recorder.not_sent(ready, error)
        else:
            await self._judge(ready, outcome)

    async def _judge(self, ready: Ready, outcome: Outcome) -> None:
        """Let the outcome count for the server, and record it for the message."""
        reach("answer.received")
        closes = is_quota(outcome)
        if outcome.verdict in (Verdict.SERVER_FAULT, Verdict.IN_DOUBT):
            # A server that takes messages and never answers must not put a whole run in doubt.
            if not closes:
                self._trouble(outcome)
        else:
            self._floor.patience.well()
        if self._floor.refusals.note(outcome, ready.envelope.recipients):
            told = f"the same refusal for several recipients in a row: {outcome.reply}"
            self._floor.halt_with(RunStatus.PAUSED, "MR506", _with_remedy(told, outcome))
        settlement = settlement_of(outcome, ready.claim.attempts, self._job.randomness)
        if settlement is None:
            await self._floor.release([ready.claim.id])
        elif settlement.to is MessageState.SENT:
            await self._recorded()
            self._behind = ready.claim.id, asyncio.create_task(self._record(ready, settlement))
        else:
            await self._recorder.record(ready, settlement)
        if closes:
            # Only now: a definite answer is not lost when the database takes nothing more.
            await self._close_server(outcome)

    async def _record(self, ready: Ready, settlement: Settlement) -> None:
        """Record an acceptance while the next message goes as far as its intent."""
        try:
            await self._recorder.record(ready, settlement)
        except Exception as error:  # noqa: BLE001 - raised when the others have ended
            self._floor.fail(error)
        finally:
            self._floor.let_go(ready.claim.id)

    async def _recorded(self) -> None:
        """Wait until the message before is recorded; where it cannot be, `Floor.error` is set."""
        if self._behind is not None:
            _, recording = self._behind
            await asyncio.wait([recording])  # it is not cancelled with us
            self._behind = None

    async def _until_due(self, ready: Ready) -> None:
        """Wait for the message's permit, and for the server to be tried again."""
        floor = self._floor
        due = max(floor.leaves_at[ready.claim.id], floor.patience.hold_until)
        if due > boot_seconds():
            await floor.pause(due - boot_seconds(), floor.halt)

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
                context=context_json(ready.context),
                now=job.database.now_of_group(connection),
            )

        async def intent() -> bool:
            reach("body.written")
            task = asyncio.current_task()
            if task is not None:
                floor.unspent.discard(task)
            if floor.halt.is_set() or leak_in(ready, job.run.selection.redirect_to):
                return False
            floor.near_dot += 1
            try:
                marked = await floor.write(work, patience=0)
                floor.intents_lost = 0
                # No second dot of this connection while the answer to the first is not durable.
                await self._recorded()
                reach("intent.committed")
                return marked and floor.error is None and boot_seconds() < floor.lease_over
            finally:
                # The transport writes the dot in the very step in which we return; this runs next.
                asyncio.get_running_loop().call_soon(self._past_dot)

        return intent

    def _past_dot(self) -> None:
        self._floor.near_dot -= 1

    async def _withheld(self, ready: Ready) -> None:
        """Give back what must not leave; what is not as it was planned fails, and pauses all."""
        leak = leak_in(ready, self._job.run.selection.redirect_to)
        if not leak:
            await self._floor.release([ready.claim.id])
            return
        self._floor.halt_with(RunStatus.PAUSED, "MR512", leak)
        failed = Settlement(MessageState.FAILED, reason="MR512", detail=leak, counts=False)
        await self._recorder.record(ready, failed)

    async def _close_server(self, outcome: Outcome) -> None:
        """Pause the run, and leave the server alone until its quota is fresh."""
        until = await self._recorder.close_server()
        told = _with_remedy(f"{outcome.stage}: {outcome.reply or outcome.text}", outcome)
        told += f" The quota is taken to be used up until {until:%Y-%m-%d %H:%M} UTC."
        self._floor.halt_with(RunStatus.PAUSED, outcome.finding, told)

    def _trouble(self, outcome: Outcome) -> None:
        """Hold back, or pause the run when waiting does not help."""
        floor = self._floor
        told = _with_remedy(f"{outcome.stage}: {outcome.reply or outcome.text}", outcome)
        wait = None
        temporary = outcome.reply is not None and outcome.reply.code < 500
        if temporary or outcome.finding not in HOPELESS:
            weight = DOUBT_WEIGHS if outcome.verdict is Verdict.IN_DOUBT else 1
            wait = floor.patience.trouble(boot_seconds(), self._job.randomness, weight)
        if wait is None:
            floor.halt_with(RunStatus.PAUSED, outcome.finding or "MR603", told)
        else:
            self._job.listener(ServerTrouble(told, wait))

    async def _fail(self, unsendable: Unsendable) -> None:
        """Write down that a message cannot be composed; a resend goes back in doubt."""
        error = unsendable.error
        if error.finding == "MR512":
            self._floor.halt_with(RunStatus.PAUSED, "MR512", error.message)
        to, reason = MessageState.FAILED, error.finding
        if unsendable.claim.resend is not None:
            to, reason = MessageState.IN_DOUBT, "MR507"
        settlement = Settlement(to, reason=reason, detail=error.message, counts=False)
        await self._recorder.record(unsendable, settlement)


def leak_in(ready: Ready, redirect_to: str | None) -> str:
    """Say what is about to leave otherwise than it was planned and composed; "" for nothing."""
    claim, message = ready.claim, ready.message
    to = (Address(redirect_to),) if redirect_to else claim.recipients
    if set(ready.envelope.recipients) != {mailbox(each).address for each in to}:
        return f"message {claim.id} was about to leave to other recipients than planned"
    if message.message_id != claim.message_id:
        return f"message {claim.id} was about to leave with another message's bytes"
    if hashlib.sha256(message.data).hexdigest() != message.sha256:
        return f"message {claim.id} was about to leave with other bytes than were composed"
    return ""


def _with_remedy(told: str, outcome: Outcome) -> str:
    remedy = remedy_of(outcome)
    return f"{told.rstrip('.')}. {remedy}" if remedy else told
