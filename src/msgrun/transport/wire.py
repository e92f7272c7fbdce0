"""Lines to and from an SMTP server, on an established asyncio transport."""

import asyncio
import re
import select
from collections.abc import Callable
from typing import Final

from msgrun.model import Reply
from msgrun.transport.answers import make_reply

LINE = re.compile(rb"([2-5]\d\d)(?:([ -])(.*))?", re.DOTALL)
MAX_LINE: Final = 4096  # RFC 5321 4.5.3.1.5 says 512; real servers say more
_GONE: Final = getattr(select, "POLLRDHUP", 0)  # POLLHUP and POLLERR are always told
MAX_REPLY: Final = 32 * 1024


class WireError(Exception):
    """The connection is lost, silent, or speaks no SMTP; its text says which."""


class Wire(asyncio.Protocol):
    """Takes over a connected asyncio transport from the protocol that opened it.

    Nothing that arrives is ever thrown away: an answer nobody asked for stays
    visible in `has_input`, so that it cannot be taken for the next one.

    Args:
        transport: the connection.
        clean: takes out of an answer what must not be kept: the password, if it is echoed.
    """

    def __init__(
        self, transport: asyncio.Transport, clean: Callable[[str], str] = lambda text: text
    ) -> None:
        self._transport = transport
        self._clean = clean
        self._buffer = bytearray()
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._lost = "the connection is closed" if transport.is_closing() else ""
        self._closed = asyncio.Event()
        transport.set_protocol(self)
        # With no slack, `drain` returns when the transport has passed on every byte. Over TLS
        # asyncio pauses at the limit, not above it: with 0 it would pause for an empty buffer.
        secured = transport.get_extra_info("sslcontext") is not None
        transport.set_write_buffer_limits(high=1 if secured else 0)
        self._look = select.poll()
        # What comes over TLS need not be an answer: session tickets do, too.
        what = _GONE if secured else _GONE | select.POLLIN
        self._look.register(transport.get_extra_info("socket"), what)

    # What asyncio calls.

    def data_received(self, data: bytes) -> None:
        """Keep what arrived; too much of it ends the connection."""
        self._buffer += data
        if len(self._buffer) > MAX_REPLY:
            self._lost = self._lost or "the server's answer is too long"
            self._transport.abort()
        self._wake()

    def eof_received(self) -> bool:
        """Note that the server has closed its side; asyncio then closes ours."""
        self._lost = self._lost or "the server closed the connection"
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that nothing can be read or written any more."""
        why = f": {exc}" if exc else ""
        self._lost = self._lost or f"the connection was lost{why}"
        self._closed.set()
        self._wake()

    def pause_writing(self) -> None:
        """Note that bytes wait to be taken by the kernel."""
        self._paused = True

    def resume_writing(self) -> None:
        """Note that every byte has been taken."""
        self._paused = False
        self._wake()

    # What a session calls.

    @property
    def lost(self) -> str:
        """Why the connection can no longer be used; "" while it can."""
        return self._lost

    @property
    def has_input(self) -> bool:
        """Whether something has arrived that nobody has read."""
        return bool(self._buffer)

    def is_stirred(self) -> bool:
        """Look past the event loop: whether the peer has said something, or gone away.

        The loop may not have seen yet what came while other connections had their turn.
        """
        if self.has_input or self._lost:
            return True
        return bool(self._look.poll(0))

    def write(self, data: bytes) -> None:
        """Write bytes.

        Raises:
            WireError: the connection is lost; nothing was written.
        """
        if self._lost:
            raise WireError(self._lost)
        self._transport.write(data)

    async def drain(self, seconds: float) -> None:
        """Wait until the kernel has every byte, or something arrives.

        Raises:
            WireError: the connection is lost, or takes nothing for `seconds`.
        """
        if not self._paused or self._buffer:
            if self._lost and not self._buffer:
                raise WireError(self._lost)
            return
        try:
            async with asyncio.timeout(seconds):
                while self._paused and not self._buffer:
                    if self._lost:
                        break
                    await self._changed()
        except TimeoutError:
            raise WireError(f"the server took no data for {seconds:g} s") from None
        if self._lost and not self._buffer:
            raise WireError(self._lost)

    async def reply(self, seconds: float) -> Reply:
        """Return the server's next answer, whole within `seconds` (RFC 5321, 4.2).

        Raises:
            WireError: no answer, half an answer, or not an answer.
        """
        if self._buffer and (reply := self._take_reply()) is not None:
            return reply  # the rest of a pipelined answer
        try:
            async with asyncio.timeout(seconds):
                while (reply := self._take_reply()) is None:
                    if self._lost:
                        raise WireError(self._lost)
                    await self._changed()
        except TimeoutError:
            # After a freeze of this process the time is up before what arrived is looked at:
            # let the loop look once, and hand out what it found.
            for _ in range(2):
                await asyncio.sleep(0)
            late = self._take_reply()
            if late is None:
                raise WireError(f"no answer within {seconds:g} s") from None
            return late
        return reply

    def abort(self) -> None:
        """Drop the connection at once; what is still to be written is lost."""
        self._lost = self._lost or "the connection was dropped"
        self._transport.abort()

    async def close(self, seconds: float) -> None:
        """Close the connection in order, or drop it after `seconds`."""
        self._lost = self._lost or "the connection is closed"
        self._transport.close()
        try:
            async with asyncio.timeout(seconds):
                await self._closed.wait()
        except TimeoutError:
            self._transport.abort()

    def _take_reply(self) -> Reply | None:
        lines: list[str] = []
        start = 0
        while (end := self._buffer.find(b"\n", start)) >= 0:
            line = bytes(self._buffer[start : end + 1]).rstrip(b"\r\n")
            start = end + 1
            found = LINE.fullmatch(line)
            if found is None or len(line) > MAX_LINE or self._buffer[:3] != found[1]:
                shown = self._clean(line.decode("utf-8", "replace"))[:80]
                raise WireError(f"not an SMTP answer: {shown!r}")
            lines.append(self._clean((found[3] or b"").decode("utf-8", "replace")))
            if found[2] != b"-":
                del self._buffer[:start]
                return make_reply(int(found[1]), lines)
        if len(self._buffer) - start > MAX_LINE:
            raise WireError("the server's answer is too long")
        return None

    async def _changed(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
