"""A sender: one connection, one message after the other, each outcome recorded."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence

from msgrun.clock import boot_seconds
from msgrun.compose.mime import mailbox
from msgrun.delivery.composing import Ready, Unsendable
from msgrun.delivery.floor import Floor
from msgrun.delivery.policy import DOUBT_WEIGHS, HOPELESS, is_quota, remedy_of, settlement_of
from msgrun.delivery.record import Recorder
from msgrun.errors import DatabaseError
from msgrun.events import ServerTrouble
from msgrun.failpoints import reach
from msgrun.ledger.settling import Settlement
from msgrun.model import Address, Envelope, Outcome, Verdict
from msgrun.states import MessageState, RunStatus
from msgrun.transport.base import WithheldError


class Sender:
    """Takes composed messages from the floor's queue until it is sent home."""

    def __init__(self, floor: Floor, recorder: Recorder) -> None:
        self._floor = floor
        self._job = floor.job
        self._transport = floor.job.transport()
        self._recorder = recorder
        self._behind: asyncio.Future[None] | None = None

    async def serve(self) -> None:
        """Send what the queue holds; after a halt, give it back unspent."""
        floor = self._floor
        try:
            while (ready := await floor.queue.get()) is not None:
                recorded_behind = False
                try:
                    recorded_behind = await self._take(ready)
                except Exception as error:  # noqa: BLE001 - raised when the others have ended
                    floor.fail(error)
                if not recorded_behind:
                    floor.let_go(ready.claim.id)
            await self._recorded()
        finally:
            await self._transport.close()

    async def _take(self, ready: Ready | Unsendable) -> bool:
        """Do what is to be done with a message; True: it is let go once that is recorded."""
        if self._floor.halt.is_set():
            await self._floor.release([ready.claim.id])
        elif isinstance(ready, Unsendable):
            await self._fail(ready)
        else:
            return await self._attempt(ready)
        return False

    async def _attempt(self, ready: Ready) -> bool:
        """Send one message; aborted before its intent, it is given back."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a sender is a task")
        self._floor.unspent.add(task)
        try:
            return await self._send(ready)
        except asyncio.CancelledError:
            if task not in self._floor.aborted or task.uncancel():
                raise
            self._floor.aborted.discard(task)
            await self._transport.close()
            await self._floor.release([ready.claim.id])
            return False
        finally:
            self._floor.unspent.discard(task)

    async def _send(self, ready: Ready) -> bool:
        await self._until_due(ready)
        if self._floor.halt.is_set():
            await self._floor.release([ready.claim.id])
            return False
        try:
            outcome = await self._transport.send(ready.envelope, ready.message, self._intent(ready))
        except WithheldError:
            await self._withheld(ready)
        except DatabaseError as error:
            # The intent's COMMIT failed or is in doubt; the transport has dropped the connection.
            await self._recorder.not_sent(ready, error)
        else:
            return await self._judge(ready, outcome)
        return False

    async def _judge(self, ready: Ready, outcome: Outcome) -> bool:
        """Let the outcome count for the server, and record it; an acceptance behind our back."""
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
            # Its next message goes as far as its intent meanwhile.
            self._behind = self._recorder.accept(ready, settlement)
            return True
        else:
            await self._recorder.record(ready, settlement)
        if closes:
            # Only now: a definite answer is not lost when the database takes nothing more.
            await self._close_server(outcome)
        return False

    async def _recorded(self) -> None:
        """Wait until the message before is recorded; where it cannot be, `Floor.error` is set."""
        if self._behind is not None:
            if not self._behind.done():
                await asyncio.wait([self._behind])  # it is not cancelled with us
            self._behind = None

    async def _until_due(self, ready: Ready) -> None:
        """Wait for the message's permit, and for the server to be tried again."""
        floor = self._floor
        due = max(floor.held[ready.claim.id], floor.patience.hold_until)
        if due > boot_seconds():
            await floor.pause(due - boot_seconds(), floor.halt)

    def _intent(self, ready: Ready) -> Callable[[], Awaitable[bool]]:
        """Return what the transport awaits directly before the final dot."""
        floor, job = self._floor, self._job

        async def intent() -> bool:
            reach("body.written")
            task = asyncio.current_task()
            if task is not None:
                floor.unspent.discard(task)
            if floor.halt.is_set() or leak_in(ready, job.run.selection.redirect_to):
                return False
            floor.near_dot += 1
            try:
                marked = await self._recorder.intend(ready)
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
    if not _goes_to(ready.envelope, to):
        return f"message {claim.id} was about to leave to other recipients than planned"
    if message.message_id != claim.message_id:
        return f"message {claim.id} was about to leave with another message's bytes"
    if hashlib.sha256(message.data).hexdigest() != message.sha256:
        return f"message {claim.id} was about to leave with other bytes than were composed"
    return ""


def _goes_to(envelope: Envelope, to: Sequence[Address]) -> bool:
    recipients = set(envelope.recipients)
    if recipients == {each.address for each in to}:
        return True
    return recipients == {mailbox(each).address for each in to}


def _with_remedy(told: str, outcome: Outcome) -> str:
    remedy = remedy_of(outcome)
    return f"{told.rstrip('.')}. {remedy}" if remedy else told
