"""Period words: what `--period` and the `period` of a definition or schedule may say."""

import re
from calendar import monthrange
from datetime import date, timedelta
from typing import Final

from msgrun.errors import UsageError
from msgrun.model import Period

_YEAR: Final = re.compile(r"([0-9]{4})")
_MONTH: Final = re.compile(r"([0-9]{4})-([0-9]{2})")
_QUARTER: Final = re.compile(r"([0-9]{4})-q([1-4])")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LAST_YEAR: Final = 9998  # the day after a period's end must be a date too

_EXAMPLES: Final = (
    "2026-10, 2026-10-01..2026-10-31, 2026-10-15, 2026-Q3, 2026, this-month, previous-month or all"
)


def parse_period(text: str, today: date) -> Period | None:
    """Return the period that `text` names, seen from `today`; None for "all".

    The label is the resolved form, so that "previous-month" becomes e.g. "2026-09".

    Raises:
        UsageError: `text` names no period, or its end lies before its start.
    """
    word = text.strip().lower()
    if word == "all":
        return None
    try:
        return _parse(word, today)
    except ValueError as exc:
        raise UsageError(f"{text!r} is not a period: {exc}", f"give {_EXAMPLES}") from None


def _parse(word: str, today: date) -> Period:
    """Return the period of one normalised word; raise ValueError with the reason."""
    first, dots, last = word.partition("..")
    if dots:
        start, end = _day(first), _day(last)
        if start > end:
            raise ValueError(f"it starts on {start}, after its end on {end}")
        return Period(start, end, f"{start}..{end}")
    if word == "this-month":
        return _months(today.year, today.month, 1)
    if word == "previous-month":
        before = today.replace(day=1) - timedelta(days=1)
        return _months(before.year, before.month, 1)
    if match := _MONTH.fullmatch(word):
        return _months(int(match[1]), int(match[2]), 1)
    if match := _QUARTER.fullmatch(word):
        return _months(int(match[1]), 3 * int(match[2]) - 2, 3, word.upper())
    if match := _YEAR.fullmatch(word):
        return _months(int(match[1]), 1, 12, word)
    day = _day(word)
    return Period(day, day, day.isoformat())


def _day(text: str) -> date:
    """Return an ISO 8601 calendar date; raise ValueError if it is none."""
    if not _DAY.fullmatch(text.strip()):
        raise ValueError(f"{text!r} is no date" if text else "a date is missing")
    day = date.fromisoformat(text.strip())
    if day.year > _LAST_YEAR:
        raise ValueError(f"the year {day.year} is out of range")
    return day


def _months(year: int, month: int, count: int, label: str = "") -> Period:
    """Return `count` whole months from the first of `month`; raise ValueError if there are none."""
    start = _day(f"{year:04}-{month:02}-01")
    last = month + count - 1
    end = date(year, last, monthrange(year, last)[1])
    return Period(start, end, label or f"{year:04}-{month:02}")
