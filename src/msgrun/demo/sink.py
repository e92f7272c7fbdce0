"""A small SMTP server on loopback that keeps what it gets: for the demo and for trying things out.

It speaks enough of RFC 5321 for any client, with PIPELINING, SIZE, 8BITMIME, SMTPUTF8 and
ENHANCEDSTATUSCODES. It never passes anything on.
"""

import argparse
import asyncio
import re
import secrets
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from pathlib import Path

HOST = "127.0.0.1"
SIZE = 26_214_400
LINE_LIMIT = 65_536

_PATH = re.compile(r"(?:FROM|TO): ?<([^<>\x00-\x20\x7f]*)>(?: +(.*))?", re.IGNORECASE)
_DECLARED_SIZE = re.compile(r"\bSIZE=([0-9]{1,18})\b", re.IGNORECASE)
_SMTPUTF8 = re.compile(r"\bSMTPUTF8\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Received:
    """One message that the sink accepted; the bytes are in the file at `path`."""

    number: int
    queue_id: str
    message_id: str
    sender: str
    recipients: tuple[str, ...]
    path: Path


class Sink:
    """An SMTP server on 127.0.0.1 that stores each message as one `.eml` file.

    Args:
        directory: where the files go; made if missing.
        refuse: address → the reply line that RCPT gets for it, e.g. "550 5.1.1 User unknown".
        delay: seconds to wait before each end of DATA is answered; may be changed at any time.
        on_message: called with each accepted message.
    """

    def __init__(
        self,
        directory: Path,
        *,
        refuse: Mapping[str, str] | None = None,
        delay: float = 0.0,
        on_message: Callable[[Received], None] | None = None,
    ) -> None:
        self.directory = directory
        self.refuse = {address.lower(): reply for address, reply in (refuse or {}).items()}
        self.delay = delay
        self.on_message = on_message
        self.received: list[Received] = []
        self.port = 0
        self._number = 0
        self._server: asyncio.Server | None = None
        self._dialogues: set[asyncio.Task[None]] = set()

    async def start(self, port: int = 0) -> int:
        """Listen on `port` (0: any free one) and return the port.

        Raises:
            OSError: the port is taken, or the directory cannot be made.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self._number = sum(1 for _ in self.directory.glob("*.eml"))
        self._server = await asyncio.start_server(
            self._connected, HOST, port, limit=LINE_LIMIT, start_serving=False
        )
        await self._server.start_serving()
        self.port = self._server.sockets[0].getsockname()[1]
        return self.port

    async def stop(self) -> None:
        """Stop listening and drop the open connections; unanswered messages are not kept."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        dialogues = list(self._dialogues)
        for task in dialogues:
            task.cancel()
        await asyncio.gather(*dialogues, return_exceptions=True)
        await server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:  # accepted while stopping
            writer.transport.abort()
            return
        task = asyncio.ensure_future(_Dialogue(self, reader, writer).run())
        self._dialogues.add(task)
        task.add_done_callback(self._dialogues.discard)

    def keep(self, sender: str, recipients: tuple[str, ...], data: bytes) -> Received:
        """Store one message and return its entry in the index."""
        self._number += 1
        queue_id = secrets.token_hex(5).upper()
        path = self.directory / f"{self._number:04d}-{queue_id}.eml"
        path.write_bytes(data)
        message_id = str(BytesHeaderParser().parsebytes(data).get("Message-ID", "")).strip()
        entry = Received(self._number, queue_id, message_id, sender, recipients, path)
        self.received.append(entry)
        if self.on_message is not None:
            self.on_message(entry)
        return entry


class _Dialogue:
    """One connection: its commands in order, and the transaction that is open in it."""

    def __init__(
        self, sink: Sink, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.sink = sink
        self.reader = reader
        self.writer = writer
        self.greeted = False
        self.reset()

    def reset(self) -> None:
        self.sender: str | None = None
        self.smtputf8 = False
        self.recipients: list[str] = []

    async def run(self) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            try:
                await self._converse()
            except asyncio.LimitOverrunError:
                await self._say("500 5.5.2 Line too long")
            except asyncio.CancelledError:
                self.writer.transport.abort()  # close() would wait for a client that does not read
                raise
            finally:
                self.writer.close()

    async def _converse(self) -> None:
        await self._say("220 localhost ESMTP msgrun demo sink")
        while True:
            line = (await self.reader.readuntil(b"\r\n"))[:-2].decode("utf-8", "replace")
            verb, _, argument = line.partition(" ")
            verb, argument = verb.upper(), argument.strip()
            if verb == "QUIT":
                await self._say("221 2.0.0 Bye")
                return
            if verb == "DATA":
                await self._data()
            else:
                await self._say(*self._answer(verb, argument))

    async def _say(self, *lines: str) -> None:
        for line in lines:
            self.writer.write(line.encode() + b"\r\n")
        await self.writer.drain()

    def _answer(self, verb: str, argument: str) -> Sequence[str]:
        match verb:
            case "EHLO" | "HELO" if argument:
                return self._hello(verb)
            case "MAIL":
                return (self._mail(argument),)
            case "RCPT":
                return (self._rcpt(argument),)
            case "RSET":
                self.reset()
                return ("250 2.0.0 Ok",)
            case "NOOP":
                return ("250 2.0.0 Ok",)
            case "VRFY":
                return ("252 2.0.0 Send some mail and see",)
            case "EHLO" | "HELO":
                return ("501 5.5.4 A host name is missing",)
        return ("502 5.5.2 Command not recognized",)

    def _hello(self, verb: str) -> Sequence[str]:
        self.greeted = True
        self.reset()
        if verb == "HELO":
            return ("250 localhost",)
        extensions = ("PIPELINING", f"SIZE {SIZE}", "8BITMIME", "SMTPUTF8")
        return (
            "250-localhost",
            *(f"250-{name}" for name in extensions),
            "250 ENHANCEDSTATUSCODES",
        )

    def _mail(self, argument: str) -> str:
        if not self.greeted or self.sender is not None:
            return "503 5.5.1 Not now"
        path = _PATH.fullmatch(argument)
        if path is None or not argument.upper().startswith("FROM"):
            return "501 5.1.7 Bad sender address syntax"
        declared = _DECLARED_SIZE.search(path[2] or "")
        if declared and int(declared[1]) > SIZE:
            return "552 5.3.4 Message too big"
        self.sender = path[1]
        self.smtputf8 = bool(_SMTPUTF8.search(path[2] or ""))
        return "250 2.1.0 Ok"

    def _rcpt(self, argument: str) -> str:
        if self.sender is None:
            return "503 5.5.1 MAIL first"
        path = _PATH.fullmatch(argument)
        if path is None or not path[1] or not argument.upper().startswith("TO"):
            return "501 5.1.3 Bad recipient address syntax"
        if not path[1].isascii() and not self.smtputf8:
            return "553 5.6.7 The address needs SMTPUTF8"
        if refusal := self.sink.refuse.get(path[1].lower()):
            return refusal
        self.recipients.append(path[1])
        return "250 2.1.5 Ok"

    async def _data(self) -> None:
        if self.sender is None or not self.recipients:
            await self._say("503 5.5.1 No valid recipients")
            return
        await self._say("354 End data with <CR><LF>.<CR><LF>")
        data = await self._content()
        sender, recipients = self.sender, tuple(self.recipients)
        self.reset()
        if data is None:
            await self._say("552 5.3.4 Message too big")
            return
        await asyncio.sleep(self.sink.delay)
        entry = self.sink.keep(sender, recipients, data)
        await self._say(f"250 2.0.0 Ok: queued as {entry.queue_id}")

    async def _content(self) -> bytes | None:
        """Return the message without dot-stuffing (RFC 5321, 4.5.2), None if it is too big."""
        lines: list[bytes] = []
        size = 0
        while (line := await self.reader.readuntil(b"\r\n")) != b".\r\n":
            size += len(line)
            if size <= SIZE:
                lines.append(line.removeprefix(b"."))
        return b"".join(lines) if size <= SIZE else None


@contextmanager
def running_sink(
    directory: Path,
    *,
    port: int = 0,
    refuse: Mapping[str, str] | None = None,
    delay: float = 0.0,
) -> Iterator[Sink]:
    """Run a sink in a thread of its own while the block lasts; its `port` is set.

    Raises:
        OSError: the port is taken, or the directory cannot be made.
    """
    sink = Sink(directory, refuse=refuse, delay=delay)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="demo-sink", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(sink.start(port), loop).result()
        yield sink
    finally:
        asyncio.run_coroutine_threadsafe(sink.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _print_entry(entry: Received) -> None:
    size = entry.path.stat().st_size
    print(f"{entry.path.name}  {size} bytes  to {', '.join(entry.recipients)}", flush=True)


async def _serve(sink: Sink, port: int) -> None:
    await sink.start(port)
    print(f"Listening on {HOST}:{sink.port}; messages go to {sink.directory}", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await sink.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sink until Ctrl-C; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m msgrun.demo.sink",
        description="An SMTP server on 127.0.0.1 that stores every message as a file.",
    )
    parser.add_argument("--port", type=int, default=2525)
    parser.add_argument("--directory", type=Path, default=Path("mail"))
    parser.add_argument(
        "--delay", type=float, default=0.0, metavar="SECONDS", help="wait before each answer"
    )
    options = parser.parse_args(arguments)
    if not 0 <= options.port <= 65_535:
        parser.error("--port must be between 0 (any free port) and 65535")
    sink = Sink(options.directory, delay=options.delay, on_message=_print_entry)
    try:
        asyncio.run(_serve(sink, options.port))
    except KeyboardInterrupt:
        print(f"{len(sink.received)} messages in {options.directory}")
    except OSError as error:
        print(f"The sink cannot start: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
