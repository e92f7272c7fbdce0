"""The header blocks of a finished message, read again before it leaves.

Shares nothing with what writes them, so that it finds what the writer gets wrong. It takes less
than RFC 5322 and RFC 2045 allow and nothing that they do not: no comments, groups, routes or
obsolete forms. tests/property/test_reread.py holds it to the standard library's verdict.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from msgrun.errors import ComposeError

# A field with its folded lines, which hold more than white space; its line end is read apart.
_FIELD: Final = re.compile(
    rb"([!-9;-~]+):([^\r\n\0]{0,900}(?:\r\n[ \t]+[^ \t\r\n\0][^\r\n\0]{0,900})*)\r\n"
)
_BOUNDARY: Final = re.compile(
    rb";[ \t\r\n]*boundary[ \t]*=[ \t]*"
    rb'(?:"([0-9A-Za-z\'()+_,./:=? -]{0,69}[0-9A-Za-z\'()+_,./:=?-])"|([0-9A-Za-z\'+_.-]{1,70}))'
    rb"[ \t]*(?=;|\Z)",
    re.IGNORECASE,
)
_ATOM: Final = rb"[\w!#$%&'*+/=?^`{|}~-]+"
_ADDRESS: Final = rb"((?:[\w!#$%&'*+/=?^`{|}~.-]|[\x80-\xff])+@[0-9A-Za-z.-]+)"
_MAILBOX: Final = re.compile(
    rb"[ \t]*(?:"
    rb'(?:"(?:[^"\\]|\\.)*"|' + _ATOM + rb"(?:[ \t]+" + _ATOM + rb")*)[ \t]*<" + _ADDRESS + rb">"
    rb"|" + _ADDRESS + rb")[ \t]*"
)


@dataclass(frozen=True, slots=True)
class ExpectedHeaders:
    """What the header blocks of a message must hold when they are read again.

    Attributes:
        blocks: the field names of each header block, in order: the message's, then each part's.
        recipients: the addresses in To.
    """

    blocks: tuple[tuple[str, ...], ...]
    recipients: frozenset[str]


class _UnreadableError(Exception):
    """A header block is not as RFC 5322 and RFC 2045 want it."""


def verify_headers(data: bytes, expected: ExpectedHeaders) -> None:
    """Read every header block of a message again and compare.

    Raises:
        ComposeError: MR512, a field or a recipient is there that was not meant, or is missing.
    """
    try:
        blocks = list(_blocks(data, 0, len(data)))
        names = tuple(tuple([name.decode("ascii") for name, _ in block]) for block in blocks)
        recipients = _recipients(blocks[0])
    except _UnreadableError as error:
        message = f"the composed message reads wrongly: {error}"
    else:
        if names != expected.blocks:
            message = f"the composed message has the header fields {names}, not {expected.blocks}"
        elif set(recipients) != expected.recipients or len(recipients) != len(set(recipients)):
            message = f"the composed message is to {recipients}, not {set(expected.recipients)}"
        else:
            return
    raise ComposeError("MR512", message, "look for odd characters in the names of this customer")


_Block = list[tuple[bytes, bytes]]


def _blocks(data: bytes, start: int, end: int) -> Iterator[_Block]:
    """Yield the fields of the header block at `start`, then those of the parts up to `end`."""
    header_end = data.find(b"\r\n\r\n", start, end)
    if header_end < 0:
        raise _UnreadableError("a header has no end")
    block = _FIELD.findall(data, start, header_end + 2)
    # What is no field is left out by `findall`, and missing here.
    if sum([len(name) + len(value) + 3 for name, value in block]) != header_end + 2 - start:
        raise _UnreadableError(f"it has a broken header: {data[start:header_end][:1000]!r}")
    yield block
    boundary = _boundary(block)
    if boundary:
        yield from _parts(data, header_end + 4, end, b"--" + boundary)


def _parts(data: bytes, start: int, end: int, delimiter: bytes) -> Iterator[_Block]:
    closing = delimiter + b"--\r\n"
    if not data.endswith((closing, closing + b"\r\n"), start, end):
        raise _UnreadableError("a multipart has no end")
    opening = delimiter + b"\r\n"
    at = data.find(opening, start, end)
    while at >= 0:
        begin = at + len(opening)
        at = data.find(opening, begin, end)
        yield from _blocks(data, begin, at if at >= 0 else end)


def _boundary(block: _Block) -> bytes | None:
    types = [value for name, value in block if name.lower() == b"content-type"]
    if len(types) > 1:
        raise _UnreadableError("a part has two types")
    found = _BOUNDARY.findall(types[0]) if types else []
    mentioned = types[0].lower().count(b"boundary") if types else 0
    multipart = bool(types) and types[0].strip().lower().startswith(b"multipart/")
    if len(found) != multipart or mentioned != multipart:
        raise _UnreadableError(f"it has no boundary, or an odd one: {types}")
    return (found[0][0] or found[0][1]) if found else None


def _recipients(block: _Block) -> list[str]:
    """Return the addresses in To, in order."""
    fields = [value for name, value in block if name.lower() == b"to"]
    value = b",".join(fields).replace(b"\r\n", b"")
    found, at = [], -1
    while at < len(value):
        if at >= 0 and value[at : at + 1] != b",":
            raise _UnreadableError(f"it has an odd To: {value[:1000]!r}")
        mailbox = _MAILBOX.match(value, at + 1)
        if mailbox is None:
            raise _UnreadableError(f"it has an odd To: {value[:1000]!r}")
        try:
            found.append((mailbox[1] or mailbox[2]).decode())
        except UnicodeDecodeError as error:
            raise _UnreadableError(f"it has an odd To: {value[:1000]!r}") from error
        at = mailbox.end()
    return found
