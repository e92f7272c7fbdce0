"""Parts of a report: slices of time, answers alike, the outcome in one sentence."""

from datetime import UTC, datetime, timedelta

import pytest

from msgrun.report.replies import alike
from msgrun.report.timeline import Timeline
from msgrun.ui.report import chart

BEGAN = datetime(2026, 11, 3, 12, tzinfo=UTC)


def timeline(*seconds: float) -> Timeline:
    made = Timeline()
    for each in seconds:
        made.add(BEGAN + timedelta(seconds=each))
    made.settle()
    return made


@pytest.mark.parametrize("span", [1, 90, 3_600, 86_400, 40 * 86_400, 3_000 * 86_400])
def test_every_message_is_in_one_slice_however_long_the_run_was(span: int) -> None:
    made = timeline(*(span * part / 500 for part in range(500)))

    assert sum(count for _, count in made.slices()) == 500
    assert len(made.slices()) <= 97 or made.width == 604_800


def test_memory_does_not_grow_with_the_run() -> None:
    made = Timeline()
    for each in range(20_000):
        made.add(BEGAN + timedelta(seconds=7 * each))

    assert len(made._slices) <= 4_096  # what must not grow is the inside of it
    assert sum(made._slices.values()) == 20_000


def test_a_slice_says_its_rate_in_messages_a_minute() -> None:
    made = timeline(*(0.1 * each for each in range(50)))

    assert made.width == 1
    assert [made.a_minute(count) for _, count in made.slices()] == [600.0] * 5


def test_nothing_sent_makes_no_chart() -> None:
    assert chart.draw(timeline(), 960, 220, 8) is None
    assert chart.summary(timeline()) == "No message was accepted yet."


@pytest.mark.parametrize("seconds", [(0,), (0, 1), tuple(range(600)), (0, 86_400 * 3)])
def test_the_chart_stays_inside_its_picture(seconds: tuple[float, ...]) -> None:
    for width in (960, 360):
        drawn = chart.draw(timeline(*seconds), width, 200, 4)
        assert drawn is not None
        assert all(bar.x >= 0 and bar.x + bar.width <= width for bar in drawn.bars)
        assert all(bar.y >= 0 and bar.y + bar.height <= 200 for bar in drawn.bars)
        assert len(drawn.times) <= 4


@pytest.mark.parametrize(
    ("answer", "like"),
    [
        ("250 2.0.0 Ok: queued as 4Q0VWF5XjZ", "250 2.0.0 Ok: queued as …"),
        ("250 2.0.0 OK 1762171234 ab12-20020a05 - gsmtp", "250 2.0.0 OK … - gsmtp"),
        ("550 5.1.1 <a.b+c@x.test>: User unknown", "550 5.1.1 <…@…>: User unknown"),
        ("550 5.1.1 no such user", "550 5.1.1 no such user"),
        ("", ""),
    ],
)
def test_answers_that_say_the_same_are_alike(answer: str, like: str) -> None:
    assert alike(answer) == like


def test_an_endless_answer_is_cut() -> None:
    assert len(alike("550 " + "x y" * 5_000)) <= 160
