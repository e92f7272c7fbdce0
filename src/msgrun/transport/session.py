"""One mail transaction after another on an open connection (RFC 5321, 3.3).

Our own rather than aiosmtplib's, for two reasons: it pipelines (RFC 2920), and it
knows whether the final dot has been written, on which the verdict hangs.
"""

import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import Final

from msgrun.compose.lines import has_clean_lines
from msgrun.failpoints import reach
from msgrun.model import ComposedMessage, Envelope, Outcome, Refusal, Reply, Stage, Verdict
from msgrun.transport.answers import classify, queue_id
from msgrun.transport.base import Intent, WithheldError
from msgrun.transport.wire import Wire, WireError

CHUNK: Final = 64 * 1024  # each has its own time-out, as RFC 5321 4.5.3.2.5 has it
GOODBYE: Final = 3.0
_ENVELOPE_ID: Final = re.compile(r"<[!-*,-;>-~]{1,100}>")  # needs no xtext (RFC 3461, 4)
# What could end a command or begin another one; a lone surrogate has no UTF-8 form.
UNSAFE_ADDRESS = re.compile(r"[\x00-\x20\x7f<>\ud800-\udfff]")


class Session:
    """Mail transactions on one connection.

    Args:
        wire: the connection; EHLO, TLS and AUTH are done.
        extensions: what the last EHLO offered, keywords in lower case.
        timeout: seconds for each answer and each chunk of the body.
        dot_timeout: seconds for the answer to the final dot.
    """

    def __init__(
        self, wire: Wire, extensions: Mapping[str, str], timeout: float, dot_timeout: float
    ) -> None:
        self._wire = wire
        self._extensions = extensions
        self._timeout = timeout
        self._dot_timeout = dot_timeout
        self._stage = Stage.MAIL
        self._dot_written = False

    @property
    def usable(self) -> bool:
        """Whether a transaction may begin: connected, and no answer is left over."""
        return not self._wire.lost and not self._wire.has_input

    @property
    def size_limit(self) -> int | None:
        """The largest message that the server says it takes (RFC 1870); None if it does not say."""
        given = self._extensions.get("size", "")
        return int(given) if given.isascii() and given.isdigit() and int(given) > 0 else None

    @property
    def smtputf8(self) -> bool:
        """Whether the server takes non-ASCII addresses (RFC 6531)."""
        return "smtputf8" in self._extensions

    async def send(self, envelope: Envelope, message: ComposedMessage, intent: Intent) -> Outcome:
        """Run one transaction; see `Transport.send`, whose promises these are.

        Raises:
            WithheldError: `intent` returned False.
        """
        refusal = self._refuse_unsent(envelope, message)
        if refusal is not None:
            return refusal
        self._stage, self._dot_written = Stage.MAIL, False
        try:
            return await self._transact(envelope, message, intent)
        except WireError as exc:
            self.abort()
            if self._dot_written:
                return Outcome(Verdict.IN_DOUBT, Stage.DOT, text=str(exc), finding="MR507")
            return Outcome(Verdict.SERVER_FAULT, self._stage, text=str(exc), finding="MR603")
        except BaseException:
            # Cancelled or withheld: an answer that still comes must find nobody.
            self.abort()
            raise

    async def command(self, line: str) -> Reply:
        """Send one command and return its answer; for the probe.

        Raises:
            WireError: no answer, or not an SMTP answer.
        """
        self._wire.write(f"{line}\r\n".encode())
        return await self._wire.reply(self._timeout)

    async def quit(self) -> None:
        """Say QUIT and close, within a few seconds."""
        try:
            if self.usable:
                with contextlib.suppress(WireError):
                    self._wire.write(b"QUIT\r\n")
                    await self._wire.reply(min(GOODBYE, self._timeout))
            await self._wire.close(1.0)
        except BaseException:
            # Cancelled: nobody would ever close it.
            self.abort()
            raise

    def abort(self) -> None:
        """Drop the connection at once."""
        self._wire.abort()

    # Before anything is sent.

    def _refuse_unsent(self, envelope: Envelope, message: ComposedMessage) -> Outcome | None:
        """Return why the message must not even be begun, or None."""

        def rejected(finding: str, text: str) -> Outcome:
            return Outcome(Verdict.REJECTED, Stage.MAIL, text=text, finding=finding)

        if UNSAFE_ADDRESS.search(envelope.sender):
            return rejected("MR203", f"the sender address {envelope.sender!r} is not safe to send")
        for address in (*envelope.recipients, *envelope.bcc):
            if not address or UNSAFE_ADDRESS.search(address):
                return rejected("MR107", f"the address {address!r} is not safe to send")
        if needs_smtputf8(envelope) and not self.smtputf8:
            return rejected("MR109", "a non-ASCII address, and the server does not offer SMTPUTF8")
        limit = self.size_limit
        if limit is not None and len(message.data) > limit:
            text = f"the message has {len(message.data)} bytes, the server takes {limit}"
            return rejected("MR405", text)
        if not message.plain and not has_clean_lines(message.data):
            # A bare CR or LF is how messages are smuggled past a relay (CVE-2023-51764).
            return rejected("", "the message has line ends other than CRLF")
        return None

    # The transaction.

    async def _transact(
        self, envelope: Envelope, message: ComposedMessage, intent: Intent
    ) -> Outcome:
        replies = await self._introduce(envelope, message)
        decided, refused, refused_bcc = judge(envelope, replies)
        begun = len(replies) > 1 + len(envelope.recipients) + len(envelope.bcc)
        if decided is not None:
            await self._clear(replies, begun)
            return decided
        reach("envelope.accepted")
        self._stage = Stage.DATA
        go_ahead = replies[-1] if begun else await self._ask(b"DATA\r\n")
        if go_ahead.code != 354:
            return self._unexpected(go_ahead)
        reach("data.accepted")
        early = await self._write_body(message)
        if early is not None:
            return self._unexpected(early)
        if not await intent():
            raise WithheldError("the intent was refused")
        if self._wire.is_stirred():
            return self._unexpected(await self._wire.reply(self._timeout))
        reply = await self._write_dot()
        if reply.code >= 300:
            return refusal_outcome(Stage.DOT, reply)
        return Outcome(
            Verdict.ACCEPTED,
            Stage.DOT,
            reply,
            queue_id=queue_id(reply),
            refused=refused,
            refused_bcc=refused_bcc,
        )

    async def _introduce(self, envelope: Envelope, message: ComposedMessage) -> list[Reply]:
        """Send MAIL and every RCPT, and DATA where it may join them; return the answers.

        The list ends early at a 421 and, one command at a time, at a refused MAIL.
        """
        everybody = (*envelope.recipients, *envelope.bcc)
        commands = [self._mail(envelope, message)]
        commands += [f"RCPT TO:<{address}>\r\n".encode() for address in everybody]
        pipelining = "pipelining" in self._extensions
        if pipelining:
            if len(everybody) == 1:
                # With more, a refusal among them would come after DATA had begun.
                commands.append(b"DATA\r\n")
            self._wire.write(b"".join(commands))
        replies: list[Reply] = []
        stages = [Stage.MAIL, *[Stage.RCPT] * len(everybody), Stage.DATA]
        for stage, command in zip(stages, commands, strict=False):
            self._stage = stage
            if not pipelining:
                self._wire.write(command)
            reply = await self._wire.reply(self._timeout)
            if 300 <= reply.code < 400 and stage is not Stage.DATA:
                raise WireError(f"not an answer to {stage.upper()}: {reply}")
            replies.append(reply)
            if reply.code == 421 or (not pipelining and replies[0].code >= 400):
                break
        return replies

    def _mail(self, envelope: Envelope, message: ComposedMessage) -> bytes:
        options = []
        if "size" in self._extensions:
            options.append(f" SIZE={len(message.data)}")
        smtputf8 = needs_smtputf8(envelope)
        # RFC 6531 3.1: who offers SMTPUTF8 takes 8BITMIME.
        if not message.data.isascii() and (smtputf8 or "8bitmime" in self._extensions):
            options.append(" BODY=8BITMIME")
        if smtputf8:
            options.append(" SMTPUTF8")
        if "dsn" in self._extensions:
            # What comes back names the message, and leaves the invoice out (RFC 3461, 4.3 and 4.4).
            options.append(" RET=HDRS")
            if _ENVELOPE_ID.fullmatch(message.message_id):
                options.append(f" ENVID={message.message_id[1:-1]}")
        return f"MAIL FROM:<{envelope.sender}>{''.join(options)}\r\n".encode()

    async def _clear(self, replies: Sequence[Reply], begun: bool) -> None:
        """Make the connection ready for the next transaction, or drop it."""
        if replies[-1].code == 421 or (begun and replies[-1].code == 354):
            # RFC 2920 3.1 would end the begun DATA with a dot; no dot leaves unasked here.
            self.abort()
        elif replies[0].code < 300:
            try:
                reply = await self._ask(b"RSET\r\n")
            except WireError:
                self.abort()
                return
            if reply.code >= 300:
                self.abort()

    async def _write_body(self, message: ComposedMessage) -> Reply | None:
        """Write the body without its terminator; return an answer that came too early."""
        stuffed = message.data if message.plain else dot_stuffed(message.data)
        for start in range(0, len(stuffed), CHUNK):
            if self._wire.has_input:
                break
            self._wire.write(stuffed[start : start + CHUNK])
            await self._wire.drain(self._timeout)
        return await self._wire.reply(self._timeout) if self._wire.has_input else None

    async def _write_dot(self) -> Reply:
        """Write the terminator (RFC 5321, 4.1.1.4) and return the answer to it."""
        self._wire.write(b".\r\n")
        # `write` raises where the connection is gone, so from here on the dot has left.
        self._stage, self._dot_written = Stage.DOT, True
        reach("dot.written")
        reply = await self._wire.reply(self._dot_timeout)
        if 300 <= reply.code < 400:
            raise WireError(f"not an answer to the message: {reply}")
        if reply.code == 421:
            self.abort()
        return reply

    def _unexpected(self, reply: Reply) -> Outcome:
        """Return what a refused DATA, or an answer before the dot, means; drop the connection."""
        self.abort()
        if reply.code < 400:
            raise WireError(f"out of turn: {reply}")
        return refusal_outcome(Stage.DATA, reply)

    async def _ask(self, command: bytes) -> Reply:
        self._wire.write(command)
        return await self._wire.reply(self._timeout)


