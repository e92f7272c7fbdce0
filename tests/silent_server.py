"""A mail server that falls silent."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def silent(*lines: str) -> Iterator[int]:
    """A server that says these lines, one a command, and then nothing more."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                while not over.is_set():
                    connection, _ = listening.accept()
                    with connection:
                        for line in lines:
                            connection.sendall(f"{line}\r\n".encode())
                            if line != lines[-1]:
                                connection.recv(1024)
                        over.wait(30)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            over.set()
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(10)
