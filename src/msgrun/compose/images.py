"""Pictures within an HTML body: looked at, named, and made a part once for a whole run."""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from msgrun.compose.parts import Part, base64_lines, filename_parameters

MAX_IMAGE: Final = 1_000_000
"""Bytes that a picture may have: every message carries it."""

_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


class NotAnImageError(Exception):
    """A file is not a picture that mail programs show, or too large a one."""


def media_type(content: bytes) -> str:
    """Return the type of a picture by how it begins.

    Raises:
        NotAnImageError: it is none that every mail program shows, or too large.
    """
    kind = next((kind for start, kind in _SIGNATURES if content.startswith(start)), None)
    if kind is None:
        raise NotAnImageError("is no PNG, JPEG or GIF, which alone every mail program shows")
    if len(content) > MAX_IMAGE:
        raise NotAnImageError(f"has {len(content):,} bytes; at most {MAX_IMAGE:,} are sent along")
    return kind


@dataclass(frozen=True)
class InlineImage:
    """A picture that HTML refers to (RFC 2392).

    Attributes:
        filename: without folders.
        content: its bytes.
    """

    filename: str
    content: bytes

    @classmethod
    def of(cls, path: str, text: str) -> "InlineImage":
        """Read it as it is frozen: in base64.

        Raises:
            NotAnImageError: see `media_type`; or it is not base64.
        """
        try:
            content = base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise NotAnImageError("is not stored as it was") from error
        media_type(content)
        return cls(path.replace("\\", "/").rpartition("/")[2], content)

    @cached_property
    def content_id(self) -> str:
        """Its name in HTML, without "cid:": the same for the same picture, whoever gets it."""
        return f"{hashlib.sha256(self.content).hexdigest()[:32]}@msgrun"

    @cached_property
    def part(self) -> Part:
        """The part that it travels as."""
        fields = (
            f"Content-Type: {media_type(self.content)}\r\n"
            "Content-Transfer-Encoding: base64\r\n"
            f"Content-ID: <{self.content_id}>\r\n"
            f"Content-Disposition: inline{filename_parameters(self.filename)}\r\n"
        ).encode("ascii")
        return Part([fields, *base64_lines(self.content)], (fields,))
