"""Addresses and the shape of messages."""

import email
import email.policy
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage

import pytest

from letters_written import write_message
from msgrun.compose.attachments import Attachment
from msgrun.compose.mime import Head, Mailbox, mailbox
from msgrun.errors import ComposeError
from msgrun.model import Address

HEAD = Head(
    sender=Mailbox("billing@us.test", "Acme Billing"),
    to=(Mailbox("a@acme.test"),),
    subject="Invoice 1",
    date=datetime(2026, 11, 1, 7, tzinfo=UTC),
    message_id="<1@us.test>",
)
PDF = Attachment("a.pdf", "application/pdf", b"%PDF-" + bytes(range(256)), "1")


def parsed(data: bytes) -> EmailMessage:
    message = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def shape(message: EmailMessage) -> object:
    if not message.is_multipart():
        return message.get_content_type()
    return (message.get_content_type(), *[shape(part) for part in message.iter_parts()])


@pytest.mark.parametrize(
    ("text", "html", "attachments", "expected"),
    [
        ("t", None, [], "text/plain"),
        (None, "h", [], "text/html"),
        ("t", "h", [], ("multipart/alternative", "text/plain", "text/html")),
        ("t", None, [PDF], ("multipart/mixed", "text/plain", "application/pdf")),
        (
            "t",
            "h",
            [PDF, PDF],
            (
                "multipart/mixed",
                ("multipart/alternative", "text/plain", "text/html"),
                "application/pdf",
                "application/pdf",
            ),
        ),
    ],
)
def test_the_structure_follows_from_what_there_is(text, html, attachments, expected):
    message = parsed(write_message(HEAD, text, html, attachments))

    assert shape(message) == expected
    assert not any(part.defects for part in message.walk())


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        ("plain", "7bit"),
        ("a" * 77, "quoted-printable"),
        ("NUL \0", "quoted-printable"),
        ("Für Müller: the usual letter, with few foreign characters", "quoted-printable"),
        ("Счёт за октябрь", "base64"),
    ],
)
def test_text_takes_the_shortest_safe_encoding(body, encoding):
    assert parsed(write_message(HEAD, body, None, []))["Content-Transfer-Encoding"] == encoding


def test_a_boundary_in_the_text_is_avoided():
    first = parsed(write_message(HEAD, "t", "h", [])).get_boundary()
    assert first

    message = parsed(write_message(HEAD, f"x\n--{first}\ny", "h", []))

    assert message.get_boundary() != first
    assert [part.get_content() for part in message.iter_parts()] == [
        f"x\r\n--{first}\r\ny\r\n",
        "h\r\n",
    ]


def test_the_outer_boundary_in_a_text_is_avoided():
    outer = parsed(write_message(HEAD, "t", "h", [PDF])).get_boundary()
    assert outer

    message = parsed(write_message(HEAD, f"x\n--{outer}\ny", "h", [PDF]))

    assert message.get_boundary() != outer
    assert shape(message) == (
        "multipart/mixed",
        ("multipart/alternative", "text/plain", "text/html"),
        "application/pdf",
    )


def test_a_line_that_is_only_a_dot_or_begins_with_from_survives():
    body = ".\nFrom here\n..\n trailing  \n"

    data = write_message(HEAD, body, None, [])

    assert parsed(data).get_content() == body.replace("\n", "\r\n")


def test_a_file_name_that_is_not_ascii_has_both_forms():
    data = write_message(HEAD, "t", None, [replace(PDF, filename="Überweisung.pdf")])

    assert b"filename*=utf-8''%C3%9Cberweisung.pdf" in data
    assert b'filename="Uberweisung.pdf"' in data


@pytest.mark.parametrize(
    "name", ["a  b.pdf", 'a "b".pdf', "a\\b.pdf", "100%.pdf", "счёт " * 40 + ".pdf", "a" * 200]
)
def test_odd_file_names_are_read_as_they_were_written(name):
    data = write_message(HEAD, "t", None, [replace(PDF, filename=name)])

    (part,) = parsed(data).iter_attachments()
    assert part.get_filename() == name
    assert max(map(len, data.split(b"\r\n"))) <= 78


