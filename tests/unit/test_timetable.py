"""Slots in time zones: clocks that change, odd offsets, leap days, month ends."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msgrun.timetable import check_cron, last_slot, next_slot, slots_between, zone_of

AMSTERDAM, NEW_YORK = "Europe/Amsterdam", "America/New_York"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


def as_utc(moment: datetime | None) -> datetime | None:
    """Two zones' times of a repeated hour are never equal in Python (PEP 495)."""
    return moment and moment.astimezone(UTC)


@pytest.mark.parametrize(
    ("cron", "zone", "after", "until", "slots"),
    [
        # The hour that is left out: once, directly after it.
        ("30 2 * * *", AMSTERDAM, "2026-03-28T12:00", "2026-03-30T12:00",
         ["2026-03-29 03:00+02:00", "2026-03-30 02:30+02:00"]),
        ("30 2 * * *", NEW_YORK, "2026-03-07T12:00", "2026-03-09T12:00",
         ["2026-03-08 03:00-04:00", "2026-03-09 02:30-04:00"]),
        # Three slots of the hole, and the one that follows it, are one moment.
        ("0,15,30 2,3 * * *", AMSTERDAM, "2026-03-28T12:00", "2026-03-29T12:00",
         ["2026-03-29 03:00+02:00", "2026-03-29 03:15+02:00", "2026-03-29 03:30+02:00"]),
        # The hour that comes twice: once.
        ("30 2 * * *", AMSTERDAM, "2026-10-24T12:00", "2026-10-26T12:00",
         ["2026-10-25 02:30+02:00", "2026-10-26 02:30+01:00"]),
        ("30 1 * * *", NEW_YORK, "2026-10-31T12:00", "2026-11-02T12:00",
         ["2026-11-01 01:30-04:00", "2026-11-02 01:30-05:00"]),
        # With a star, time is taken as it passes.
        ("30 * * * *", NEW_YORK, "2026-11-01T05:00", "2026-11-01T07:00",
         ["2026-11-01 01:30-04:00", "2026-11-01 01:30-05:00"]),
        # Half an hour of summer time, quarters of an hour from UTC.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00", "2026-10-04T12:00",
         ["2026-10-04 02:30+11:00"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00", "2026-04-05T12:00",
         ["2026-04-05 01:45+11:00"]),
        ("0 7 L * *", "Asia/Kathmandu", "2026-01-15T00:00", "2026-04-15T00:00",
         ["2026-01-31 07:00+05:45", "2026-02-28 07:00+05:45", "2026-03-31 07:00+05:45"]),
        ("0 0 29 2 *", "UTC", "2023-01-01T00:00", "2029-01-01T00:00",
         ["2024-02-29 00:00+00:00", "2028-02-29 00:00+00:00"]),
        ("0 6 31 * *", "UTC", "2026-01-01T00:00", "2026-06-01T00:00",
         ["2026-01-31 06:00+00:00", "2026-03-31 06:00+00:00", "2026-05-31 06:00+00:00"]),
    ],
)  # fmt: skip
def test_slots_are_those_of_the_zone(
    cron: str, zone: str, after: str, until: str, slots: list[str]
) -> None:
    found = slots_between(cron, zone_of(zone), utc(after), utc(until))

    assert [
        str(slot.astimezone(zone_of(zone)).isoformat(" ", "minutes")) for slot in found
    ] == slots


@pytest.mark.parametrize(
    ("now", "last", "following"),
    [
        ("2026-10-25T00:29", "2026-10-24T00:30", "2026-10-25T00:30"),
        ("2026-10-25T00:30", "2026-10-25T00:30", "2026-10-26T01:30"),
        ("2026-10-25T01:10", "2026-10-25T00:30", "2026-10-26T01:30"),  # it is 02:10 once more
        ("2026-10-25T01:40", "2026-10-25T00:30", "2026-10-26T01:30"),
    ],
)
def test_within_the_repeated_hour_the_slot_comes_once(now: str, last: str, following: str) -> None:
    zone = zone_of(AMSTERDAM)

    assert as_utc(last_slot("30 2 * * *", zone, utc(now))) == utc(last)
    assert as_utc(next_slot("30 2 * * *", zone, utc(now))) == utc(following)


@given(
    zone=st.sampled_from([AMSTERDAM, NEW_YORK, "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
    cron=st.sampled_from(
        ["30 2 * * *", "0,30 1-3 * * *", "*/20 * * * *", "15 2 L * *", "5 * * * *"]
    ),
    minutes=st.integers(0, 2 * 366 * 24 * 60),
    hours=st.integers(1, 72),
)
def test_looking_often_finds_the_slots_that_looking_once_finds(
    zone: str, cron: str, minutes: int, hours: int
) -> None:
    start, where = utc("2026-01-01T00:00") + timedelta(minutes=minutes), zone_of(zone)
    moments = [start + timedelta(minutes=23 * step) for step in range(hours)]
    piecewise = [
        slot
        for before, after in pairwise(moments)
        for slot in slots_between(cron, where, before, after)
    ]

    assert piecewise == slots_between(cron, where, moments[0], moments[-1])
    assert len(set(piecewise)) == len(piecewise)
    if piecewise:
        assert as_utc(last_slot(cron, where, moments[-1])) == piecewise[-1]
        assert as_utc(next_slot(cron, where, start)) == piecewise[0]


@pytest.mark.parametrize("cron", ["61 0 * * *", "0 0 30 2 *", "* * * * mon-xyz", "0 0 0 * *", ""])
def test_what_is_no_cron_expression_or_never_comes_is_refused(cron: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        check_cron(cron)
