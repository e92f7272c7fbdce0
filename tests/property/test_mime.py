"""What the standard parser reads is what was put in, for any text."""

import email.parser
import email.policy
import re
from datetime import UTC, datetime
from email.header import decode_header
from email.message import EmailMessage

from hypothesis import given, settings
from hypothesis import strategies as st

from letters_written import write_message
from mime_texts import ADDRESSES, ATTACHMENTS, BODIES, HEADS, NAMES, PARTS, as_read
from msgrun.compose import CONTROL
from msgrun.compose.mime import Head, mailbox
from msgrun.model import Address

thorough = settings(max_examples=200, deadline=None)


def parsed(data: bytes) -> EmailMessage:
    message = email.parser.BytesParser(policy=email.policy.default).parsebytes(data)
    assert isinstance(message, EmailMessage)
    return message


def decoded(raw: str) -> str:
    """Decode a field by hand: some versions of the structured parser keep or invent spaces."""
    unfolded = raw.replace("\r\n", "")
    return "".join(
        piece.decode(charset or "ascii") if isinstance(piece, bytes) else piece
        for piece, charset in decode_header(unfolded)
    ).strip()


def raw_fields(data: bytes, name: str) -> list[str]:
    header = data.partition(b"\r\n\r\n")[0].decode()
    return re.findall(rf"(?ms)^{name}:(.*?)(?=\r\n[^ ]|\Z)", header)


def display_names(data: bytes, field: str) -> list[str]:
    """Split a mailbox list by hand, then decode each phrase."""
    unfolded = raw_fields(data, field)[0].replace("\r\n", "")
    found = re.findall(r'\s*("(?:[^"\\]|\\.)*"|[^<>",]*?) ?(?:<([^<>]*)>|(?<=@)$)(?:,|$)', unfolded)
    return [
        re.sub(r"\\(.)", r"\1", name[1:-1]) if name.startswith('"') else decoded(name)
        for name, _ in found
    ]


def text_of(part: EmailMessage) -> str:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode().replace("\r\n", "\n")


@thorough
@given(PARTS)
def test_every_line_is_short_ends_in_crlf_and_is_seven_bit(parts):
    data = write_message(*parts)

    assert data.endswith(b"\r\n")
    assert b"\r" not in data.replace(b"\r\n", b"")
    assert b"\n" not in data.replace(b"\r\n", b"")
    assert max(map(len, data.split(b"\r\n"))) <= 998
    assert data.isascii()
    assert b"\0" not in data


@thorough
@given(PARTS)
def test_the_same_input_makes_the_same_bytes(parts):
    assert write_message(*parts) == write_message(*parts)


@thorough
@given(PARTS)
def test_only_the_meant_fields_are_there_and_never_a_bcc(parts):
    head = parts[0]

    message = parsed(write_message(*parts))

    meant = ["From", "To"] + ["Reply-To"] * bool(head.reply_to)
    meant += ["Subject", "Date", "Message-ID", "MIME-Version", "Auto-Submitted"]
    meant += [name for name, _ in head.extra]
    assert not any(part.defects for part in message.walk())
    assert [name for name in message.keys() if not name.startswith("Content-")] == meant  # noqa: SIM118


@thorough
@given(HEADS)
def test_header_values_are_read_as_they_were_written(head):
    data = write_message(head, "text", None, [])

    message = parsed(data)

    assert decoded(raw_fields(data, "Subject")[0]) == head.subject
    assert [decoded(raw) for raw in raw_fields(data, "X-Note")] == [v for _, v in head.extra]
    assert message["Date"].datetime == head.date
    assert message["Message-ID"] == head.message_id
    assert message["Auto-Submitted"] == "auto-generated"


@thorough
@given(HEADS)
def test_addresses_are_exactly_those_given(head):
    data = write_message(head, "text", None, [])

    message = parsed(data)
    assert not raw_fields(data, "To")[0].endswith(",")
    assert [a.addr_spec for a in message["From"].addresses] == [head.sender.address]
    assert [a.addr_spec for a in message["To"].addresses] == [box.address for box in head.to]


@thorough
@given(st.lists(st.builds(Address, ADDRESSES, NAMES.filter(bool)), min_size=1, max_size=4))
def test_display_names_are_read_as_they_were_written(addresses):
    boxes = tuple(map(mailbox, addresses))
    head = Head(boxes[0], boxes, "subject", datetime(2026, 1, 1, tzinfo=UTC), "<1@acme.test>")

    data = write_message(head, "text", None, [])

    assert display_names(data, "To") == [box.display_name for box in boxes]


@thorough
@given(HEADS, BODIES, BODIES)
def test_both_bodies_are_read_as_they_were_written(head, text, html):
    message = parsed(write_message(head, text, html, []))

    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert [text_of(part) for part in message.iter_parts()] == [as_read(text), as_read(html)]


@thorough
@given(HEADS, ATTACHMENTS.filter(bool))
def test_attachments_are_read_as_they_were_written(head, attachments):
    message = parsed(write_message(head, "text", None, attachments))

    read = list(message.iter_attachments())
    assert [part.get_filename() for part in read] == [a.filename for a in attachments]
    assert [part.get_payload(decode=True) for part in read] == [a.content for a in attachments]
    assert [part.get_content_type() for part in read] == [a.media_type for a in attachments]


@thorough
@given(HEADS)
def test_encoded_words_are_at_most_75_long_and_whole(head):
    header = write_message(head, "text", None, []).partition(b"\r\n\r\n")[0].decode()

    words = re.findall(r"=\?utf-8\?B\?[A-Za-z0-9+/=]*\?=", header)

    assert all(len(word) <= 75 for word in words)
    assert all(isinstance(decode_header(word)[0][0].decode(), str) for word in words)
    assert not CONTROL.search(header.replace("\r\n ", " ").replace("\r\n", " "))
