"""The rate over time, laid out for an inline SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

from msgrun.report import Timeline
from msgrun.ui.text import duration, plural

_STEPS: Final = (1, 2, 2.5, 5, 10)
_LEFT: Final = 44
_RIGHT: Final = 12
_TOP: Final = 12
_BOTTOM: Final = 28


@dataclass(frozen=True, slots=True)
class Bar:
    """One slice of time; `told` is what it says in words."""

    x: float
    y: float
    width: float
    height: float
    told: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis with its label."""

    at: float
    label: str
    anchor: str = "middle"


@dataclass(frozen=True, slots=True)
class Chart:
    """A bar chart of `width` by `height` units; a unit is about a pixel."""

    width: int
    height: int
    bars: Sequence[Bar]
    levels: Sequence[Tick]
    times: Sequence[Tick]
    left: int = _LEFT
    right: int = _RIGHT
    bottom: int = _BOTTOM


def draw(timeline: Timeline, width: int, height: int, labels: int) -> Chart | None:
    """Lay a timeline out; None where nothing was sent.

    Args:
        timeline: settled.
        width: of the picture.
        height: of the picture.
        labels: at most so many times are written below it.
    """
    slices = timeline.slices()
    if not slices:
        return None
    rates = [timeline.a_minute(count) for _, count in slices]
    top = _ceiling(max(rates))
    inner, tall = width - _LEFT - _RIGHT, height - _TOP - _BOTTOM
    # A lonely slice is a bar, not a wall.
    step = min(inner / len(slices), 90)
    gap = min(1.5, step / 5)
    bars = []
    for place, ((begin, count), rate) in enumerate(zip(slices, rates, strict=True)):
        if not count:
            continue
        tallness = max(rate / top * tall, 1)
        until = begin + timedelta(seconds=timeline.width)
        told = f"{clock(begin, timeline.width)}–{clock(until, timeline.width)} UTC: "
        told += f"{plural(count, 'message')}, {rate:,.0f} a minute"
        x = _LEFT + place * step
        bars.append(Bar(_r(x), _r(_TOP + tall - tallness), _r(step - gap), _r(tallness), told))
    levels = [
        Tick(_r(_TOP + tall - tall * part), f"{top * part:,g}".replace(".0", ""))
        for part in (0, 0.5, 1)
    ]
    return Chart(width, height, bars, levels, _times(slices, timeline.width, step, labels))


def summary(timeline: Timeline) -> str:
    """Return what the chart shows, in words."""
    slices = timeline.slices()
    if not slices:
        return "No message was accepted yet."
    total = sum(count for _, count in slices)
    when, most = max(slices, key=lambda each: each[1])
    # Idle slices at neither end: the first and the last one hold a message.
    seconds = len(slices) * timeline.width
    told = f"{plural(total, 'message')} accepted within {duration(seconds)}"
    if len(slices) == 1:
        return f"{told}, on {when:%-d %B %Y} at {clock(when, timeline.width)} UTC."
    rate = timeline.a_minute(most)
    busy = f"the busiest moment was {clock(when, timeline.width)} UTC with {rate:,.0f} a minute"
    return f"{told}, from {when_words(slices[0][0])}; {busy}."


def when_words(when: datetime) -> str:
    """Return a moment with its day."""
    return f"{when:%-d %B %Y, %H:%M} UTC"


def clock(when: datetime, width: int) -> str:
    """Return a moment as finely as slices of so many seconds need it."""
    when = when.astimezone(UTC)
    if width >= 86_400:
        return f"{when:%-d %b}"
    if width >= 7_200:
        return f"{when:%-d %b %H:%M}"
    return f"{when:%H:%M}" if width >= 60 else f"{when:%H:%M:%S}"


def _times(
    slices: Sequence[tuple[datetime, int]], width: int, step: float, labels: int
) -> list[Tick]:
    every = max(-(-len(slices) // labels), 1)
    places = list(range(0, len(slices), every))
    days = {slices[each][0].date() for each in places}
    ticks = []
    for place in places:
        begin = slices[place][0]
        told = clock(begin, width)
        if len(days) > 1 and width < 7_200:
            told = f"{begin:%-d %b} {told}"
        ticks.append(Tick(_r(_LEFT + place * step), told, "start"))
    # The last label stays inside the picture.
    if len(ticks) > 1 and ticks[-1].at > _LEFT + step * len(slices) - 60:
        ticks.pop()
    return ticks


def _ceiling(value: float) -> float:
    """Return a round number that is not below a value, and even halves of it are round."""
    size = 1.0
    while size * 10 < value:
        size *= 10
    for low, high in pairwise((0, *_STEPS)):
        if low * size < value <= high * size:
            return max(high * size, 2)
    return size * 10


def _r(value: float) -> float:
    return round(value, 2)
