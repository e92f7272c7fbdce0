"""A wire between msgrun and PostgreSQL that breaks in a COMMIT.

Enough of the protocol (PostgreSQL documentation, 55.7) to know which statements a
transaction holds when its COMMIT comes by.
"""

import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

from sqlalchemy.engine import URL

Cut = Literal["before", "after"]
"""Before the COMMIT reaches the server, or after the server has made it and says so."""

_STARTUP_HEAD, _HEAD = 4, 5


class Proxy:
    """Listens on a port of loopback, and passes on what it hears.

    Args:
        socket_path: where the server listens.
    """

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._armed: tuple[re.Pattern[str], Cut, int] | None = None
        self._lock = threading.Lock()
        self.cut = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listener.getsockname()[1]
        return port

    def arm(self, statement: str, cut: Cut, number: int = 1) -> None:
        """Break in the n-th COMMIT whose transaction holds a statement that matches."""
        self._armed = (re.compile(statement, re.DOTALL), cut, number)

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._socket_path)
                wire = _Wire(self, client, server)
                threading.Thread(target=wire.serve, daemon=True).start()

    def cuts(self, statements: list[str]) -> Cut | None:
        """Tell whether the COMMIT of these statements is the one; it is so once."""
        with self._lock:
            if self._armed is None:
                return None
            pattern, cut, number = self._armed
            if not any(pattern.search(statement) for statement in statements):
                return None
            self._armed = (pattern, cut, number - 1) if number > 1 else None
            return cut if number == 1 else None


class _Wire:
    """One connection: a thread for each direction."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._prepared: dict[bytes, str] = {}
        self._statements: list[str] = []
        self._swallow = threading.Event()

    def serve(self) -> None:
        """Pass on what both say until one of them hangs up, or the wire breaks."""
        with self._client, self._server:
            answers = threading.Thread(target=self._to_client, daemon=True)
            answers.start()
            self._to_server()
            answers.join()

    def _to_server(self) -> None:
        """Pass on what the client says, until the COMMIT that is to be cut."""
        with suppress(OSError, EOFError):
            self._server.sendall(_message(self._client, _STARTUP_HEAD))
            while True:
                message = _message(self._client, _HEAD)
                for statement in self._begun(message):
                    cut = None
                    if statement == "COMMIT":
                        cut = self._proxy.cuts(self._statements)
                    if cut == "before":
                        self._break()
                        return
                    if cut == "after":
                        self._swallow.set()
                    if statement in {"BEGIN", "COMMIT", "ROLLBACK"}:
                        self._statements.clear()
                    else:
                        self._statements.append(statement)
                self._server.sendall(message)
        self._hang_up()

    def _to_client(self) -> None:
        """Pass on what the server says, but for the answer to the COMMIT that is cut."""
        with suppress(OSError, EOFError):
            while True:
                message = self._server.recv(65536)
                if not message:
                    break
                if self._swallow.is_set():
                    assert message.startswith(b"C\0\0\0\x0bCOMMIT\0"), message
                    self._break()
                    return
                self._client.sendall(message)
        self._hang_up()

    def _begun(self, message: bytes) -> Iterator[str]:
        """Return the statement that a message has the server execute."""
        kind, content = message[:1], message[_HEAD:]
        if kind == b"Q":
            yield content.rstrip(b"\0").decode()
        elif kind == b"P":
            name, text, _ = content.split(b"\0", 2)
            self._prepared[name] = text.decode()
        elif kind == b"B":
            _, name, _ = content.split(b"\0", 2)
            yield self._prepared[name]

    def _break(self) -> None:
        self._hang_up()
        self._proxy.cut.set()

    def _hang_up(self) -> None:
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _message(source: socket.socket, head: int) -> bytes:
    """Read one message; the first of a connection has no kind before its length."""
    begun = _exactly(source, head)
    (length,) = struct.unpack("!I", begun[-4:])
    return begun + _exactly(source, length - 4)


def _exactly(source: socket.socket, count: int) -> bytes:
    parts = b""
    while len(parts) < count:
        part = source.recv(count - len(parts))
        if not part:
            raise EOFError
        parts += part
    return parts


@contextmanager
def running_proxy(behind: URL) -> Iterator[tuple[Proxy, str]]:
    """Run a proxy before the server of a URL while the block lasts; yield it and the URL by it."""
    folder = behind.query["host"]
    proxy = Proxy(f"{folder}/.s.PGSQL.{behind.port or 5432}")
    # Neither TLS nor Kerberos: the proxy reads along.
    way = behind.set(
        host="127.0.0.1", port=proxy.port, query={"sslmode": "disable", "gssencmode": "disable"}
    )
    try:
        yield proxy, way.render_as_string(hide_password=False)
    finally:
        proxy.close()
