"""Printers: data cannot steer the terminal, figures are right, a run survives its printer."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from msgrun.events import (
    Event,
    MessageSettled,
    RunEnded,
    RunStarted,
    ServerTrouble,
    WaitingForDeferred,
)
from msgrun.states import MessageState, RunStatus
from msgrun.ui.csv import cell
from msgrun.ui.json import write
from msgrun.ui.live import LiveView, PlainLines, Progress
from msgrun.ui.summary import amount, size
from msgrun.ui.text import Printer, duration, moment, plural, safe

M = MessageState


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[contoso.com] [/red]", "[contoso.com] [/red]"),
        ("a\x1b[31mb\x1b[0m", "ab"),
        ("a\x1b]0;title\x07b", "ab"),
        ("a\x1b]8;;http://x.test\x1b\\link\x1b]8;;\x1b\\b", "alinkb"),
        ("a\x9b31mb", "ab"),
        ("invoice\u202egpj.exe", "invoicegpj.exe"),
        ("one\r\ntwo\tthree", "one  two three"),
        ("bell\x07 null\x00", "bell null"),
        ("\ud800x", "x"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("Zoë Müller", "Zoë Müller"),
    ],
)
def test_safe_text_cannot_steer_a_terminal(text: str, shown: str) -> None:
    assert safe(text) == shown


def test_a_line_prints_markup_literally() -> None:
    stream = io.StringIO()
    Printer(stream).line("[bold]x[/bold] :smile: ", ("[/red]", "red"))

    assert stream.getvalue() == "[bold]x[/bold] :smile: [/red]\n"


def test_a_long_line_is_not_broken() -> None:
    stream = io.StringIO()
    Printer(stream).line("word " * 100)

    assert stream.getvalue().count("\n") == 1


def test_wide_characters_keep_columns_straight() -> None:
    stream = io.StringIO()
    Printer(stream).table(("name", "n"), [("株式", "1"), ("ab", "10")], right=(1,))

    assert stream.getvalue() == "name   n\n株式   1\nab    10\n"


def test_json_is_ascii_on_one_line() -> None:
    stream = io.StringIO()
    write({"name": "Zoë \u202e\nx"}, stream)

    assert stream.getvalue().isascii()
    assert stream.getvalue().count("\n") == 1
    assert json.loads(stream.getvalue()) == {"name": "Zoë \u202e\nx"}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("=SUM(A1)", "'=SUM(A1)"),
        ("+49 30 1", "'+49 30 1"),
        ("-x", "'-x"),
        ("@x", "'@x"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("-12.50", "-12.50"),
        ("+5", "+5"),
        (None, ""),
        (250, "250"),
    ],
)
def test_a_cell_is_never_a_formula(value: object, written: str) -> None:
    assert cell(value) == written


def test_figures_for_people() -> None:
    assert amount(Decimal("1234567.5")) == "1,234,567.50"
    assert amount(Decimal("0.1250")) == "0.125"
    assert amount(Decimal(1000)) == "1,000.00"
    assert [size(12), size(5_700), size(2_300_000)] == ["12 bytes", "5.7 kB", "2.3 MB"]
    assert [duration(45.2), duration(720), duration(12_000)] == ["45 s", "12 min", "3 h 20 min"]
    assert [plural(1, "message"), plural(1200, "message")] == ["1 message", "1,200 messages"]
    assert moment(datetime(2026, 11, 25, 1, 2, 3, 999_999, UTC)) == "2026-11-25T01:02:03Z"


class Clock:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def started(number: int, rate: int = 0) -> RunStarted:
    return RunStarted(7, "monthly", number, 0, rate, "mx.test:25", None)


def settled(number: int, state: MessageState = M.SENT) -> MessageSettled:
    return MessageSettled("CU1", ("a@x.test",), (f"INV-{number}",), state, None, "451 later")


def test_the_time_left_follows_from_the_rate_so_far() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.hear(started(100))
    assert progress.seconds_left() is None
    for number in range(20):
        progress.hear(settled(number))
    clock.now = 10.0

    assert progress.rate() == 2.0
    assert progress.seconds_left() == 40.0


def test_the_time_left_is_never_less_than_the_limit_allows() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.hear(started(101, rate=60))
    progress.hear(settled(1))
    clock.now = 0.01

    assert progress.seconds_left() == 100.0


def test_a_message_deferred_twice_and_then_sent_counts_once() -> None:
    progress = Progress(Clock())
    progress.hear(started(1))
    progress.hear(settled(1, M.DEFERRED))
    progress.hear(settled(1, M.DEFERRED))
    assert (progress.done, progress.deferred) == (0, 1)

    progress.hear(settled(1))
    assert (progress.done, progress.deferred) == (1, 0)


def plain(events: Iterator[Event] | list[Event], clock: Clock) -> list[str]:
    stream = io.StringIO()
    listener = PlainLines(Printer(stream), clock)
    for event in events:
        listener(event)
    return stream.getvalue().splitlines()


def test_plain_lines_name_what_was_not_sent_and_each_tenth() -> None:
    sent: list[Event] = [settled(number) for number in range(199)]
    lines = plain(
        [
            started(200),
            *sent,
            settled(200, M.REJECTED),
            RunEnded(7, RunStatus.FINISHED, None, None),
        ],
        Clock(),
    )

    assert lines[0] == "run 7 · monthly · 200 messages to mx.test:25"
    assert sum(" of 200 · " in line for line in lines) == 10
    assert "rejected  CU1  INV-200  a@x.test  451 later" in lines
    assert lines[-1] == "run 7 finished: 199 sent · 1 rejected"


def test_plain_lines_say_every_five_seconds_how_far_it_is() -> None:
    clock = Clock()

    def slowly() -> Iterator[Event]:
        yield started(50)
        for number in range(10):
            clock.now += 2.6
            yield settled(number)

    assert sum(" of 50 · " in line for line in plain(slowly(), clock)) == 5


def test_plain_lines_say_what_holds_the_run_up() -> None:
    until = datetime(2026, 11, 25, 7, 0, tzinfo=UTC)
    lines = plain([started(1), ServerTrouble("connect: refused\x1b[2J", 3.2),
                   WaitingForDeferred(until, 1)], Clock())  # fmt: skip

    assert lines[1] == "server trouble, next try in 3 s: connect: refused"
    assert lines[2] == "waiting until 2026-11-25T07:00:00Z for 1 deferred message"


class FullDisk(io.StringIO):
    """A stream that cannot be written."""

    def write(self, _text: str, /) -> int:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("kind", [PlainLines, LiveView])
def test_output_that_cannot_be_written_never_ends_a_run(
    kind: type[PlainLines] | type[LiveView],
) -> None:
    listener = kind(Printer(FullDisk()))

    listener(started(1))
    listener(settled(1, M.REJECTED))
    listener(RunEnded(7, RunStatus.FINISHED, None, None))


def test_no_colour_when_no_color_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    coloured = io.StringIO()
    Printer(coloured).line(("sent", "green"))
    monkeypatch.setenv("NO_COLOR", "1")
    plain_stream = io.StringIO()
    Printer(plain_stream).line(("sent", "green"))

    assert "\x1b[" in coloured.getvalue()
    assert "\x1b[32m" not in plain_stream.getvalue()
