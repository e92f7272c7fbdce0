"""A public fake: messages stay in memory, outcomes are scripted."""

from collections import deque
from collections.abc import Mapping, Sequence

from msgrun.model import ComposedMessage, Envelope, Outcome, Reply, Stage, Verdict
from msgrun.transport.base import Intent, WithheldError


class MemoryTransport:
    """Keeps messages in memory; see `Transport`, whose promises these are.

    Args:
        outcomes: what happens to messages for an address: the outcomes of the
            successive tries, after which messages are accepted. An outcome at the dot
            comes after the intent, any other one before it.

    Attributes:
        delivered: what was accepted, in order.
    """

    def __init__(self, outcomes: Mapping[str, Sequence[Outcome]] | None = None) -> None:
        self.delivered: list[tuple[Envelope, ComposedMessage]] = []
        self._scripts = {address: deque(script) for address, script in (outcomes or {}).items()}

    async def send(self, envelope: Envelope, message: ComposedMessage, intent: Intent) -> Outcome:
        """Play the next scripted outcome of the first recipient that has one, or accept.

        Raises:
            WithheldError: `intent` returned False.
        """
        outcome = self._next(envelope)
        if outcome.stage is not Stage.DOT:
            return outcome
        if not await intent():
            raise WithheldError("the intent was refused")
        if outcome.verdict is Verdict.ACCEPTED:
            self.delivered.append((envelope, message))
        return outcome

    async def close(self) -> None:
        """Nothing is held open."""

    def _next(self, envelope: Envelope) -> Outcome:
        for address in envelope.recipients:
            script = self._scripts.get(address)
            if script:
                return script.popleft()
        number = f"mem-{len(self.delivered) + 1}"
        reply = Reply(250, "2.0.0", f"Ok: queued as {number}")
        return Outcome(Verdict.ACCEPTED, Stage.DOT, reply, queue_id=number)
