"""What the reader of finished messages lets pass, the standard library's parser lets pass too."""

from email.message import Message
from email.parser import HeaderParser
from email.utils import getaddresses

from hypothesis import example, given, settings
from hypothesis import strategies as st

from letters_written import write_message
from mime_texts import PARTS
from msgrun.compose.mime import Head
from msgrun.compose.reread import ExpectedHeaders, verify_headers
from msgrun.errors import ComposeError

ODD = [
    b"\r\nBcc: x@evil.test",
    b"\nBcc: x@evil.test",
    b"\rBcc: x@evil.test",
    b"\r\n\r\n",
    b"\r\n ",
    b"\r\n",
    b"\n",
    b"\r",
    b", x@evil.test",
    b",",
    b";",
    b" <x@evil.test>",
    b" x@evil.test",
    b'"',
    b"\\",
    b"<",
    b">",
    b"(",
    b")",
    b"@",
    b":",
    b"=",
    b" ",
    b"\t",
    b"\0",
    b"\xff",
    b"\xc3\xa9",
    b'; boundary="x"',
    b"To: x@evil.test\r\n",
    b"\r\nContent-Type: message/rfc822",
    b"a",
]
CONTENT = ("Content-Type", "Content-Transfer-Encoding")

thorough = settings(max_examples=400, deadline=None)


def expected_of(head: Head, text: object, html: object, attachments: list[object]) -> object:
    top = ["From", "To"] + ["Reply-To"] * bool(head.reply_to)
    top += ["Subject", "Date", "Message-ID", "MIME-Version", "Auto-Submitted"]
    top += [name for name, _ in head.extra]
    bodies = [CONTENT] if text is None or html is None else [CONTENT[:1], CONTENT, CONTENT]
    mixed = [CONTENT[:1]] * bool(attachments)
    parts = [*mixed, *bodies, *[(*CONTENT, "Content-Disposition")] * len(attachments)]
    to = frozenset(box.address for box in head.to)
    return ExpectedHeaders(((*top, *parts[0]), *parts[1:]), to)


def standard_verdict(data: bytes, expected: ExpectedHeaders) -> bool:
    """Read every header block with the standard library's parser, and compare."""

    def read(data: bytes) -> None:
        header, _, body = data.partition(b"\r\n\r\n")
        block = HeaderParser().parsestr(header.decode() + "\r\n\r\n")
        blocks.append(block)
        boundary = block.get_boundary()
        if boundary:
            for part in body.split(f"--{boundary}\r\n".encode())[1:]:
                read(part)

    blocks: list[Message] = []
    try:
        read(data)
    except UnicodeDecodeError:
        return False
    recipients = {address for _, address in getaddresses(blocks[0].get_all("To", []))}
    names = tuple(tuple(block.keys()) for block in blocks)
    if any(block.defects for block in blocks):
        return False
    return names == expected.blocks and recipients == expected.recipients


def own_verdict(data: bytes, expected: ExpectedHeaders) -> bool:
    try:
        verify_headers(data, expected)
    except ComposeError:
        return False
    return True


def distinct(parts: tuple) -> bool:
    return len({box.address for box in parts[0].to}) == len(parts[0].to)


@thorough
@given(PARTS.filter(distinct))
def test_both_readers_let_every_message_pass_that_was_written_right(parts):
    data, expected = write_message(*parts), expected_of(*parts)

    assert standard_verdict(data, expected)
    assert own_verdict(data, expected)


@settings(max_examples=800, deadline=None)
@given(PARTS.filter(distinct), st.data())
def test_what_the_standard_reader_refuses_is_refused(parts, data):
    written, expected = write_message(*parts), expected_of(*parts)
    places = [i for i in range(len(written)) if written[i : i + 1] in b'\r:;=<>,"@ -']
    at = data.draw(st.sampled_from(places) | st.integers(0, len(written)))
    cut = data.draw(st.integers(0, 3) | st.integers(0, 100))
    changed = written[:at] + data.draw(st.sampled_from([*ODD, b""])) + written[at + cut :]

    if own_verdict(changed, expected):
        assert standard_verdict(changed, expected), changed


@settings(max_examples=600, deadline=None)
@given(st.lists(st.sampled_from([*ODD, b"a@b.test", b"Ann", b"=?utf-8?B?QQ==?="]), max_size=8))
@example([b"Ann", b" ", b"Ann", b" <x@evil.test>"])
@example([b"a@b.test", b",", b"Ann", b" <x@evil.test>"])
def test_a_list_of_recipients_is_refused_or_read_as_the_standard_reader_reads_it(pieces):
    data = b"To: " + b"".join(pieces) + b"\r\n\r\nbody\r\n"
    for recipients in ({"a@b.test"}, {"x@evil.test"}, {"a@b.test", "x@evil.test"}):
        expected = ExpectedHeaders((("To",),), frozenset(recipients))
        if own_verdict(data, expected):
            assert standard_verdict(data, expected), data
