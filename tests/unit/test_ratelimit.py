"""Permits of the generic cell rate algorithm, by an injected clock."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msgrun.ratelimit import HORIZON, SET_BACK, interval, permits

NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_the_interval_is_a_minute_divided_by_the_rate() -> None:
    assert interval(600) == timedelta(seconds=0.1)
    assert interval(0) == timedelta(0)


def test_no_limit_gives_every_permit_at_once() -> None:
    assert permits(None, NOW, timedelta(0), 3) == ([NOW] * 3, NOW)


def test_the_first_permit_is_due_now_and_the_others_an_interval_apart() -> None:
    moments, free = permits(None, NOW, SECOND, 3)
    assert moments == [NOW, NOW + SECOND, NOW + 2 * SECOND]
    assert free == NOW + 3 * SECOND


def test_unused_time_is_not_saved_up() -> None:
    moments, _ = permits(NOW - timedelta(hours=1), NOW, SECOND, 2)
    assert moments == [NOW, NOW + SECOND]


def test_the_next_permit_is_not_before_the_time_that_was_written_down() -> None:
    moments, _ = permits(NOW + SECOND, NOW, SECOND, 1)
    assert moments == [NOW + SECOND]


def test_a_permit_exactly_at_the_horizon_is_given_and_none_beyond_it() -> None:
    assert permits(NOW + HORIZON, NOW, SECOND, 1)[0] == [NOW + HORIZON]
    beyond = NOW + HORIZON + timedelta(microseconds=1)
    assert permits(beyond, NOW, SECOND, 1) == ([], beyond)


@pytest.mark.parametrize("back", [SECOND, SET_BACK])
def test_a_clock_that_is_set_back_a_little_gives_no_permit_twice(back: timedelta) -> None:
    given_out, free = permits(None, NOW, SECOND, 6)
    again, _ = permits(free, NOW - back, SECOND, 6)
    assert set(again).isdisjoint(given_out)


def test_a_clock_that_is_set_back_by_a_day_does_not_hold_everything_up() -> None:
    _, free = permits(None, NOW + timedelta(days=1), SECOND, 6)
    _, free = permits(free, NOW, SECOND, 1)
    moments, _ = permits(free, NOW + 2 * SECOND, SECOND, 1)
    assert moments


@given(
    steps=st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 9)), max_size=30),
    rate=st.integers(1, 6000),
)
def test_permits_are_never_closer_than_the_interval(
    steps: list[tuple[int, int]], rate: int
) -> None:
    now, free = NOW, None
    given_out: list[datetime] = []
    for milliseconds, wanted in steps:
        now += timedelta(milliseconds=milliseconds)
        moments, free = permits(free, now, interval(rate), wanted)
        assert all(now <= moment <= now + HORIZON for moment in moments)
        given_out += moments
    gaps = [b - a for a, b in itertools.pairwise(given_out)]
    assert all(gap >= interval(rate) for gap in gaps)
