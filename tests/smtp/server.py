"""A small SMTP server on loopback that does what a script says, at every stage.

A script maps a stage to one answer for every time, or to a list of answers for the
first times (after which the stage answers as usual). An answer is one of

    250 2.0.0 text       that line; a newline makes it a multi-line answer
    close                the connection is closed
    reset                the connection is reset
    silent               nothing is said
    after 0.2 250 text   the line comes so many seconds later, though nobody may be there
    drip 250 text        the line comes byte by byte, for longer than anyone waits
    endless 250-text     the same line, byte by byte, again and again
    vanish               from now on every packet is dropped: nothing is taken, nothing is said
    raw text             these bytes and a line end
    early 552 text       (stage `data`) 354, then the answer as soon as body bytes come
    deaf 552 text        (stage `data`) 354, nothing is read, the answer when all buffers are full
    stuck                (stage `data`) 354, then nothing is read and nothing is said
    354+552 text         (stage `data`) 354 and the answer in one write

An answer may be followed by " & close". With a `chance`, every answer is cut at random into
pieces that come one after the other, as a network may deliver them.
"""

import asyncio
import contextlib
import ctypes
import random
import re
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

USUAL = {
    "banner": "220 test.example ESMTP",
    "starttls": "220 go ahead",
    "auth": "235 2.7.0 welcome",
    "mail": "250 2.1.0 sender ok",
    "rcpt": "250 2.1.5 recipient ok",
    "data": "354 go ahead",
    "dot": "250 2.0.0 Ok: queued as TEST01",
    "rset": "250 2.0.0 reset",
    "quit": "221 2.0.0 bye",
}
SO_ATTACH_FILTER = 26  # Linux, asm-generic/socket.h
PROTOCOL_VERSION_ALERT = b"\x15\x03\x01\x00\x02\x02\x46"  # what a server without TLS 1.2 says
Answer = str | Sequence[str]
MakeContext = Callable[..., ssl.SSLContext]


@dataclass
class Accepted:
    """One message that came with its final dot, unstuffed."""

    mail: str
    rcpts: list[str]
    data: bytes


@dataclass
class ScriptedServer:
    """What the server does, and what it has seen."""

    answers: Mapping[str, Answer] = field(default_factory=dict)
    extensions: Sequence[str] = ("PIPELINING", "SIZE 10000000", "8BITMIME", "SMTPUTF8")
    context: ssl.SSLContext | None = None
    implicit_tls: bool = False
    chance: random.Random | None = None
    pace: float = 0.05  # seconds between two bytes that drip
    port: int = 0
    connections: int = 0
    commands: list[str] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)
    messages: list[Accepted] = field(default_factory=list)
    body: bytes = b""
    goodbyes: int = 0
    gone: int = 0

    def __post_init__(self) -> None:
        self._left = {k: list(v) for k, v in self.answers.items() if not isinstance(v, str)}
        self._changed = asyncio.Event()
        self._handlers: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["ScriptedServer"]:
        """Listen on a free port of loopback."""
        context = self.context if self.implicit_tls else None
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await _a_few_steps()  # a connection may just have been taken
            for handler in self._handlers:
                handler.cancel()
            await asyncio.gather(*self._handlers, return_exceptions=True)
            for writer in self._writers:
                # In order, a close may wait for the peer longer than the loop lives.
                writer.transport.abort()
            await _a_few_steps()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that the server sees makes `condition` true."""
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def behave(self) -> None:
        """Forget the script: from now on every answer is the usual one."""
        self.answers, self._left = {}, {}

    def next_answer(self, stage: str, in_order: bool = True) -> str:
        """Take the script's next answer for a stage; commands out of order are refused."""
        given = self.answers.get(stage)
        if isinstance(given, str):
            return given
        if self._left.get(stage):
            return self._left[stage].pop(0)
        if stage == "ehlo":
            return "250 " + "\n".join(["test.example", *self.extensions])
        return USUAL[stage] if in_order else "503 5.5.1 out of order"

    def note(self) -> None:
        """Wake whoever waits in `until`."""
        self._changed.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        self._writers.append(writer)
        self.connections += 1
        try:
            await _Dialogue(self, reader, writer).run()
        except (ConnectionError, EOFError, ssl.SSLError, asyncio.CancelledError):
            pass
        finally:
            self.gone += 1
            self.note()
            writer.close()


async def _a_few_steps() -> None:
    """Let asyncio do what it has planned to do next."""
    for _ in range(6):
        await asyncio.sleep(0)


