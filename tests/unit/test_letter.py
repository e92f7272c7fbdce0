"""A message taken apart again, as a person reads it."""

from datetime import UTC, datetime

from msgrun.compose.attachments import Attachment
from msgrun.compose.mime import Head, Mailbox, write_message
from msgrun.ui.letter import read_letter

HEAD = Head(
    Mailbox("b@acme.test", "Äcme"),
    (Mailbox("a@c.test"),),
    "Rechnung für März",
    datetime(2026, 11, 3, tzinfo=UTC),
    "<1@acme.test>",
)


def test_text_html_and_attachments_come_back_as_they_went_in() -> None:
    attached = [Attachment("Räch.pdf", "application/pdf", b"%PDF-1.4 \x00\xff", "i1")]
    written = write_message(HEAD, "Grüße\n.dot\n", "<p>Grüße</p>", attached)

    letter = read_letter(written.data)

    assert dict(letter.fields)["Subject"] == HEAD.subject
    assert dict(letter.fields)["From"] == "Äcme <b@acme.test>"
    assert (letter.text, letter.html, letter.derived) == ("Grüße\n.dot\n", "<p>Grüße</p>\n", False)
    (found,) = letter.attachments
    assert (found.filename, found.media_type, found.size) == ("Räch.pdf", "application/pdf", 11)


def test_where_there_is_only_html_its_text_is_read_out_of_it() -> None:
    letter = read_letter(write_message(HEAD, None, "<p>Hello<br>you</p>", []).data)

    assert (letter.text, letter.derived, list(letter.attachments)) == ("Hello\nyou\n", True, [])
