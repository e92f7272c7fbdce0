"""Clocks that nobody can set back while a run is going on."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


def boot_seconds() -> float:
    """Return a clock that goes on while the machine sleeps, for leases and waits."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def steady_clock(
    wall: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Callable[[], datetime]:
    """Return a clock that reads the host's once and then goes by the time that passes.

    Whoever sets the host's clock in mid-run (by a day, by hand) neither hurries a
    deferred message nor ends a lease.
    """
    start, since = wall(), boot_seconds()
    return lambda: start + timedelta(seconds=boot_seconds() - since)
