"""The header blocks of a finished message, read again before it leaves.

Shares nothing with what writes them, so that it finds what the writer gets wrong. It takes less
than RFC 5322 and RFC 2045 allow and nothing that they do not: no comments, groups, routes or
obsolete forms. tests/property/test_reread.py holds it to the standard library's verdict.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from msgrun.errors import ComposeError

# A field with its folded lines, which hold more than white space; its line end is read apart.
_TEXT: Final = r"[^\x00-\x08\n-\x1f\x7f-\x9f\u2028\u2029]"
_FIELD: Final = re.compile(
    rf"([!-9;-~]+):({_TEXT}{{0,900}}(?:\r\n[ \t]+(?![ \t]){_TEXT}{{1,900}})*)\r\n"
)
_MULTIPART: Final = re.compile(
    r"[ \t]*multipart/[\w+.-]+;[ \t\r\n]*(?:type=\"text/html\";[ \t\r\n]*)?"
    r"boundary=(?:\"([\w'()+,./:=? -]{0,69}[\w'()+,./:=?-])\"|([\w'+.-]{1,70}))",
    re.IGNORECASE | re.ASCII,
)
_ATOM: Final = r"[\w!#$%&'*+/=?^`{|}~-]+"
_ADDRESS: Final = r"((?:[\w!#$%&'*+/=?^`{|}~.-]|[^\x00-\x9f])+@[0-9A-Za-z.-]+)"
_SPACE: Final = r"[ \t\r\n]"  # between tokens, where alone a line may be folded
_PHRASE: Final = rf'(?:"(?:[^"\\\r\n]|\\[^\r\n])*"|{_ATOM}(?:{_SPACE}+{_ATOM})*)'
_MAILBOX: Final = re.compile(
    rf"{_SPACE}*(?:{_PHRASE}{_SPACE}*<{_ADDRESS}>|{_ADDRESS}){_SPACE}*", re.ASCII
)
_OFTEN: Final = 100  # bytes: so short are the blocks of bodies, which are alike in every message


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
        blocks: list[_Block] = []
        _read_part(data, 0, len(data), blocks)
        names = tuple([block.names for block in blocks])
        recipients = _recipients(blocks[0].to)
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


@dataclass(frozen=True, slots=True)
class _Block:
    """A header block: what its fields are called, and the values of those that say where to."""

    names: tuple[str, ...]
    to: tuple[str, ...]
    boundary: bytes


def _read_part(data: bytes, start: int, end: int, blocks: list[_Block]) -> None:
    """Read the header block at `start`, and those of the parts up to `end`."""
    header_end = data.find(b"\r\n\r\n", start, end) + 2
    if header_end < 2:
        raise _UnreadableError("a header has no end")
    raw = data[start:header_end]
    block = _often_read(raw) if len(raw) < _OFTEN else _read_block(raw)
    blocks.append(block)
    if not block.boundary:
        return
    opening = b"--" + block.boundary + b"\r\n"
    closing = b"--" + block.boundary + b"--\r\n"
    if not data.endswith((closing, closing + b"\r\n"), header_end, end):
        raise _UnreadableError("a multipart has no end")
    # What stands last in it may be a multipart too, and ends before this one does.
    end -= len(closing) + (2 if data[end - 2 : end] == b"\r\n" else 0)
    at = data.find(opening, header_end, end)
    while at >= 0:
        begin = at + len(opening)
        at = data.find(opening, begin, end)
        _read_part(data, begin, at if at >= 0 else end, blocks)


def _read_block(raw: bytes) -> _Block:
    try:
        text = raw.decode()  # UTF-8 only where an address needs it (RFC 6532)
    except UnicodeDecodeError as error:
        raise _UnreadableError(f"it has a header that is no text: {raw[:1000]!r}") from error
    fields = _FIELD.findall(text)
    # What is no field is left out by `findall`, and missing here.
    if sum([len(name) + len(value) for name, value in fields]) + 3 * len(fields) != len(text):
        raise _UnreadableError(f"it has a broken header: {raw[:1000]!r}")
    types = [value for name, value in fields if name.lower() == "content-type"]
    to = tuple([value for name, value in fields if name.lower() == "to"])
    return _Block(tuple([name for name, _ in fields]), to, _boundary(types))


_often_read: Final = lru_cache(maxsize=64)(_read_block)


def _boundary(types: list[str]) -> bytes:
    """Return the boundary of a part, which only a multipart has; empty for none."""
    if len(types) > 1:
        raise _UnreadableError("a part has two types")
    kind = types[0].lower() if types else ""
    if "multipart" not in kind and "boundary" not in kind:
        return b""
    found = _MULTIPART.fullmatch(types[0])
    if found is None:
        raise _UnreadableError(f"it has no boundary, or an odd one: {types}")
    return bytes(found[1] or found[2], "ascii")


def _recipients(fields: tuple[str, ...]) -> list[str]:
    """Return the addresses in To, in order."""
    value = ",".join(fields)
    found, at = [], -1
    while at < len(value):
        mailbox = _MAILBOX.match(value, at + 1)
        if mailbox is None or value[mailbox.end() : mailbox.end() + 1] not in {"", ","}:
            raise _UnreadableError(f"it has an odd To: {value[:1000]!r}")
        found.append(mailbox[1] or mailbox[2])
        at = mailbox.end()
    return found
