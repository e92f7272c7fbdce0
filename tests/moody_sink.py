"""A sink that keeps mail in memory and has its moods: slow, greylisting, refusing, dropping.

Every mood is drawn from a seed, so that messages overtake one another in ever other ways.
"""

import asyncio
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from msgrun.demo.sink import Received, Sink

GREYLISTED = "451 4.7.1 Greylisted, come back"


@dataclass(frozen=True, slots=True)
class Kept:
    """One message that came with its final dot."""

    recipients: tuple[str, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Moods:
    """How the sink behaves.

    Attributes:
        seed: of every draw.
        slowest: seconds that the answer to a dot takes at most.
        greylisted: share of addresses that are told to come back, once.
        cuts: how many connections are cut in the middle of an envelope, and how many instead of
            answering the dot (the message may be kept or not).
        among: the cuts are spread over so many RCPTs and dots.
    """

    seed: int
    slowest: float = 0.02
    greylisted: float = 0.03
    cuts: int = 0
    among: int = 100


class MoodySink(Sink):
    """The demo's sink with messages in memory, and moods; `refuse` holds the hard refusals."""

    def __init__(self, moods: Moods, on_kept: Callable[[int], None] | None = None) -> None:
        super().__init__(Path())
        self.moods = moods
        self.on_kept = on_kept
        self.kept: list[Kept] = []
        self._chance = random.Random(moods.seed)
        self._asked: set[str] = set()
        self._rcpts, self._dots = count(1), count(1)
        self._cut_rcpts, self._cut_dots = (
            set(self._chance.sample(range(1, moods.among), moods.cuts)) for _ in range(2)
        )
        self.refuse = _Refusals(self)

    @property
    def delay(self) -> float:
        """The seconds before the next dot is answered, others for each."""
        return self._chance.choice([0, 0, self._chance.uniform(0, self.moods.slowest)])

    @delay.setter
    def delay(self, seconds: float) -> None:
        pass  # the sink sets none; its moods decide

    async def start(self, port: int = 0) -> int:
        """Listen on `port`; nothing is written to any folder."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self.port

    def refusal_of(self, address: str, hard: str | None) -> str | None:
        """Return what RCPT is answered with; None accepts it.

        Raises:
            ConnectionError: the connection is to be cut.
        """
        if next(self._rcpts) in self._cut_rcpts:
            raise ConnectionError
        if hard is not None:
            return hard
        first = address not in self._asked
        self._asked.add(address)
        share = random.Random(f"{self.moods.seed} {address}").random()
        return GREYLISTED if first and share < self.moods.greylisted else None

    def keep(self, sender: str, recipients: tuple[str, ...], data: bytes) -> Received:
        """Keep a message.

        Raises:
            ConnectionError: the connection is to be cut, whether or not the message was kept.
        """
        dot = next(self._dots)
        cut = dot in self._cut_dots
        if not cut or dot % 2:
            self.kept.append(Kept(recipients, data))
            if self.on_kept is not None:
                self.on_kept(len(self.kept))
        if cut:
            raise ConnectionError
        return Received(dot, f"Q{dot}", "", sender, recipients, Path())


class _Refusals(dict[str, str]):
    """Address to its hard refusal; asked, it answers with the sink's mood."""

    def __init__(self, sink: MoodySink) -> None:
        super().__init__()
        self._sink = sink

    def get(self, address: str, default: None = None) -> str | None:  # type: ignore[override]
        return self._sink.refusal_of(address, super().get(address))


@contextmanager
def running(sink: MoodySink) -> Iterator[MoodySink]:
    """Run a sink in a thread of its own while the block lasts."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="moody sink", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(sink.start(), loop).result(10)
        yield sink
    finally:
        asyncio.run_coroutine_threadsafe(sink.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
