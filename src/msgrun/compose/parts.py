"""The parts of a message: bodies and documents encoded (RFC 2045), and put together (RFC 2046)."""

import binascii
import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from struct import Struct
from typing import Final
from urllib.parse import quote

from msgrun.compose.attachments import Attachment

LINE: Final = 76
"""Most characters of an encoded line (RFC 2045, 6.7 and 6.8; RFC 2047, 2)."""

LONG: Final = 60
"""Longer words and names are encoded, so that lines can be folded."""

_PLAIN_FILENAME: Final = re.compile(r"[\w !#$&'()+,.;=@\[\]^`{}~-]{1,60}", re.ASCII)
_CONTROL_IN_TEXT: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_ASCII: Final = bytes(range(128))
_LINE_BREAK: Final = re.compile(r"\r\n?|\n")
_LINES_AT_ONCE: Final = 64
_LINES: Final = Struct(f"{LINE}s" * _LINES_AT_ONCE)


@dataclass(frozen=True, slots=True)
class Part:
    """A part with its header.

    Attributes:
        pieces: its bytes, each without its line end: joined by CRLF they are copied once.
        unencoded: the pieces that are not lines of base64, which have no "=_", no dot and no line
            end in them.
    """

    pieces: list[bytes]
    unencoded: Sequence[bytes]


def text_part(subtype: str, body: str) -> Part:
    """Return a body as a part, in the shortest safe encoding; its last line has an end."""
    lines = body.replace("\n", "\r\n") if "\r" not in body else _LINE_BREAK.sub("\r\n", body)
    data = lines.encode()
    if not data.endswith(b"\r\n"):
        data += b"\r\n"
    if not data.isascii():
        # Quoted-printable triples each such byte: above a sixth of them, base64 is shorter.
        foreign = len(data.translate(None, _ASCII))
        encoding = "base64" if foreign * 6 > len(data) else "quoted-printable"
    elif _CONTROL_IN_TEXT.search(data) or max(map(len, data.split(b"\r\n"))) > LINE:
        encoding = "quoted-printable"
    else:
        encoding = "7bit"
    fields = _text_fields(subtype, encoding)
    if encoding == "base64":
        return Part([fields, *base64_lines(data)], (fields,))
    if encoding == "quoted-printable":
        data = binascii.b2a_qp(data, istext=True)
    pieces = [fields, data[:-2]]
    return Part(pieces, pieces)


@lru_cache
def _text_fields(subtype: str, encoding: str) -> bytes:
    return (
        f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n"
    ).encode("ascii")


def attachment_part(attachment: Attachment) -> Part:
    """Return a document as a part."""
    fields = (
        f"Content-Type: {attachment.media_type}\r\n"
        "Content-Transfer-Encoding: base64\r\n"
        f"Content-Disposition: attachment{filename_parameters(attachment.filename)}\r\n"
    ).encode("ascii")
    return Part([fields, *base64_lines(attachment.content)], (fields,))


def filename_parameters(name: str) -> str:
    """Return `filename`, and in front of it RFC 2231's form where ASCII alone cannot say it."""
    if _PLAIN_FILENAME.fullmatch(name):
        return f';\r\n filename="{name}"'
    pieces, piece = [], ""
    for character in name:
        octets = quote(character, safe="!#$&+^`{|}")
        if len(piece) + len(octets) > LONG - 12:
            pieces.append(piece)
            piece = ""
        piece += octets
    pieces.append(piece)
    numbers = [""] if len(pieces) == 1 else [f"*{number}" for number in range(len(pieces))]
    pieces[0] = f"utf-8''{pieces[0]}"
    extended = [f"filename{n}*={p}" for n, p in zip(numbers, pieces, strict=True)]
    decomposed = unicodedata.normalize("NFKD", name)
    letters = "".join(c for c in decomposed if not unicodedata.combining(c))
    fallback = re.sub(r"[^\w .()-]", "_", letters, flags=re.ASCII)[-LONG:]
    return ";\r\n " + ";\r\n ".join([*extended, f'filename="{fallback}"'])


def base64_lines(data: bytes) -> list[bytes]:
    """Return base64 in lines of 76 characters, without their ends."""
    encoded = binascii.b2a_base64(data, newline=False)
    # A Struct cuts 64 lines in one step: a third of the time of 64 slices.
    cut = len(encoded) // _LINES.size * _LINES.size
    blocks = _LINES.iter_unpack(memoryview(encoded)[:cut])
    rest = [encoded[start : start + LINE] for start in range(cut, len(encoded), LINE)]
    return [*chain.from_iterable(blocks), *rest]


def multipart(subtype: str, message_id: str, parts: Sequence[Part]) -> Part:
    """Put parts together in one."""
    boundary = _boundary(subtype, message_id, parts)
    opening = b"--" + boundary
    # RFC 2387, 3.1: readers that know nothing else go by the type.
    root = ' type="text/html";\r\n' if subtype == "related" else ""
    fields = f"Content-Type: multipart/{subtype};\r\n{root}".encode("ascii")
    pieces = [fields + b' boundary="' + boundary + b'"\r\n']
    unencoded = pieces.copy()
    for part in parts:
        pieces += [opening, *part.pieces, b""]
        unencoded += [opening, *part.unencoded]
    pieces.append(opening + b"--")
    return Part(pieces, unencoded)


def _boundary(subtype: str, message_id: str, parts: Sequence[Part]) -> bytes:
    """Derive a boundary that occurs in no part; "=_" is in no line of base64 (RFC 2045, 6.8)."""
    counter = 0
    while True:
        seed = f"{subtype} {counter} {message_id}".encode()
        boundary = b"=_" + hashlib.sha256(seed).hexdigest()[:32].encode("ascii")
        if not any(boundary in piece for part in parts for piece in part.unencoded):
            return boundary
        counter += 1
