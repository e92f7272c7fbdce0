"""SMTP smuggling: what is in a message stays in it, from the template to the server's disk."""

import email.parser
import email.policy
import re
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msgrun.compose import mime
from msgrun.compose.attachments import Attachment
from msgrun.compose.lines import has_clean_lines, is_plain
from msgrun.compose.mime import Head, Mailbox
from msgrun.demo.sink import Sink
from msgrun.model import ComposedMessage, Verdict
from msgrun.transport.session import dot_stuffed
from msgrun.transport.smtp import SmtpTransport
from smtp.letters import Asked, envelope
from smtp.letters import settings as server_settings
from smtp.server import ScriptedServer

# CVE-2023-51764, -51765, -51766 and kin: ends of data that one server sees and another does not.
ENDS = [f"{before}.{after}" for before in ("\n", "\r", "\r\n", "\n\n", "\r\r", "\0\n", "\r\0\n")
        for after in ("\n", "\r", "\r\n", "\r\r\n", "\n\r", "\0\r\n")]  # fmt: skip
INJECTED = "MAIL FROM:<x@evil.test>\r\nRCPT TO:<y@evil.test>\r\nDATA\r\nSubject: forged\r\n\r\nz"
HEAD = Head(
    Mailbox("billing@acme.test"),
    (Mailbox("customer@example.test"),),
    "Invoice",
    datetime(2026, 11, 1, tzinfo=UTC),
    "<1@acme.test>",
)
ODD = st.sampled_from(
    ["\r", "\n", "\r\n", ".", "..", "\r\n.\r\n", "\n.\n", "\0", "\x1a", "\x85", "\u2028", " ", "\t",
     "x" * 1200, "ü" * 700, "From ", "MAIL FROM:<x@evil.test>", "DATA", "RSET", "QUIT", "=", "=\r",
     "=2E"]
)  # fmt: skip
BODIES = st.lists(ODD, min_size=1, max_size=20).map("".join).filter(str.strip)


def composed(text: str | None, html: str | None = None, content: bytes = b"") -> ComposedMessage:
    attached = [Attachment("a.bin", "application/octet-stream", content, "1")] if content else []
    written = mime.write_message(HEAD, text, html, attached)
    assert written.plain == is_plain(written.data)
    return ComposedMessage(written.data, "0" * 64, HEAD.message_id, HEAD.date, written.plain)


def as_read(body: str) -> str:
    lines = re.sub(r"\r\n?", "\n", body)
    return lines if lines.endswith("\n") else lines + "\n"


def parsed(data: bytes) -> EmailMessage:
    message = email.parser.BytesParser(policy=email.policy.default).parsebytes(data)
    assert isinstance(message, EmailMessage)
    return message


def assert_clean(data: bytes) -> None:
    assert has_clean_lines(data)
    assert b"\0" not in data
    assert max(map(len, data.split(b"\r\n"))) <= 998
    assert data.isascii()


@pytest.mark.parametrize("end", ENDS, ids=[repr(end) for end in ENDS])
async def test_an_end_of_data_inside_a_message_ends_nothing(end: str, sink: Sink) -> None:
    body = f"Dear customer{end}{INJECTED}{end}regards"
    transport = SmtpTransport(server_settings(sink.port))
    outcomes = [
        await transport.send(envelope(), composed(body), Asked()),
        await transport.send(envelope(), composed(body, f"<p>{body}</p>"), Asked()),
        await transport.send(envelope(), composed("t", content=body.encode()), Asked()),
    ]
    await transport.close()

    assert {outcome.verdict for outcome in outcomes} == {Verdict.ACCEPTED}
    assert [(each.sender, each.recipients) for each in sink.received] == [
        ("billing@acme.test", ("customer@example.test",))
    ] * 3
    text, both, attached = [parsed(each.path.read_bytes()) for each in sink.received]
    for message in (text, both.get_body(("plain",))):
        assert message is not None
        payload = message.get_payload(decode=True)
        assert isinstance(payload, bytes)
        assert payload.decode().replace("\r\n", "\n") == as_read(body)
    (part,) = attached.iter_attachments()
    assert part.get_payload(decode=True) == body.encode()


@settings(max_examples=300, deadline=None)
@given(BODIES, st.none() | BODIES, st.binary(max_size=300))
def test_every_composed_line_is_short_and_ends_in_crlf(
    text: str, html: str | None, content: bytes
) -> None:
    data = composed(text, html, content).data

    assert_clean(data)
    stuffed = dot_stuffed(data) + b".\r\n"
    assert stuffed.count(b"\r\n.\r\n") == 1
    assert stuffed.index(b"\r\n.\r\n") == len(stuffed) - 5
    assert not re.search(rb"(?:^|\r\n)\.(?!\.|\r\n\Z)", stuffed[:-3])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([b"\r\n", b".", b"..", b"x", b"=", b"\r\n.\r\n"]), max_size=40))
def test_dot_stuffing_can_be_undone_and_shows_no_end_of_data(pieces: list[bytes]) -> None:
    data = b"".join(pieces) + b"\r\n"

    stuffed = dot_stuffed(data)

    assert b"\r\n.\r\n" not in b"\r\n" + stuffed
    assert re.sub(rb"(^|\r\n)\.", rb"\1", stuffed) == data


@pytest.mark.parametrize(
    "end", [end for end in ENDS if not has_clean_lines(end.encode() + b"\r\n")]
)
async def test_a_bare_cr_or_lf_never_leaves_whoever_made_it(end: str) -> None:
    """The session's own fence, for lines that nobody vouches for."""
    server = ScriptedServer()
    lines = f"Subject: x\r\n\r\na{end}{INJECTED}\r\n".encode()
    smuggled = replace(composed("x"), data=lines, plain=is_plain(lines))
    async with server.running():
        transport = SmtpTransport(server_settings(server.port))
        asked = Asked()
        outcome = await transport.send(envelope(), smuggled, asked)
        await transport.close()

    assert outcome.verdict is Verdict.REJECTED
    assert asked.times == 0
    assert server.messages == []
    assert not any("evil" in command for command in server.commands)


async def test_the_bytes_on_the_wire_have_one_end_of_data() -> None:
    server = ScriptedServer()
    body = "".join(f"\n.{end}{INJECTED}\n" for end in ENDS)
    async with server.running():
        transport = SmtpTransport(server_settings(server.port))
        await transport.send(envelope(), composed(body), Asked())
        await transport.close()

    wire = b"".join(server.chunks)
    assert wire.count(b"\r\n.\r\n") == 1
    assert wire.count(b"\r") == wire.count(b"\n") == wire.count(b"\r\n")
    verbs = [command.split(" ")[0] for command in server.commands]
    assert verbs == ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]
