"""Opening a connection to a mail server: resolve, connect, TLS, banner, EHLO, AUTH.

The sender and the doctor's probe both come through here, so that what the doctor
sees is what the sender meets.
"""

import asyncio
import ipaddress
import os
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import aiosmtplib

from msgrun.model import Reply, Stage
from msgrun.transport.answers import classify, make_reply
from msgrun.transport.login import Login
from msgrun.transport.server import ConnectionFault, ServerSettings, Step
from msgrun.transport.session import Session
from msgrun.transport.tls import client_context, describe, expires_soon, handshake_finding
from msgrun.transport.wire import Wire

IMPLICIT_TLS_PORT: Final = 465


@dataclass
class Connection:
    """An open connection, ready for mail transactions."""

    session: Session
    transactions: int = 0


async def open_connection(settings: ServerSettings, trace: list[Step] | None = None) -> Connection:
    """Open, secure and authenticate a connection.

    Args:
        settings: where and how.
        trace: each step that succeeds is appended here.

    Raises:
        ConnectionFault: a step failed; nothing is left open.
    """
    opening = _Opening(settings, [] if trace is None else trace)
    try:
        return await opening.run()
    except BaseException:
        opening.close()
        raise


class _Opening:
    """The steps of opening one connection, in their order."""

    def __init__(self, settings: ServerSettings, trace: list[Step]) -> None:
        self._settings = settings
        self._trace = trace
        self._mark = time.monotonic()
        self._where = f"{settings.host}:{settings.port}"
        self._login = Login(settings)
        self._socket: socket.socket | None = None
        self._smtp: aiosmtplib.SMTP | None = None

    async def run(self) -> Connection:
        """Take every step and hand the connection over to a session."""
        settings = self._settings
        addresses = await self._resolve()
        sock = await self._connect(addresses)
        smtp = await self._greet(sock)
        await self._ehlo(smtp)
        if settings.security == "starttls":
            await self._starttls(smtp)
            # RFC 3207 4.2: what was offered in clear counts for nothing.
            await self._ehlo(smtp, again=True)
        if settings.username is not None:
            with self._faults(Stage.AUTH, "MR615"):
                done = await self._login.log_in(smtp, settings.username)
            self._record(Stage.AUTH, done)
        # The extensions go when aiosmtplib closes, so they are copied.
        extensions = dict(smtp.esmtp_extensions)
        if smtp.transport is None:
            raise ConnectionFault(Stage.EHLO, "MR603", None, f"{self._where} closed the connection")
        wire = Wire(cast(asyncio.Transport, smtp.transport), self._login.without_secret)
        return Connection(Session(wire, extensions, settings.timeout, settings.dot_timeout))

    def close(self) -> None:
        """Drop whatever is open."""
        if self._smtp is not None:
            self._smtp.close()
        elif self._socket is not None:
            self._socket.close()

    def _record(
        self, stage: Stage, *evidence: str, finding: str = "", reply: Reply | None = None
    ) -> None:
        """Note a step that succeeded; a finding makes it a warning."""
        now = time.monotonic()
        milliseconds = round((now - self._mark) * 1000)
        self._mark = now
        status: Literal["pass", "warn"] = "warn" if finding else "pass"
        self._trace.append(Step(stage, status, finding, list(evidence), reply, milliseconds))

    async def _resolve(self) -> list[tuple[Any, ...]]:
        settings = self._settings
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(settings.timeout):
                found = await loop.getaddrinfo(
                    settings.host, settings.port, type=socket.SOCK_STREAM
                )
        except TimeoutError:
            text = f"{settings.host}: no answer from the resolver within {settings.timeout:g} s"
            raise ConnectionFault(Stage.RESOLVE, "MR602", None, text) from None
        except (OSError, UnicodeError) as exc:
            text = f"{settings.host} does not resolve: {exc}"
            raise ConnectionFault(Stage.RESOLVE, "MR602", None, text) from exc
        self._record(Stage.RESOLVE, *dict.fromkeys(str(entry[4][0]) for entry in found))
        return list(found)

    async def _connect(self, addresses: Sequence[tuple[Any, ...]]) -> socket.socket:
        """Try each address in turn; the time-out is shared out among them."""
        share = self._settings.timeout / len(addresses)
        failed: dict[str, int] = {}
        for family, kind, protocol, _, address in addresses:
            try:
                sock = self._socket = socket.socket(family, kind, protocol)
                sock.setblocking(False)
                async with asyncio.timeout(share):
                    await asyncio.get_running_loop().sock_connect(sock, address)
            except OSError as exc:  # TimeoutError is one
                if self._socket is not None:
                    self._socket.close()
                why = os.strerror(exc.errno) if exc.errno else f"no answer within {share:g} s"
                failed[f"{address[0]} port {address[1]}: {why}"] = family
                continue
            evidence = [*failed, f"{address[0]} port {address[1]}: connected"]
            one_family = bool(failed) and family not in failed.values()
            self._record(Stage.CONNECT, *evidence, finding="MR604" if one_family else "")
            return sock
        raise ConnectionFault(Stage.CONNECT, "MR603", None, "; ".join(failed))

    async def _greet(self, sock: socket.socket) -> aiosmtplib.SMTP:
        """Do the TLS handshake where it comes first, and read the banner."""
        settings = self._settings
        context = None if settings.security == "none" else await self._context()
        smtp = self._smtp = aiosmtplib.SMTP(
            hostname=settings.host,
            sock=sock,
            use_tls=settings.security == "tls",
            start_tls=False,
            tls_context=context,
            timeout=settings.timeout,
            local_hostname=settings.ehlo or own_name(sock),
        )
        try:
            greeting = await smtp.connect()
        except aiosmtplib.SMTPResponseException as exc:
            raise self._refused(Stage.BANNER, exc, "MR605") from exc
        except aiosmtplib.SMTPConnectError as exc:
            raise self._no_banner(exc) from exc
        if settings.security == "tls":
            self._secured(smtp)
        self._record(Stage.BANNER, reply=make_reply(greeting.code, greeting.message.splitlines()))
        return smtp

    async def _context(self) -> ssl.SSLContext:
        try:
            # Loading the system's certificates takes longer than the loop may stand still.
            return await asyncio.to_thread(
                client_context, self._settings.ca_file, self._settings.verify
            )
        except OSError as exc:
            text = f"ca_file {self._settings.ca_file} cannot be used: {exc}"
            raise ConnectionFault(Stage.TLS, "MR611", None, text) from exc

    def _no_banner(self, exc: aiosmtplib.SMTPConnectError) -> ConnectionFault:
        """Tell a failed handshake from a missing banner: aiosmtplib raises one error for both."""
        cause = exc.__cause__
        if self._settings.security == "tls" and not isinstance(cause, aiosmtplib.SMTPException):
            return self._handshake_fault(cause or exc)
        silent = isinstance(exc, aiosmtplib.SMTPTimeoutError)
        what = f"no banner within {self._settings.timeout:g} s" if silent else "closed, no banner"
        if self._settings.security != "tls" and self._settings.port == IMPLICIT_TLS_PORT:
            text = f"{self._where}: {what}; port {IMPLICIT_TLS_PORT} wants TLS from the first byte"
            return ConnectionFault(Stage.BANNER, "MR606", None, text)
        return ConnectionFault(Stage.BANNER, "MR605", None, f"{self._where}: {what}")

    async def _ehlo(self, smtp: aiosmtplib.SMTP, *, again: bool = False) -> None:
        with self._faults(Stage.EHLO, "MR605"):
            answer = await smtp.ehlo()
        if again:
            return
        name = smtp.local_hostname or ""
        offered = sorted(keyword.upper() for keyword in smtp.esmtp_extensions)
        evidence = [f"EHLO {name}", "offered: " + (", ".join(offered) or "nothing")]
        full = "." in name or ":" in name
        reply = make_reply(answer.code, answer.message.splitlines()[:1])
        self._record(Stage.EHLO, *evidence, finding="" if full else "MR619", reply=reply)

    async def _starttls(self, smtp: aiosmtplib.SMTP) -> None:
        if not smtp.supports_extension("starttls"):
            text = f"{self._where} does not offer STARTTLS; nothing is sent in clear"
            raise ConnectionFault(Stage.TLS, "MR607", None, text)
        try:
            await smtp.starttls()
        except aiosmtplib.SMTPResponseException as exc:
            raise self._refused(Stage.TLS, exc, "MR607") from exc
        except (aiosmtplib.SMTPException, OSError) as exc:
            # A bad certificate comes as a bare ssl.SSLCertVerificationError, an OSError.
            raise self._handshake_fault(exc) from exc
        self._secured(smtp)

    def _handshake_fault(self, exc: BaseException) -> ConnectionFault:
        finding, text = handshake_finding(exc, implicit=self._settings.security == "tls")
        return ConnectionFault(Stage.TLS, finding, None, f"{self._where}: {text}")

    def _secured(self, smtp: aiosmtplib.SMTP) -> None:
        secured = cast(ssl.SSLObject, smtp.get_transport_info("ssl_object"))
        if not self._settings.verify:
            finding = "MR620"
        else:
            finding = "MR612" if expires_soon(secured, time.time()) else ""
        self._record(Stage.TLS, *describe(secured, time.time()), finding=finding)

    @contextmanager
    def _faults(self, stage: Stage, malformed: str) -> Iterator[None]:
        """Turn what aiosmtplib raises at `stage` into a fault."""
        try:
            yield
        except aiosmtplib.SMTPResponseException as exc:
            raise self._refused(stage, exc, malformed) from exc
        except aiosmtplib.SMTPTimeoutError as exc:
            text = f"{self._where}: no answer to {stage.upper()} in {self._settings.timeout:g} s"
            raise ConnectionFault(stage, "MR603", None, text) from exc
        except (aiosmtplib.SMTPException, OSError, UnicodeError) as exc:
            text = f"{self._where}: connection lost at {stage.upper()}"
            raise ConnectionFault(stage, "MR603", None, text) from exc

    def _refused(
        self, stage: Stage, exc: aiosmtplib.SMTPResponseException, malformed: str
    ) -> ConnectionFault:
        lines = exc.message.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        lines = self._login.without_secret(lines)
        if not 400 <= exc.code < 600:
            text = f"{self._where}: not an SMTP answer: {lines[:200]!r}"
            return ConnectionFault(stage, malformed, None, text)
        reply = make_reply(exc.code, lines.splitlines())
        meaning = classify(stage, reply)
        return ConnectionFault(stage, meaning.finding, reply, f"{self._where}: {reply}")


def own_name(sock: socket.socket) -> str:
    """Return the name for EHLO: this host's full name, else its address (RFC 5321, 4.1.3)."""
    name = socket.gethostname()
    if "." in name and name.isascii():
        return name
    address = ipaddress.ip_address(str(sock.getsockname()[0]).split("%")[0])
    return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"
