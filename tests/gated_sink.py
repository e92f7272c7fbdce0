"""A mail server that withholds what a test says, until it says otherwise, and notes what came when.

So a run lasts as long as a test needs it to, by a condition and not by a delay.
"""

import asyncio
import smtplib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from msgrun.demo.sink import HOST, Sink, _Dialogue

BEFORE_RCPT_ANSWER = "250 2.1.5"
BEFORE_354 = "354"


@dataclass(frozen=True, slots=True)
class Came:
    """One message on the wire: to whom, and when on the wall clock."""

    recipient: str
    at: float


class GatedSink(Sink):
    """A sink with a gate between the final dot and its answer.

    Attributes:
        stalled: address → the answer (by how it begins) that its transaction never gets.
        mails: the transactions with a recipient, by the moment of their MAIL.
        dots: the messages whose final dot has arrived, answered or not.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.stalled: dict[str, str] = {}
        self.mails: list[Came] = []
        self.dots: list[Came] = []
        self.stalls = 0
        self._answered = 0
        self._gate = asyncio.Event()
        self._gate.set()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self, port: int = 0) -> int:
        self._loop = asyncio.get_running_loop()
        return await super().start(port)

    def hold(self, *, after: int = 0) -> None:
        """Withhold the answer to every dot from now on, but for the first so many dots."""
        self._answered = after
        self._gate.clear()

    def let_go(self) -> None:
        """Give the answers."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._gate.set)

    async def opened(self, dot: int) -> None:
        """Wait until the n-th dot may be answered."""
        if dot > self._answered:
            await self._gate.wait()

    def forget(self) -> None:
        """Forget what has come so far."""
        self.received.clear()
        self.mails.clear()
        self.dots.clear()
        self.stalls = 0

    def seen(self) -> int:
        """Return how many dots have arrived; what was written before the call is among them."""
        # A dialogue of our own takes several turns of the sink's loop; bytes that were there
        # before it began are read in the first.
        with smtplib.SMTP(HOST, self.port, timeout=10) as probe:
            probe.noop()
        return len(self.dots)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:
            writer.transport.abort()
            return
        task = asyncio.ensure_future(_GatedDialogue(self, reader, writer).run())
        self._dialogues.add(task)
        task.add_done_callback(self._dialogues.discard)


class _GatedDialogue(_Dialogue):
    """One connection to the gated sink."""

    sink: GatedSink

    def _mail(self, argument: str) -> str:
        self._mail_at = time.time()
        return super()._mail(argument)

    def _rcpt(self, argument: str) -> str:
        answer = super()._rcpt(argument)
        if len(self.recipients) == 1:
            self.sink.mails.append(Came(self.recipients[0], self._mail_at))
        return answer

    async def _say(self, *lines: str) -> None:
        address = self.recipients[-1] if self.recipients else ""
        withheld = self.sink.stalled.get(address)
        if withheld is not None and lines[0].startswith(withheld):
            self.sink.stalls += 1
            while await self.reader.read(65536):
                pass
            raise ConnectionError("the client gave up")
        await super()._say(*lines)

    async def _content(self) -> bytes | None:
        data = await super()._content()
        self.sink.dots.append(Came(self.recipients[0], time.time()))
        await self.sink.opened(len(self.sink.dots))
        return data


@contextmanager
def gated_sink(directory: Path) -> Iterator[GatedSink]:
    """Run a gated sink in a thread of its own while the block lasts; its `port` is set."""
    sink = GatedSink(directory)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="gated-sink", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(sink.start(), loop).result()
        yield sink
    finally:
        sink.let_go()
        asyncio.run_coroutine_threadsafe(sink.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def until(condition: Callable[[], object], *, seconds: float = 30, what: str = "") -> None:
    """Wait until a condition holds, within bounds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what or "the condition never came true"
        time.sleep(0.005)


def recipients_of(came: Sequence[Came]) -> list[str]:
    """Return to whom messages went, in order of their arrival."""
    return [each.recipient for each in came]
