"""What the words of `--period` mean."""

from datetime import date

import pytest

from msgrun.errors import UsageError
from msgrun.model import Period
from msgrun.selection import parse_period

TODAY = date(2026, 10, 17)


@pytest.mark.parametrize(
    ("text", "start", "end", "label"),
    [
        ("2026-10", date(2026, 10, 1), date(2026, 10, 31), "2026-10"),
        ("2024-02", date(2024, 2, 1), date(2024, 2, 29), "2024-02"),
        ("2026-02", date(2026, 2, 1), date(2026, 2, 28), "2026-02"),
        ("2026-12", date(2026, 12, 1), date(2026, 12, 31), "2026-12"),
        ("2026-10-15", date(2026, 10, 15), date(2026, 10, 15), "2026-10-15"),
        (
            "2026-09-15..2026-10-14",
            date(2026, 9, 15),
            date(2026, 10, 14),
            "2026-09-15..2026-10-14",
        ),
        ("2026-10-01..2026-10-01", date(2026, 10, 1), date(2026, 10, 1), "2026-10-01..2026-10-01"),
        ("2026", date(2026, 1, 1), date(2026, 12, 31), "2026"),
        ("2026-Q1", date(2026, 1, 1), date(2026, 3, 31), "2026-Q1"),
        ("2026-q3", date(2026, 7, 1), date(2026, 9, 30), "2026-Q3"),
        ("2026-Q4", date(2026, 10, 1), date(2026, 12, 31), "2026-Q4"),
        ("previous-month", date(2026, 9, 1), date(2026, 9, 30), "2026-09"),
        ("this-month", date(2026, 10, 1), date(2026, 10, 31), "2026-10"),
        (" This-Month ", date(2026, 10, 1), date(2026, 10, 31), "2026-10"),
    ],
)
def test_a_period_word_means_these_days(text: str, start: date, end: date, label: str) -> None:
    assert parse_period(text, TODAY) == Period(start, end, label)


def test_the_month_before_january_is_december_of_the_year_before() -> None:
    period = parse_period("previous-month", date(2026, 1, 31))

    assert period == Period(date(2025, 12, 1), date(2025, 12, 31), "2025-12")


def test_all_is_no_period() -> None:
    assert parse_period("all", TODAY) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "oktober",
        "2026-13",
        "2026-00",
        "2026-1",
        "2026-Q5",
        "2026-02-30",
        "20261015",
        "2026-W40",
        "2026-10-01..",
        "..2026-10-31",
        "2026-10-01..2026-10-31..2026-11-30",
        "2026-10..2026-11",
        "0000",
        "9999",
        "9999-12-31",
        "٢٠٢٦-١٠",
        "last-month",
    ],
)
def test_what_is_no_period_is_a_usage_error_with_examples(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_period(text, TODAY)

    assert repr(text) in caught.value.message
    assert "2026-10-01..2026-10-31" in caught.value.hint
    assert "previous-month" in caught.value.hint


def test_a_period_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(UsageError, match=r"starts on 2026-10-31, after its end on 2026-10-01"):
        parse_period("2026-10-31..2026-10-01", TODAY)
