"""A run as it goes: a live view on a terminal, plain lines elsewhere."""

import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from msgrun.events import (
    Event,
    Listener,
    MessageSettled,
    RunEnded,
    RunStarted,
    ServerTrouble,
    Stopping,
    WaitingForDeferred,
    WaitingForWorker,
)
from msgrun.states import MessageState
from msgrun.ui.text import STYLES, Part, Printer, assemble, duration, moment, plural

M = MessageState

REFRESHES: Final = 8
"""Times a second that the live view is drawn."""

PROGRESS_SECONDS: Final = 5.0
"""How often plain output says how far it is, if not another tenth is done before."""

_SETTLED: Final = (M.SENT, M.REJECTED, M.FAILED, M.IN_DOUBT)
_ANSWERS: Final = 5
_UNREAD: Final = 10_000  # events kept for a reader that is slow
_LAST_WORDS_SECONDS: Final = 2.0


class Progress:
    """How far a run is, from what was heard; figures are messages."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._deferred: set[tuple[str, tuple[str, ...]]] = set()
        self.started: RunStarted | None = None
        self.settled: Counter[MessageState] = Counter()
        self.answers: deque[MessageSettled] = deque(maxlen=_ANSWERS)
        self.trouble = ""

    def hear(self, event: Event) -> None:
        """Take note of an event."""
        match event:
            case RunStarted():
                self.started, self._began = event, self._clock()
            case MessageSettled():
                self._settle(event)
            case _:
                self.trouble = trouble_of(event)

    def _settle(self, event: MessageSettled) -> None:
        self.answers.append(event)
        self.trouble = ""
        key = (event.customer, event.invoices)
        if event.state is M.DEFERRED:
            self._deferred.add(key)
            return
        self._deferred.discard(key)
        self.settled[event.state] += 1

    @property
    def total(self) -> int:
        """How many messages there were to send at the start."""
        return self.started.to_send if self.started else 0

    @property
    def done(self) -> int:
        """How many of them came to an end."""
        return sum(self.settled[state] for state in _SETTLED)

    @property
    def deferred(self) -> int:
        """How many wait for another try."""
        return len(self._deferred)

    def rate(self) -> float:
        """Return messages a second since the start."""
        return self.done / max(self._clock() - self._began, 0.001)

    def seconds_left(self) -> float | None:
        """Return how long the rest takes at this rate, or at the limit; None when unknown."""
        left = max(self.total - self.done - self.deferred, 0)
        if not self.done or self.started is None:
            return None
        limit = self.started.rate_per_minute
        return max(left / self.rate(), left * 60 / limit if limit else 0.0)

    def counts(self) -> list[Part]:
        """Return "12 sent · 1 rejected" in colours."""
        figures = [(self.settled[state], state) for state in _SETTLED]
        figures.append((self.deferred, M.DEFERRED))
        parts: list[Part] = []
        for number, state in figures:
            if number or state is M.SENT:
                words = f"{number:,} {state.replace('_', ' ')}"
                parts += [" · ", (words, STYLES.get(state, ""))]
        return parts[1:]

    def pace(self) -> str:
        """Return "20.1/s, about 12 s left"."""
        left = self.seconds_left()
        pace = f"{self.rate():.1f}/s"
        return pace if left is None else f"{pace}, about {duration(left)} left"


def trouble_of(event: Event) -> str:
    """Return in words what holds a run up; "" for events that hold nothing up."""
    match event:
        case ServerTrouble(text, retry_in):
            return f"server trouble, next try in {duration(retry_in)}: {text}"
        case WaitingForDeferred(until, deferred):
            return f"waiting until {moment(until)} for {plural(deferred, 'deferred message')}"
        case WaitingForWorker(run_id):
            return f"run {run_id} waits for a worker: `msgrun worker` on any host takes it"
        case Stopping(why):
            return f"stopping: {why}"
        case _:
            return ""


def headline(started: RunStarted) -> str:
    """Return what begins, in one line."""
    line = f"run {started.run_id} · {started.definition} · "
    line += f"{plural(started.to_send, 'message')} to {started.server}"
    if started.already_sent:
        line += f" · {started.already_sent:,} sent before"
    if started.rate_per_minute:
        line += f" · at most {started.rate_per_minute:,} a minute"
    if started.redirect_to:
        line += f" · ALL REDIRECTED to {started.redirect_to}"
    return line


def answer_parts(event: MessageSettled) -> list[Part]:
    """Return one settled message as a line."""
    state = event.state
    parts: list[Part] = [
        (state.replace("_", " "), STYLES.get(state, "")),
        f"  {event.customer}  {', '.join(event.invoices)}  {', '.join(event.recipients)}",
    ]
    if event.reason:
        parts.append(f"  {event.reason}")
    if event.answer:
        parts.append(f"  {event.answer}")
    if event.due_at:
        parts.append(f"  (again at {moment(event.due_at)})")
    return parts


class PlainLines:
    """Says what was not sent, and now and then how far it is."""

    def __init__(self, printer: Printer, clock: Callable[[], float] = time.monotonic) -> None:
        self._printer = printer
        self._clock = clock
        self._progress = Progress(clock)
        self._said_at, self._said_tenths = clock(), 0

    def __call__(self, event: Event) -> None:
        """Hear an event; output that cannot be written never ends a run."""
        self._progress.hear(event)
        with suppress(OSError):
            self._say(event)

    def _say(self, event: Event) -> None:
        line = self._printer.line
        match event:
            case RunStarted():
                line(headline(event))
                self._said_at = self._clock()
            case MessageSettled():
                if event.state is not M.SENT:
                    line(*answer_parts(event))
                self._say_progress()
            case RunEnded():
                line(f"run {event.run_id} {event.status}: ", *self._progress.counts())
            case _:
                line(trouble_of(event))

    def _say_progress(self) -> None:
        progress = self._progress
        tenths = 10 * progress.done // max(progress.total, 1)
        if self._clock() - self._said_at < PROGRESS_SECONDS and (
            tenths <= self._said_tenths or progress.total < 100
        ):
            return
        self._said_at, self._said_tenths = self._clock(), tenths
        self._printer.line(f"{progress.done:,} of {progress.total:,} · {progress.pace()} · ",
                           *progress.counts())  # fmt: skip


class LiveView:
    """Draws a run on a terminal."""

    def __init__(self, printer: Printer) -> None:
        self._progress = Progress()
        self._printer = printer
        self._live = Live(
            console=printer.console,
            get_renderable=self.picture,
            refresh_per_second=REFRESHES,
            transient=True,
        )

    def __call__(self, event: Event) -> None:
        """Hear an event; output that cannot be written never ends a run."""
        self._progress.hear(event)
        with suppress(OSError):
            if isinstance(event, RunStarted):
                self._printer.line(headline(event))
                self._live.start()
            elif isinstance(event, RunEnded):
                self.close()
            elif self._progress.started is None:
                self._printer.line(trouble_of(event))

    def close(self) -> None:
        """Give the terminal back."""
        if self._live.is_started:
            self._live.stop()

    def picture(self) -> RenderableType:
        """Return how the run stands, as it is drawn."""
        progress = self._progress
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            ProgressBar(total=max(progress.total, 1), completed=progress.done, width=30),
            Text(f"{progress.done:,} of {progress.total:,}"),
            Text(progress.pace()),
        )
        lines: list[Text] = [assemble(*progress.counts())]
        if progress.trouble:
            lines.append(assemble((progress.trouble, "yellow")))
        lines += [assemble("  ", *answer_parts(each)) for each in list(progress.answers)]
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        return Group(bar, *lines)


class Aside:
    """Lets a listener print on a thread of its own.

    A reader that does not read (`| less`, left alone) then holds up no run: what it does not
    take in time is dropped.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._events: queue.Queue[Event | None] = queue.Queue(_UNREAD)
        self._thread = threading.Thread(target=self._print, name="printer", daemon=True)
        self._thread.start()

    def __call__(self, event: Event | None) -> None:
        """Hear an event, without waiting."""
        with suppress(queue.Full):
            self._events.put_nowait(event)

    def close(self) -> None:
        """Let what was heard be printed, as far as somebody reads it."""
        self(None)
        self._thread.join(_LAST_WORDS_SECONDS)

    def _print(self) -> None:
        while (event := self._events.get()) is not None:
            with suppress(OSError, ValueError):
                self._listener(event)


@contextmanager
def listening(printer: Printer) -> Iterator[Listener]:
    """Show a run on a printer while the block lasts."""
    view = LiveView(printer) if printer.is_terminal else Aside(PlainLines(printer))
    try:
        yield view
    finally:
        view.close()
