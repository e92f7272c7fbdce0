"""How long the whole command may still wait for others."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point on the steady clock after which nobody else is asked any more.

    Attributes:
        at: seconds of `clock`.
    """

    at: float
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> "Deadline":
        """Return the deadline so many seconds from now."""
        return cls(clock() + seconds, clock)

    def left(self, most: float) -> float:
        """Return how many seconds a wait of at most `most` may take; 0 when time is up."""
        return max(0.0, min(most, self.at - self.clock()))
