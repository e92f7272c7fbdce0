"""A composed message as a person reads it: taken apart again from its bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from email import message_from_bytes
from email.message import MIMEPart
from email.policy import default
from html.parser import HTMLParser
from typing import Final

SHOWN: Final = ("From", "To", "Reply-To", "Subject")
"""The header fields that a person looks at."""

_BLOCKS: Final = (
    "address article blockquote br div dl dt dd footer form h1 h2 h3 h4 h5 h6 header hr li main "
    "ol p pre section table tr ul"
)
_BREAKS: Final = frozenset(_BLOCKS.split())
_UNSEEN: Final = frozenset({"head", "script", "style", "template", "title"})


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


def text_of(html: str) -> str:
    """Return what a person can read of HTML: a line for each block, links with their target."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.text()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._lines: list[str] = [""]
        self._unseen = 0
        self._targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNSEEN:
            self._unseen += 1
        elif tag in _BREAKS:
            self._lines.append("- " if tag == "li" else "")
        elif tag in {"td", "th"}:
            self._add("  ")
        elif tag == "img":
            self._add(dict(attrs).get("alt") or "")
        elif tag == "a":
            self._targets.append(dict(attrs).get("href") or "")

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._unseen = max(self._unseen - 1, 0)
        elif tag in _BREAKS and tag != "br":
            self._lines.append("")
        elif tag == "a" and self._targets:
            target = self._targets.pop()
            shown = target.removeprefix("mailto:")
            if shown and not self._lines[-1].endswith(shown):
                self._add(f" <{shown}>")

    def handle_data(self, data: str) -> None:
        words = " ".join(data.split())
        before = " " if data[:1].isspace() else ""
        behind = " " if data[-1:].isspace() and words else ""
        self._add(before + words + behind)

    def _add(self, words: str) -> None:
        if not self._unseen:
            line = self._lines[-1]
            self._lines[-1] = line + (words.lstrip() if line.endswith(" ") or not line else words)

    def text(self) -> str:
        """Return the lines, never more than one empty one between two others."""
        kept: list[str] = []
        for line in (each.rstrip() for each in self._lines):
            if (line and line != "-") or (kept and kept[-1]):
                kept.append("" if line == "-" else line)
        return "\n".join(kept).strip("\n") + "\n"
