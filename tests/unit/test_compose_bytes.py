"""Messages stored by an older version are sent again to the byte: these digests never change."""

import hashlib
from datetime import UTC, datetime, timedelta, timezone

import pytest

from letters_written import write_message
from msgrun.compose.attachments import Attachment
from msgrun.compose.mime import Head, Mailbox
from msgrun.compose.parts import base64_lines

DATE = datetime(2026, 11, 1, 7, tzinfo=UTC)
ANN = Mailbox("ann@acme.test", "Ann Other")
PLAIN = Head(Mailbox("billing@us.test", "Acme Billing"), (ANN,), "Invoice 1", DATE, "<1@us.test>")
RICH = Head(
    Mailbox("billing@us.test", "Büro Größe"),
    (Mailbox("b@xn--bcher-kva.test", 'Bücher, "gebraucht"'), Mailbox("c@acme.test"), ANN),
    "Rechnung für Oktober – " + "sehr lang " * 12,
    datetime(2026, 11, 1, 8, tzinfo=timezone(timedelta(hours=1))),  # the same moment as DATE
    "<2@us.test>",
    Mailbox("help@us.test"),
    (("X-Note", "a note"),),
)
FILES = [
    Attachment("a.pdf", "application/pdf", bytes(range(256)) * 120, "1"),
    Attachment("Überweisung.xml", "text/xml; charset=utf-8", b"<a/>", "1"),
]
GERMAN = "Für Müller: the usual letter, with few foreign characters\n"


@pytest.mark.parametrize(
    ("head", "text", "html", "files", "digest"),
    [
        (PLAIN, "Dear Ann\n", None, [], "cb22e6e0f5f517d2"),
        (PLAIN, "a" * 80, "<p>\r\n</p>\r", FILES[:1], "4f3a0a9e63a5b16e"),
        (RICH, "Счёт за октябрь\n", GERMAN, FILES, "bc049f4c8c0ac622"),
        (RICH, GERMAN, None, [], "9a4a9e1a1c33c3d7"),
    ],
)
def test_the_same_input_makes_the_bytes_that_it_always_made(head, text, html, files, digest):
    data = write_message(head, text, html, files)

    assert hashlib.sha256(data).hexdigest()[:16] == digest


def test_a_date_keeps_its_zone_when_an_equal_moment_of_another_zone_was_written_before():
    plain = write_message(PLAIN, "t", None, [])
    rich = write_message(RICH, "t", None, [])

    assert b"\r\nDate: Sun, 01 Nov 2026 07:00:00 +0000\r\n" in plain
    assert b"\r\nDate: Sun, 01 Nov 2026 08:00:00 +0100\r\n" in rich


@pytest.mark.parametrize("size", [1, 56, 57, 58, 114, 57 * 64 - 1, 57 * 64, 57 * 64 + 1, 57 * 200])
def test_base64_stands_in_full_lines_but_for_the_last(size):
    lines = base64_lines(bytes(size))

    assert [len(line) for line in lines[:-1]] == [76] * (len(lines) - 1)
    assert 1 <= len(lines[-1]) <= 76
    assert len(b"".join(lines)) == (size + 2) // 3 * 4