class _Dialogue:
    """One connection of the scripted server."""

    def __init__(
        self, server: ScriptedServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.server, self.reader, self.writer = server, reader, writer
        self.buffer = b""
        self.mail = ""
        self.rcpts: list[str] = []

    async def run(self) -> None:
        await self.say("banner")
        while True:
            line = await self.line()
            self.server.commands.append(line)
            self.server.note()
            verb = line.split(" ")[0].split(":")[0].upper()
            if verb == "DATA":
                await self.data()
            elif verb == "AUTH":
                await self.auth(line)
            else:
                await self.simple(verb.lower(), line)
            if verb == "QUIT":
                self.server.goodbyes += 1
                return

    async def simple(self, stage: str, line: str) -> None:
        answer = await self.say(stage, in_order=stage != "rcpt" or self.mail != "")
        if not answer.startswith("2"):
            return
        if stage == "starttls":
            await self.secure()
        elif stage == "mail":
            self.mail, self.rcpts = line, []
        elif stage == "rcpt":
            self.rcpts.append(line)
        elif stage == "rset":
            self.mail, self.rcpts = "", []

    async def secure(self) -> None:
        if "handshake" in self.server.answers:
            await self.more()  # the client's hello
            await self.perform(self.server.next_answer("handshake"))
        if self.server.context is None:
            await self.more()  # the client's hello
            self.writer.write(PROTOCOL_VERSION_ALERT)
            raise EOFError
        await self.writer.start_tls(self.server.context)

    async def auth(self, line: str) -> None:
        if line.upper().startswith("AUTH LOGIN"):
            await self.write("334 UGFzc3dvcmQ6")
            self.server.commands.append(await self.line())
        await self.say("auth")

    async def data(self) -> None:
        answer = self.server.next_answer("data", in_order=self.rcpts != [])
        early = answer.removeprefix("early ") if answer.startswith("early ") else ""
        if early:
            answer = "354 go ahead"
        await self.perform(answer)
        if not answer.startswith("354"):
            return
        self.server.body = b""
        while not self.complete():
            await self.more()
            self.server.body = self.buffer
            self.server.note()
            if early:
                await self.perform(early)
                early = ""
        whole, self.buffer = self.buffer.split(b"\r\n.\r\n", 1)
        unstuffed = (b"\r\n" + whole).replace(b"\r\n.", b"\r\n")[2:] + b"\r\n"
        self.server.messages.append(Accepted(self.mail, self.rcpts, unstuffed))
        self.server.note()
        self.mail, self.rcpts = "", []
        await self.say("dot")

    def complete(self) -> bool:
        return b"\r\n.\r\n" in self.buffer

    async def more(self) -> None:
        chunk = await self.reader.read(65536)
        if not chunk:
            raise EOFError
        self.server.chunks.append(chunk)
        self.buffer += chunk

    async def line(self) -> str:
        while b"\r\n" not in self.buffer:
            await self.more()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line.decode()

    async def say(self, stage: str, in_order: bool = True) -> str:
        answer = self.server.next_answer(stage, in_order)
        await self.perform(answer)
        return re.sub(r"^(raw|drip|after \S+) ", "", answer)

    async def perform(self, answer: str) -> None:
        answer, closing = answer.removesuffix(" & close"), answer.endswith(" & close")
        verb, _, rest = answer.partition(" ")
        if verb == "silent":
            await self.reader.read()  # until the client gives up
            raise EOFError
        if verb == "vanish":
            drop_packets(self.writer.get_extra_info("socket"))
            await asyncio.Event().wait()
        if verb not in {"close", "reset"}:
            await self.speak(verb, rest, answer)
        if verb == "reset":
            # Without a linger time it is a RST rather than a FIN.
            raw = self.writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        if closing or verb in {"close", "reset"}:
            await self.writer.drain()
            self.writer.close()
            raise EOFError

    async def speak(self, verb: str, rest: str, answer: str) -> None:
        """Say an answer in the manner of its verb, or as it is."""
        if verb == "after":
            seconds, _, rest = rest.partition(" ")
            await asyncio.sleep(float(seconds))
            await self.write(rest)
        elif verb == "drip":
            await self.drip(rest.encode() + b"\r\n")
        elif verb == "endless":
            while True:
                await self.drip(rest.encode() + b"\r\n")
        elif verb == "raw":
            await self.put(rest.encode() + b"\r\n")
        elif verb in {"deaf", "stuck"}:
            await self.write("354 go ahead")
            if verb == "deaf":
                await asyncio.sleep(0.2)
                await self.write(rest)
            await asyncio.Event().wait()
        elif verb.startswith("354+"):
            await self.put(f"354 go ahead\r\n{verb[4:]} {rest}\r\n".encode())
        else:
            await self.write(answer)

    async def write(self, answer: str) -> None:
        code, lines = answer[:3], answer[4:].split("\n")
        text = "".join(f"{code}-{line}\r\n" for line in lines[:-1]) + f"{code} {lines[-1]}\r\n"
        await self.put(text.encode())

    async def drip(self, data: bytes) -> None:
        for byte in data:
            self.writer.write(bytes([byte]))
            await self.writer.drain()
            await asyncio.sleep(self.server.pace)

    async def put(self, data: bytes) -> None:
        """Write bytes, in one piece or, with a chance, in several."""
        chance = self.server.chance
        while chance is not None and len(data) > 1 and chance.random() < 0.8:
            cut = chance.randrange(1, len(data))
            self.writer.write(data[:cut])
            await self.writer.drain()
            await asyncio.sleep(chance.choice([0, 0, 0.001, 0.003]))
            data = data[cut:]
        self.writer.write(data)
        await self.writer.drain()


def drop_packets(raw: socket.socket) -> None:
    """Let the kernel drop every packet that comes for a connection, as a dead network would.

    The filter is one instruction of the classic BPF: return 0, take nothing of it.
    """
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    program = struct.pack("HP", 1, ctypes.addressof(instruction))
    raw.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


@contextlib.contextmanager
def serving(server: ScriptedServer) -> Iterator[None]:
    """Run a server in a thread of its own."""
    loop = asyncio.new_event_loop()
    up, down = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with server.running():
            up.set()
            await down.wait()

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert up.wait(10)
        yield
    finally:
        loop.call_soon_threadsafe(down.set)
        thread.join()
