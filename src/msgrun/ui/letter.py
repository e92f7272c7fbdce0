"""A composed message as a person reads it: taken apart again from its bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from email import message_from_bytes
from email.message import MIMEPart
from email.policy import default
from typing import Final

from msgrun.compose.plaintext import text_of

SHOWN: Final = ("From", "To", "Reply-To", "Subject")
"""The header fields that a person looks at."""


@dataclass(frozen=True, slots=True)
class Enclosure:
    """One attachment; `size` is that of the file, in bytes."""

    filename: str
    media_type: str
    size: int


@dataclass(frozen=True, slots=True)
class Letter:
    """One message.

    Attributes:
        fields: names and values of the header fields in `SHOWN` that it has.
        text: the text part, or what can be read of the HTML.
        html: the HTML part; None for none.
        derived: whether `text` was made from the HTML, because there is no text part.
    """

    fields: Sequence[tuple[str, str]]
    attachments: Sequence[Enclosure]
    text: str
    html: str | None
    derived: bool


def read_letter(data: bytes) -> Letter:
    """Take a message apart, as the standard library understands its bytes."""
    message = message_from_bytes(data, policy=default)
    plain = message.get_body(("plain",))
    html = message.get_body(("html",))
    source = _content(html) if html is not None else None
    text = _content(plain) if plain is not None else text_of(source or "")
    return Letter(
        fields=[(name, str(message[name])) for name in SHOWN if message[name] is not None],
        attachments=[_enclosure(part) for part in message.iter_attachments()]
        if message.is_multipart()
        else [],
        text=text,
        html=source,
        derived=plain is None,
    )


def _content(part: MIMEPart) -> str:
    return str(part.get_content()).replace("\r\n", "\n")


def _enclosure(part: MIMEPart) -> Enclosure:
    content = part.get_payload(decode=True)
    size = len(content) if isinstance(content, bytes) else 0
    return Enclosure(part.get_filename() or "", part.get_content_type(), size)
