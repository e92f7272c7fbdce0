"""What an outcome does to its message, and when the server is given up for now."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from msgrun.ledger.settling import Settlement
from msgrun.model import Outcome, Stage, Verdict
from msgrun.states import MessageState
from msgrun.transport.answers import FaultClass, classify

FIRST_RETRY: Final = timedelta(minutes=5)
"""A 4xx is never tried again sooner."""

LONGEST_RETRY: Final = timedelta(hours=4)
"""A 4xx is never tried again later than this."""

HOPELESS: Final = frozenset(
    {"MR602", "MR606", "MR607", "MR608", "MR609", "MR610", "MR611", "MR613", "MR614", "MR615",
     "MR616"}
)  # fmt: skip
"""Server faults that waiting does not mend: the run pauses at once."""

PATIENCE: Final = 6
"""So many rounds of trouble in a row, then the run pauses: after half a minute, about."""

DOUBT_WEIGHS: Final = 3
"""A round that put messages in doubt counts as so many: each such round costs a person work."""

SAME_REFUSALS: Final = 5
"""So many recipients refused in a row with the same words: it is not about them."""


QUOTA_PAUSE: Final = timedelta(hours=24)
"""How long a server whose daily quota is used up is left alone: right for rolling days too."""


def retry_in(attempts: int, randomness: random.Random) -> timedelta:
    """Return how long a deferred message waits: from 5 minutes to 4 hours, with full jitter."""
    longest: timedelta = min(LONGEST_RETRY, FIRST_RETRY * 2 ** min(attempts + 1, 10))
    return FIRST_RETRY + (longest - FIRST_RETRY) * randomness.random()


def settlement_of(outcome: Outcome, attempts: int, randomness: random.Random) -> Settlement | None:
    """Return where an outcome takes its message; None: it is given back unspent."""
    match outcome.verdict:
        case Verdict.ACCEPTED:
            return Settlement(MessageState.SENT, outcome)
        case Verdict.DEFERRED:
            wait = retry_in(attempts, randomness)
            return Settlement(MessageState.DEFERRED, outcome, reason="MR505", retry_in=wait)
        case Verdict.IN_DOUBT:
            return Settlement(MessageState.IN_DOUBT, outcome, reason="MR507", detail=outcome.text)
        case Verdict.REJECTED if outcome.reply is None:
            reason = outcome.finding or "MR506"
            return Settlement(MessageState.FAILED, outcome, reason=reason, detail=outcome.text)
        case Verdict.REJECTED:
            return Settlement(MessageState.REJECTED, outcome, reason="MR506")
        case Verdict.SERVER_FAULT if outcome.stage is Stage.DOT:
            # The server said no to the whole message: a definite answer, nobody has it.
            wait = QUOTA_PAUSE if is_quota(outcome) else FIRST_RETRY
            return Settlement(
                MessageState.DEFERRED, outcome, reason="MR505", retry_in=wait, counts=False
            )
        case Verdict.SERVER_FAULT:
            return None


def is_quota(outcome: Outcome) -> bool:
    """Tell whether the server says that the account's quota of the day is used up."""
    reply = outcome.reply
    if outcome.verdict is not Verdict.SERVER_FAULT or reply is None or reply.code < 400:
        return False
    return classify(outcome.stage, reply).fault_class is FaultClass.QUOTA_FAULT


def remedy_of(outcome: Outcome) -> str:
    """Return what a person can do about a server's answer; "" where there was none."""
    reply = outcome.reply
    return classify(outcome.stage, reply).remedy if reply and reply.code >= 400 else ""


_NAMES: Final = re.compile(r"\S+@\S+|\S*\d\S*")  # addresses and ids: other words each time


@dataclass(slots=True)
class Refusals:
    """Counts recipients that the server refuses one after the other with the same 5xx."""

    said: tuple[int, str, str] | None = None
    recipients: set[str] = field(default_factory=set)

    def note(self, outcome: Outcome, recipients: Sequence[str]) -> bool:
        """Note an outcome; return whether the run must pause for it.

        Refusals of the mailbox itself (enhanced code 5.1.x, RFC 3463 3.2) never count.
        """
        reply = outcome.reply
        refused = outcome.verdict is Verdict.REJECTED and reply is not None
        if not refused or reply is None or reply.enhanced.startswith("5.1."):
            self.said = None
            self.recipients.clear()
            return False
        said = (reply.code, reply.enhanced, _NAMES.sub("", reply.text))
        if said != self.said:
            self.said = said
            self.recipients.clear()
        self.recipients.update(recipients)
        return len(self.recipients) >= SAME_REFUSALS


@dataclass(slots=True)
class Patience:
    """Counts rounds of server trouble; connections that fail together are one round."""

    rounds: int = 0
    hold_until: float = 0.0

    def trouble(self, clock: float, randomness: random.Random, weight: int = 1) -> float | None:
        """Note a fault at `clock` (monotonic seconds).

        Returns:
            The seconds to wait before the next try (full jitter); None when patience is over.
        """
        if clock < self.hold_until:
            return self.hold_until - clock
        self.rounds += weight
        if self.rounds >= PATIENCE:
            return None
        wait = randomness.uniform(0.2, 2.0**self.rounds)
        self.hold_until = clock + wait
        return wait

    def well(self) -> None:
        """Note that the server works."""
        self.rounds = 0
        self.hold_until = 0.0