def test_long_subjects_are_folded_and_read_whole():
    subject = "Invoice 2026-0001 for " + "consulting, development and operations, " * 5 + "end"

    data = write_message(replace(HEAD, subject=subject), "t", None, [])

    assert max(map(len, data.split(b"\r\n"))) <= 78
    assert parsed(data)["Subject"] == subject


@pytest.mark.parametrize("bad", ["a\r\nBcc: x@evil.test", "a\nb", "a\rb", "a\0b", "a\x1bb"])
def test_no_header_value_may_hold_a_control_character(bad):
    for head in (
        replace(HEAD, subject=bad),
        replace(HEAD, extra=(("X-Note", bad),)),
        replace(HEAD, extra=((bad, "x"),)),
        replace(HEAD, message_id=f"<{bad}@us.test>"),
    ):
        with pytest.raises(ComposeError):
            write_message(head, "t", None, [])
    with pytest.raises(ComposeError) as caught:
        mailbox(Address("a@acme.test", bad))
    assert caught.value.finding == "MR107"


@pytest.mark.parametrize(
    ("given", "wire"),
    [
        ("ann@acme.test", "ann@acme.test"),
        ("o'brien+x@sub.acme.test", "o'brien+x@sub.acme.test"),
        ("ann@bücher.example.com", "ann@xn--bcher-kva.example.com"),
        ("stanisław.wójcik@wp.pl", "stanisław.wójcik@wp.pl"),
    ],
)
def test_well_formed_addresses_go_on_the_wire(given, wire):
    box = mailbox(Address(given))

    assert box.address == wire
    assert box.smtputf8 == (not wire.isascii())


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "a",
        "@acme.test",
        "a@",
        "a@acme",
        "a..b@acme.test",
        ".a@acme.test",
        "a@-acme.test",
        "a@acme..test",
        "a@[127.0.0.1]",
        "a@acme.test\r\nRCPT TO:<x@evil.test>",
        "a\0@acme.test",
        "a\u200b@acme.test",
        "a@" + "a." * 125 + "test",
    ],
)
def test_malformed_addresses_are_refused(bad):
    with pytest.raises(ComposeError) as caught:
        mailbox(Address(bad))

    assert caught.value.finding == "MR107"


@pytest.mark.parametrize(
    "bad",
    [
        " a@acme.test",
        "a@acme.test ",
        "a b@acme.test",
        "a@acme.test,b@acme.test",
        "a@acme.test; b@acme.test",
        "a@acme.test b@acme.test",
        '"a"@acme.test',
        "'a@acme.test'",
        "Ann <a@acme.test>",
        "a@b@acme.test",
        "a@acme.test(comment)",
        "a\xa0@acme.test",
    ],
)
def test_several_addresses_quotes_and_spaces_are_named_so(bad):
    with pytest.raises(ComposeError) as caught:
        mailbox(Address(bad))

    assert caught.value.finding == "MR108"
    assert repr(bad) in caught.value.message


def test_a_local_part_that_is_not_ascii_is_written_raw():
    box = mailbox(Address("stanisław@wp.pl", "Stanisław"))

    data = write_message(replace(HEAD, to=(box,)), "t", None, [])

    assert "<stanisław@wp.pl>".encode() in data
    assert data.replace("stanisław@wp.pl".encode(), b"").isascii()


def test_a_name_with_a_comma_makes_no_second_recipient():
    boxes = (mailbox(Address("a@acme.test", "x@evil.test, Acme")), Mailbox("b@acme.test", "Ä, B"))

    message = parsed(write_message(replace(HEAD, to=boxes), "t", None, []))

    assert message["To"].defects == ()
    assert [a.addr_spec for a in message["To"].addresses] == ["a@acme.test", "b@acme.test"]
    assert [a.display_name for a in message["To"].addresses] == ["x@evil.test, Acme", "Ä, B"]
