"""A second parser, in Rust and with nothing of the standard library's, reads the same.

Two parsers that were written apart do not agree on a message by chance.
"""

import re
from urllib.parse import unquote

import fast_mail_parser
from hypothesis import given, settings
from hypothesis import strategies as st

from letters_written import write_message
from mime_texts import ATTACHMENTS, BODIES, FILENAMES, HEADS, PARTS, as_read
from msgrun.compose.attachments import Attachment

thorough = settings(max_examples=200, deadline=None)

LARGE = st.builds(
    Attachment,
    filename=FILENAMES,
    media_type=st.just("application/pdf"),
    content=st.builds(
        lambda size, byte: bytes([byte, 0, 13, 10]) * size,
        st.integers(1, 9000),
        st.integers(0, 255),
    ),
    invoice=st.just("1"),
)
FILES = (ATTACHMENTS | st.lists(LARGE, max_size=2)).filter(
    # This parser divides parameters at a semicolon, also inside of quotes.
    lambda files: not any(";" in each.filename for each in files)
)


@thorough
@given(PARTS)
def test_nothing_has_to_be_repaired(parts):
    read = fast_mail_parser.parse_email(write_message(*parts), strict=True)

    assert read.warnings == []


@thorough
@given(HEADS)
def test_the_header_is_read_as_it_was_written(head):
    read = fast_mail_parser.parse_email(write_message(head, "text", None, []))

    assert read.subject == head.subject
    assert read.date_parsed == head.date
    assert read.headers["Message-ID"] == [head.message_id]
    assert read.headers.get("X-Note", []) == [value for _, value in head.extra]
    assert (read.cc, read.bcc) == ([], [])


@thorough
@given(HEADS)
def test_every_address_and_name_is_read_as_it_was_written(head):
    read = fast_mail_parser.parse_email(write_message(head, "text", None, []))

    def pairs(boxes):
        return [(box.address, box.display_name) for box in boxes]

    found = [*([read.from_] if read.from_ else []), *read.to, *read.reply_to]
    meant = [head.sender, *head.to, *([head.reply_to] if head.reply_to else [])]
    assert [(each.address, each.display_name or "") for each in found] == pairs(meant)


@thorough
@given(HEADS, BODIES, BODIES)
def test_both_bodies_are_read_as_they_were_written(head, text, html):
    read = fast_mail_parser.parse_email(write_message(head, text, html, []))

    bodies = [each.replace("\r\n", "\n") for each in (*read.text_plain, *read.text_html)]
    assert bodies == [as_read(text), as_read(html)]


@thorough
@given(HEADS, FILES)
def test_attachments_are_read_as_they_were_written(head, attachments):
    data = write_message(head, "text", "html", attachments)
    read = fast_mail_parser.parse_email(data)
    parts = list(fast_mail_parser.walk(fast_mail_parser.parse_email_tree(data)))

    meant = [(each.media_type, each.content) for each in attachments]
    assert [(each.mimetype, each.content) for each in read.attachments] == meant
    files = [part for part in parts if part.disposition == "attachment"]
    assert [file_name(part) for part in files] == [each.filename for each in attachments]


def file_name(part: fast_mail_parser.PyMimePart) -> str:
    """Return the name that is meant: this parser itself prefers the one for old programs."""
    (disposition,) = part.headers["Content-Disposition"]
    extended = re.findall(r"filename\*(?:\d+\*)?=(?:utf-8'')?([^;\s]*)", disposition)
    return unquote("".join(extended)) if extended else part.filename


@thorough
@given(PARTS)
def test_the_parts_stand_as_they_were_put_together(parts):
    _, text, html, attachments = parts
    data = write_message(*parts)

    def shape(part):
        return (part.content_type, *[shape(child) for child in part.children])

    bodies = [
        (kind,) for kind, body in (("text/plain", text), ("text/html", html)) if body is not None
    ]
    content = bodies[0] if len(bodies) == 1 else ("multipart/alternative", *bodies)
    files = [(each.media_type,) for each in attachments]
    meant = ("multipart/mixed", content, *files) if files else content
    assert shape(fast_mail_parser.parse_email_tree(data)) == meant
