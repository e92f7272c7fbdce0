"""A clock that nobody can set while a run is going on."""

from datetime import UTC, datetime, timedelta

import pytest

from msgrun.clock import boot_seconds, steady_clock

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)


@pytest.mark.parametrize("jump", [timedelta(days=1), timedelta(days=-1)])
def test_setting_the_hosts_clock_does_not_move_it(jump: timedelta) -> None:
    host = [NOON]
    began = boot_seconds()
    now = steady_clock(lambda: host[0])
    host[0] += jump
    assert timedelta(0) <= now() - NOON <= timedelta(seconds=boot_seconds() - began)


def test_it_goes_by_the_time_that_passes() -> None:
    now = steady_clock(lambda: NOON)
    first = now()
    until = boot_seconds() + 0.01
    while boot_seconds() < until:
        pass
    assert now() - first >= timedelta(seconds=0.01)
