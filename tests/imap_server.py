"""A small IMAP server (RFC 3501): one folder, and as many of the commands as a reader needs."""

import base64
import re
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class ImapServer:
    """What it holds, and what it heard.

    Attributes:
        mails: their bytes by UID; `seen` are the UIDs that are marked.
        commands: as they came.
        asked: the tag of an AUTHENTICATE whose answer comes next.
    """

    user: str = "bounces@acme.test"
    password: str = "s3cret"
    folder: str = "INBOX"
    mails: dict[int, bytes] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)
    commands: list[str] = field(default_factory=list)
    port: int = 0
    asked: str = ""

    def answer(self, command: str) -> Iterator[bytes | str]:
        """Yield the lines, and literals as bytes, that a command is answered with."""
        self.commands.append(command)
        if self.asked:
            tag, self.asked = self.asked, ""
            right = f"auth=Bearer {self.password}\1\1".encode() in base64.b64decode(command)
            yield f"{tag} OK done" if right else f"{tag} NO [AUTHENTICATIONFAILED] no such token"
            return
        tag, _, rest = command.partition(" ")
        verb = rest.upper()
        if verb.startswith("CAPABILITY"):
            yield "* CAPABILITY IMAP4rev1"
        elif verb.startswith("AUTHENTICATE XOAUTH2"):
            self.asked = tag
            yield "+ "
            return
        elif verb.startswith("LOGIN") and self.password not in rest:
            yield f"{tag} NO [AUTHENTICATIONFAILED] wrong name or password"
            return
        elif verb.startswith("SELECT"):
            if self.folder not in rest:
                yield f"{tag} NO [NONEXISTENT] no such folder"
                return
            yield f"* {len(self.mails)} EXISTS"
        elif verb.startswith("UID SEARCH"):
            yield "* SEARCH " + " ".join(str(u) for u in self.mails if u not in self.seen)
        elif found := re.match(r"UID FETCH (\d+) \(BODY\.PEEK\[\]<0\.(\d+)>\)", verb):
            data = self.mails[int(found[1])][: int(found[2])]
            yield f"* 1 FETCH (UID {found[1]} BODY[]<0> {{{len(data)}}}"
            yield data
            yield ")"
        elif found := re.match(r"UID STORE (\d+) \+FLAGS\.SILENT \(\\SEEN\)", verb):
            self.seen.add(int(found[1]))
        elif verb.startswith("LOGOUT"):
            yield "* BYE"
        yield f"{tag} OK done"


@contextmanager
def imap_server(context: ssl.SSLContext | None = None) -> Iterator[ImapServer]:
    """Run one on loopback, over TLS where a context is given."""
    held = ImapServer()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"* OK ready\r\n")
            for line in self.rfile:
                for part in held.answer(line.decode().rstrip("\r\n")):
                    self.wfile.write(part if isinstance(part, bytes) else f"{part}\r\n".encode())

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def get_request(self) -> Any:
            connection, address = super().get_request()
            if context is not None:
                connection = context.wrap_socket(connection, server_side=True)
            return connection, address

        def handle_error(self, *_request: object) -> None:
            """A client that does not trust it hangs up."""

    with Server(("127.0.0.1", 0), Handler) as server:
        held.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield held
        finally:
            server.shutdown()
            thread.join(10)
