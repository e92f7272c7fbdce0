"""A sink that keeps Message-IDs and moments alone, for campaigns of very many messages."""

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import BytesHeaderParser
from pathlib import Path

from msgrun.demo.sink import Received, Sink, _Dialogue


class CountingSink(Sink):
    """Writes each Message-ID to one synced file before it answers the dot.

    Attributes:
        mails: the moment of each MAIL, on the wall clock.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        directory.mkdir(parents=True, exist_ok=True)
        self.mails: list[float] = []
        self._file = os.open(directory / "message-ids", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def keep(self, sender: str, recipients: tuple[str, ...], data: bytes) -> Received:
        self._number += 1
        message_id = str(BytesHeaderParser().parsebytes(data).get("Message-ID", "")).strip()
        os.write(self._file, message_id.encode() + b"\n")
        os.fdatasync(self._file)
        entry = Received(
            self._number, f"Q{self._number}", message_id, sender, recipients, self.directory
        )
        self.received.append(entry)
        return entry

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:
            writer.transport.abort()
            return
        task = asyncio.ensure_future(_TimedDialogue(self, reader, writer).run())
        self._dialogues.add(task)
        task.add_done_callback(self._dialogues.discard)


class _TimedDialogue(_Dialogue):
    sink: CountingSink

    def _mail(self, argument: str) -> str:
        self.sink.mails.append(time.time())
        return super()._mail(argument)


@contextmanager
def counting_sink(directory: Path) -> Iterator[CountingSink]:
    """Run one in a thread of its own while the block lasts; its `port` is set."""
    sink = CountingSink(directory)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="counting-sink", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(sink.start(), loop).result()
        yield sink
    finally:
        asyncio.run_coroutine_threadsafe(sink.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        os.close(sink._file)
