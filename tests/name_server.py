"""A name server on loopback that knows what a test tells it, and can misbehave.

It answers over UDP and TCP. Names that it was told nothing of do not exist (NXDOMAIN).
"""

import socket
import socketserver
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

TTL = 60


class NameServer:
    """What the name server knows, and what it was asked.

    Attributes:
        address: where it listens, as `[doctor] resolver` wants it.
        asked: every question in order, as (name, type, transport).
        silent: names (or "*") whose questions are never answered.
        failing: names (or "*") whose questions end with SERVFAIL.
        truncating: whether answers by UDP are cut off, so that TCP is needed.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = f"{address[0]}:{address[1]}"
        self.where = address
        self.asked: list[tuple[str, str, str]] = []
        self.silent: set[str] = set()
        self.failing: set[str] = set()
        self.truncating = False
        self._zone: dict[tuple[str, str], list[str]] = {}

    def add(self, name: str, kind: str, *records: str) -> None:
        """Tell it records; none make a name that exists without that type."""
        self._zone.setdefault((name.lower(), kind), []).extend(records)

    def txt(self, name: str, *texts: str) -> None:
        """Tell it TXT records, each split as long ones are."""
        for text in texts:
            pieces = [text[i : i + 255] for i in range(0, len(text), 255)] or [""]
            self.add(name, "TXT", " ".join(f'"{piece}"' for piece in pieces))

    def zone(self, text: str) -> None:
        """Tell it the lines of a zone: NAME TYPE RECORD."""
        for line in filter(None, map(str.strip, text.splitlines())):
            name, kind, record = line.split(None, 2)
            self.add(name, kind, record)

    def forget(self, name: str, kind: str, *, missing_ok: bool = False) -> None:
        """Take records away.

        Raises:
            KeyError: there are none, and that is not `missing_ok`.
        """
        if not missing_ok or (name.lower(), kind) in self._zone:
            del self._zone[name.lower(), kind]

    def questions(self, name: str, kind: str) -> int:
        """Return how often it was asked something."""
        return sum(asked[:2] == (name, kind) for asked in self.asked)

    def answer(self, wire: bytes, transport: str) -> bytes | None:
        """Return the answer to a question; None for none."""
        query = dns.message.from_wire(wire)
        (question,) = query.question
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind, transport))
        if {name, "*"} & self.silent:
            return None
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if {name, "*"} & self.failing:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif self.truncating and transport == "udp":
            response.flags |= dns.flags.TC
        else:
            self._fill(response, name, kind)
        if transport == "tcp":
            return response.to_wire()
        try:
            return response.to_wire(max_size=512)
        except dns.exception.TooBig:
            short = dns.message.make_response(query)
            short.flags |= dns.flags.TC
            return short.to_wire()

    def _fill(self, response: dns.message.Message, name: str, kind: str) -> None:
        for _ in range(5):
            target = self._zone.get((name, "CNAME"))
            if target is None or kind == "CNAME":
                break
            response.answer.append(_rrset(name, "CNAME", target))
            name = target[0].rstrip(".").lower()
        records = self._zone.get((name, kind))
        if records:
            response.answer.append(_rrset(name, kind, records))
        elif not any(own == name or own.endswith(f".{name}") for own, _ in self._zone):
            response.set_rcode(dns.rcode.NXDOMAIN)


def _rrset(name: str, kind: str, records: Sequence[str]) -> dns.rrset.RRset:
    return dns.rrset.from_text_list(dns.name.from_text(name), TTL, "IN", kind, list(records))


@contextmanager
def name_server() -> Iterator[NameServer]:
    """Run a name server on a port of its own."""
    for _ in range(20):  # the port must be free for both
        udp = socketserver.ThreadingUDPServer(("127.0.0.1", 0), _Udp)
        try:
            tcp = _TcpServer(udp.server_address, _Tcp)
            break
        except OSError:
            udp.server_close()
    server = NameServer(udp.server_address)
    threads = []
    for each in (udp, tcp):
        each.daemon_threads = True
        each.knows = server  # type: ignore[attr-defined]
        threads.append(threading.Thread(target=each.serve_forever, args=(0.02,)))
        threads[-1].start()
    try:
        yield server
    finally:
        for each, thread in zip((udp, tcp), threads, strict=True):
            each.shutdown()
            each.server_close()
            thread.join(timeout=10)


class _Udp(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        wire, endpoint = self.request
        answer = self.server.knows.answer(wire, "udp")
        if answer is not None:
            endpoint.sendto(answer, self.client_address)


class _TcpServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True


class _Tcp(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        stream: socket.socket = self.request
        stream.settimeout(5)
        with stream.makefile("rb") as incoming:
            head = incoming.read(2)
            if len(head) < 2:
                return
            wire = incoming.read(struct.unpack("!H", head)[0])
        answer = self.server.knows.answer(wire, "tcp")
        if answer is not None:
            stream.sendall(struct.pack("!H", len(answer)) + answer)
