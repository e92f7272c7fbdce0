"""Where composing happens: on a thread beside the event loop, or in processes of their own.

A process of its own has an interpreter of its own, so that composing and the wire use two
cores. It reads the source and makes bytes; the ledger and the wire are never its business, so
its death loses nothing: what it had in hand is composed on the thread.
"""

import asyncio
import fcntl
import pickle
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import IO, Any, Final, Protocol

from msgrun.delivery.composing import Kitchen, Ready, Unsendable
from msgrun.errors import DatabaseError, SourceError
from msgrun.ledger.rows import Claim
from msgrun.model import ComposedMessage, Envelope

PIPE_BYTES: Final = 1024 * 1024
"""Room in the pipe to us, where the system allows so much: several messages at once."""

AT_ONCE: Final = 2
"""Batches that a composer is given at a time: the next is there when the one before is made."""

_LENGTH: Final = struct.Struct("!Q")
_GOODBYE_SECONDS: Final = 5.0


class Composer(Protocol):
    """Composes one batch of claims at a time."""

    async def compose(self, claims: Sequence[Claim]) -> list[Ready | Unsendable]:
        """Compose claims from what the source has now, in their order.

        Raises:
            SourceError: the billing data is not as the contract wants it.
            DatabaseError: it cannot be read.
        """
        ...

    def close(self) -> None:
        """Let go of all that is held."""
        ...


class ThreadComposer:
    """Composes on a thread of this process."""

    def __init__(self, kitchen: Kitchen) -> None:
        self._kitchen = kitchen
        self._thread = ThreadPoolExecutor(1, "composer")

    async def compose(self, claims: Sequence[Claim]) -> list[Ready | Unsendable]:
        """See `Composer`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._kitchen.compose, claims)

    def close(self) -> None:
        """Give the connection back."""
        self._thread.submit(self._kitchen.close).result()
        self._thread.shutdown()


class ProcessComposer:
    """Composes in a process of its own; on a thread here once that process is gone.

    It is asked for the next batch while it works on the one before, so that it never waits.
    """

    def __init__(self, kitchen: Kitchen) -> None:
        self._kitchen = kitchen
        self._threads = ThreadPoolExecutor(AT_ONCE, "composer")
        self._process: subprocess.Popen[bytes] | None = None
        self._begun = False
        self._asking = threading.Lock()
        self._answering = threading.Lock()
        self._here = threading.Lock()  # the kitchen here serves one at a time

    @property
    def pid(self) -> int | None:
        """The process; None where there is none (any more)."""
        return self._process.pid if self._process else None

    async def begin(self) -> bool:
        """Start the process, and wait until it can compose; False where there can be none."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._begin)

    async def compose(self, claims: Sequence[Claim]) -> list[Ready | Unsendable]:
        """See `Composer`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._compose, claims)

    def close(self) -> None:
        """End the process, and give a connection back."""
        self._threads.submit(self._close).result()
        self._threads.shutdown()

    def _begin(self) -> bool:
        with self._asking:
            if not self._begun:
                self._begun = True
                self._process = _begin(self._kitchen)
        return self._process is not None

    def _compose(self, claims: Sequence[Claim]) -> list[Ready | Unsendable]:
        if self._begin():
            try:
                return self._ask(claims)
            except (OSError, EOFError):
                pass
        with self._asking, self._answering:  # nobody may use a pipe that is being closed
            self._end()
        with self._here:
            return self._kitchen.compose(claims)

    def _ask(self, claims: Sequence[Claim]) -> list[Ready | Unsendable]:
        """Ask the process; answers are waited for in the order of the questions."""
        with ExitStack() as turn:
            with self._asking:
                process = self._process
                if process is None:
                    raise EOFError
                write_packet(_pipe(process.stdin), claims)
                turn.enter_context(self._answering)
            answer = read_packet(_pipe(process.stdout))
        if isinstance(answer, Exception):
            raise answer
        return [_made(claim, each) for claim, each in zip(claims, answer, strict=True)]

    def _close(self) -> None:
        with (
            self._asking,
            self._answering,
            self._here,
        ):  # one that is just starting is waited for, and ended too
            self._begun = True
            self._end()
            self._kitchen.close()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
        try:
            process.wait(_GOODBYE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _begin(kitchen: Kitchen) -> subprocess.Popen[bytes] | None:
    """Start a composing process and wait until it is ready; None where that cannot be."""
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "msgrun.delivery.composer_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return None
    if process.stdout is not None and hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):  # a user's pipes may be limited
            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    try:
        write_packet(_pipe(process.stdin), kitchen)
        read_packet(_pipe(process.stdout))
    except (OSError, EOFError):
        process.kill()
        process.communicate()
        return None
    return process


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise EOFError
    return pipe


def answer(kitchen: Kitchen, claims: Sequence[Claim]) -> Any:
    """Return what a composing process sends back: plain tuples, which cost little to pickle."""
    try:
        return [_told(each) for each in kitchen.compose(claims)]
    except (SourceError, DatabaseError) as error:
        return error


def _told(made: Ready | Unsendable) -> Any:
    if isinstance(made, Unsendable):
        return made
    envelope, message = made.envelope, made.message
    return (
        made.invoices,
        (envelope.sender, envelope.recipients, envelope.bcc, envelope.smtputf8),
        (
            pickle.PickleBuffer(message.data),
            message.sha256,
            message.message_id,
            message.date,
            message.plain,
        ),
        made.context,
    )


def _made(claim: Claim, told: Any) -> Ready | Unsendable:
    if isinstance(told, Unsendable):
        return told
    invoices, envelope, message, context = told
    return Ready(claim, invoices, Envelope(*envelope), ComposedMessage(*message), context)


def write_packet(pipe: IO[bytes], value: Any) -> None:
    """Write a value, and behind it the bytes that its `PickleBuffer`s hold: they are not copied.

    Raises:
        OSError: nobody reads it.
    """
    apart: list[pickle.PickleBuffer] = []
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL, buffer_callback=apart.append)
    parts = [memoryview(data), *(each.raw() for each in apart)]
    lengths = [len(each) for each in parts]
    pipe.write(_LENGTH.pack(len(parts)) + b"".join(map(_LENGTH.pack, lengths)))
    for part in parts:
        pipe.write(part)
    pipe.flush()


def read_packet(pipe: IO[bytes]) -> Any:
    """Read a value that `write_packet` wrote, buffers as bytes; both ends are this very program.

    Raises:
        EOFError: the other side is gone.
    """
    (count,) = _LENGTH.unpack(_read(pipe, _LENGTH.size))
    lengths = [length for (length,) in _LENGTH.iter_unpack(_read(pipe, count * _LENGTH.size))]
    data, *apart = [_read(pipe, length) for length in lengths]
    return pickle.loads(data, buffers=apart)  # noqa: S301 - from our own child, over a pipe


def _read(pipe: IO[bytes], length: int) -> bytes:
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    return data
