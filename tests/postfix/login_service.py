"""A login service for Postfix that offers PLAIN and lets nobody in (Dovecot's protocol)."""

import os
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GREETING = (
    "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\n"
    "COOKIE\t00112233445566778899aabbccddeeff\nDONE\n"
)


class _Dialogue(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(GREETING.encode())
        for line in self.rfile:
            words = line.decode().rstrip("\n").split("\t")
            if words[0] == "AUTH":
                self.wfile.write(f"FAIL\t{words[1]}\n".encode())


@contextmanager
def login_service(path: Path) -> Iterator[None]:
    """Serve on a socket that everybody may use."""
    with socketserver.ThreadingUnixStreamServer(os.fspath(path), _Dialogue) as server:
        server.daemon_threads = True  # Postfix's processes keep their connections
        path.chmod(0o666)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            path.unlink()