def needs_smtputf8(envelope: Envelope) -> bool:
    """Whether the envelope can be said only with SMTPUTF8 (RFC 6531, 3.4)."""
    addresses = (envelope.sender, *envelope.recipients, *envelope.bcc)
    return envelope.smtputf8 or not all(address.isascii() for address in addresses)


def dot_stuffed(data: bytes) -> bytes:
    """Return `data` with a dot doubled where it begins a line (RFC 5321, 4.5.2)."""
    stuffed = data.replace(b"\r\n.", b"\r\n..")
    return b"." + stuffed if stuffed.startswith(b".") else stuffed


def refusal_outcome(stage: Stage, reply: Reply) -> Outcome:
    """Return what a refusal at `stage` does to the message."""
    meaning = classify(stage, reply)
    return Outcome(meaning.verdict, stage, reply, finding=meaning.finding)


def judge(
    envelope: Envelope, replies: Sequence[Reply]
) -> tuple[Outcome | None, tuple[Refusal, ...], tuple[Refusal, ...]]:
    """Weigh the answers to MAIL and RCPT.

    Returns:
        What is already decided (None: go on with DATA), and the refused
        recipients among To and among Bcc.
    """
    mail, *rest = replies
    if mail.code >= 400:
        return refusal_outcome(Stage.MAIL, mail), (), ()
    count = len(envelope.recipients)
    to = [Refusal(a, r) for a, r in zip(envelope.recipients, rest, strict=False) if r.code >= 400]
    bcc = [Refusal(a, r) for a, r in zip(envelope.bcc, rest[count:], strict=False) if r.code >= 400]
    if replies[-1].code == 421:
        stage = Stage.RCPT if len(rest) <= count + len(envelope.bcc) else Stage.DATA
        return refusal_outcome(stage, replies[-1]), (), ()
    decisive = _decisive(to, count)
    return (decisive, (), ()) if decisive else (None, tuple(to), tuple(bcc))


def _decisive(refused: Sequence[Refusal], count: int) -> Outcome | None:
    """Return what keeps the whole message back, if something does."""
    outcomes = [refusal_outcome(Stage.RCPT, refusal.reply) for refusal in refused]
    for verdict in (Verdict.SERVER_FAULT, Verdict.DEFERRED):
        for outcome in outcomes:
            if outcome.verdict is verdict:
                return outcome
    return outcomes[0] if len(refused) == count else None
