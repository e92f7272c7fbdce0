"""Permits under a server's rate: the generic cell rate algorithm with a burst of one."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

HORIZON: Final = timedelta(seconds=5)
"""How far ahead of the clock a claim may take permits."""


SET_BACK: Final = timedelta(minutes=1)
"""A permit further ahead than this was not taken by this clock; less is waited for."""


def interval(rate_per_minute: int) -> timedelta:
    """Return the time between two permits; zero means no limit.

    Rounded up to the microsecond: the next message after a minute's last is never within it.
    """
    if not rate_per_minute:
        return timedelta(0)
    return timedelta(microseconds=-(-60_000_000 // rate_per_minute))


def permits(
    next_free_at: datetime | None, now: datetime, every: timedelta, wanted: int
) -> tuple[Sequence[datetime], datetime]:
    """Return up to `wanted` moments at which a message may leave, and when the next one is free.

    The first permit after a pause is due at once; unused time is not saved up.
    A permit once returned here is spent: it is never given back.
    """
    free = max(next_free_at or now, now)
    if free > now + HORIZON + every + SET_BACK:
        free = now + HORIZON + every  # the clock was set back: nobody waits until it has caught up
    if not every:
        return [now] * wanted, free
    moments: list[datetime] = []
    while len(moments) < wanted and free <= now + HORIZON:
        moments.append(free)
        free += every
    return moments, free
