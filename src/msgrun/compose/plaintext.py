"""The text of an HTML body, for those who read mail without HTML (RFC 2046, 5.1.4).

Links are shown, tables are lined up, and what nobody sees in HTML is left out.
"""

import re
from dataclasses import dataclass, field
from html import unescape
from typing import Final

_TAG: Final = re.compile(
    r"</?([a-zA-Z][a-zA-Z0-9:-]*+)((?:[^<>\"']++|\"[^\"]*+\"|'[^']*+')*+)/?>", re.ASCII
)
_ATTRIBUTE: Final = re.compile(
    r"([a-zA-Z-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'=<>`]+))", re.ASCII
)
_SPACES: Final = re.compile(r"[ \t\r\n\f]+")
_HIDDEN: Final = re.compile(r"display\s*:\s*none|mso-hide\s*:\s*all", re.IGNORECASE)
_UNSEEN: Final = frozenset({"head", "style", "script", "template", "noscript", "svg"})
_APART: Final = frozenset(  # with an empty line before and after
    {"p", "table", "ul", "ol", "blockquote", "pre", "hr", *(f"h{level}" for level in range(1, 7))}
)
_LINES: Final = frozenset(  # on lines of their own
    {"div", "tr", "li", "address", "article", "section", "header", "footer", "main", "center"}
    | {"dl", "dt", "dd", "figure", "figcaption", "nav", "aside", "form", "caption", "body", "html"}
)
_VOID: Final = frozenset({"br", "hr", "img", "input", "meta", "link", "area", "col", "wbr"})
_CELLS: Final = frozenset({"td", "th"})
_LINKED: Final = ("http://", "https://", "mailto:", "tel:")
_RULE: Final = "-" * 20
_GAP: Final = "  "  # between columns


@dataclass(slots=True)
class _Flow:
    """Text that grows, with the line breaks that are due before the next word."""

    pieces: list[str] = field(default_factory=list)
    breaks: int = 0
    space: bool = False

    def add(self, text: str) -> None:
        words = _SPACES.sub(" ", text)
        if words in {"", " "}:
            self.space = self.space or words == " "
            return
        if self.breaks:
            if self.pieces:
                self.pieces.append("\n" * self.breaks)
            self.breaks, self.space, words = 0, False, words.lstrip(" ")
        elif self.pieces and (self.space or words[0] == " "):
            words = " " + words.lstrip(" ")
        else:
            words = words.lstrip(" ")
        self.space = words[-1] == " "
        self.pieces.append(words.rstrip(" "))

    def add_lines(self, text: str) -> None:
        """Add text as it is."""
        if text:
            if self.breaks and self.pieces:
                self.pieces.append("\n" * self.breaks)
            self.breaks, self.space = 0, False
            self.pieces.append(text)

    def break_line(self, lines: int) -> None:
        self.breaks = max(self.breaks, lines)

    def text(self) -> str:
        return "".join(self.pieces)


@dataclass(slots=True)
class _Table:
    rows: list[list[str]] = field(default_factory=list)
    cell: _Flow | None = None


class _Reader:
    """Walks through the tags of a document."""

    def __init__(self) -> None:
        self._flows = [_Flow()]
        self._tables: list[_Table] = []
        self._lists: list[int | None] = []
        self._links: list[tuple[str, int, _Flow]] = []
        self._unseen: list[str] = []

    def word(self, text: str) -> None:
        if not self._unseen:
            self._flow.add(unescape(text))

    @property
    def _flow(self) -> _Flow:
        return self._flows[-1]

    def opened(self, tag: str, attributes: str) -> None:
        if self._unseen:
            if tag == self._unseen[-1] and tag not in _VOID:
                self._unseen.append(tag)
            return
        if tag in _UNSEEN or (tag not in _VOID and _HIDDEN.search(attributes)):
            self._unseen.append(tag)
            return
        if tag == "table":
            self._flow.break_line(2)
            self._tables.append(_Table())
        elif self._tables and (tag == "tr" or tag in _CELLS):
            self._close_cell()
            table = self._tables[-1]
            if tag == "tr" or not table.rows:
                table.rows.append([])
            if tag in _CELLS:
                table.cell = _Flow()
                self._flows.append(table.cell)
        else:
            self._break_before(tag)
            self._begin(tag, attributes)

    def _begin(self, tag: str, attributes: str) -> None:
        if tag == "a":
            self._links.append((_value(attributes, "href"), len(self._flow.pieces), self._flow))
        elif tag == "img":
            self._flow.add(_value(attributes, "alt"))
        elif tag in {"ul", "ol"}:
            self._lists.append(0 if tag == "ol" else None)
        elif tag == "li":
            self._flow.add_lines(self._mark())
            self._flow.space = True
        elif tag == "hr":
            self._flow.add_lines(_RULE)
            self._flow.break_line(2)

    def closed(self, tag: str) -> None:
        if self._unseen:
            if tag == self._unseen[-1]:
                self._unseen.pop()
            return
        if tag == "table" and self._tables:
            self._close_cell()
            self._flow.add_lines(_lined_up(self._tables.pop().rows))
            self._flow.break_line(2)
        elif self._tables and (tag == "tr" or tag in _CELLS):
            self._close_cell()
        elif tag == "a" and self._links:
            self._close_link()
        else:
            if tag in {"ul", "ol"} and self._lists:
                self._lists.pop()
            self._break_before(tag)

    def _break_before(self, tag: str) -> None:
        if tag == "br":
            # Each of them ends a line, also where a line has just ended.
            self._flow.breaks += 1
        elif tag in _APART and not (tag in {"ul", "ol"} and self._lists):
            self._flow.break_line(2)
        elif tag in _LINES or tag in {"ul", "ol"}:
            self._flow.break_line(1)

    def _mark(self) -> str:
        if not self._lists:
            return "-"
        indent = _GAP * (len(self._lists) - 1)
        count = self._lists[-1]
        if count is None:
            return f"{indent}-"
        self._lists[-1] = count + 1
        return f"{indent}{count + 1}."

    def _close_cell(self) -> None:
        table = self._tables[-1]
        if table.cell is not None:
            while self._flows.pop() is not table.cell:
                pass
            table.rows[-1].append(table.cell.text().strip())
            table.cell = None

    def _close_link(self) -> None:
        address, begin, flow = self._links.pop()
        if flow is not self._flow or not address.lower().startswith(_LINKED):
            return
        shown = "".join(flow.pieces[begin:]).strip()
        bare = address.partition(":")[2] if address[:4].lower() in {"mail", "tel:"} else address
        if not shown:
            flow.add(bare)
        elif shown not in {bare, address, bare.removeprefix("https://")}:
            flow.add(f" ({bare})")

    def text(self) -> str:
        while self._tables:
            self.closed("table")
        return self._flows[0].text()


def text_of(html: str) -> str:
    """Return the words of an HTML body, with its links; "" where it shows none.

    It takes time in proportion to the length, whatever is written there.
    """
    reader, place = _Reader(), 0
    while (start := html.find("<", place)) >= 0:
        if start > place:
            reader.word(html[place:start])
        if html.startswith("<!--", start):
            place = _after(html, "-->", start + 4)
        elif html.startswith(("<!", "<?"), start):
            place = _after(html, ">", start)
        elif (found := _TAG.match(html, start)) is None:
            reader.word("<")
            place = start + 1
        else:
            place = found.end()
            tag = found[1].lower()
            if html[start + 1] == "/":
                reader.closed(tag)
                continue
            reader.opened(tag, found[2])
            if tag in {"style", "script"}:  # what stands there is no HTML
                place = _after(html, f"</{tag}", place) - len(tag) - 2
    reader.word(html[place:])
    lines = (line.rstrip() for line in reader.text().strip().split("\n"))
    return "\n".join([*lines, ""]) if html else ""


def _after(html: str, end: str, start: int) -> int:
    found = html.find(end, start)
    return len(html) + len(end) if found < 0 else found + len(end)


def _value(attributes: str, name: str) -> str:
    for key, *values in _ATTRIBUTE.findall(attributes):
        if key.lower() == name:
            return unescape("".join(values)).strip()
    return ""


def _lined_up(rows: list[list[str]]) -> str:
    """Return a table: as columns, where each cell is a few words, else cell below cell."""
    rows = [[cell for cell in row if cell] if len(row) == 1 else row for row in rows]
    rows = [row for row in rows if any(row)]
    if any("\n" in cell for row in rows for cell in row):
        return "\n".join(cell for row in rows for cell in row if cell)
    columns = max((len(row) for row in rows), default=0)
    used = [n for n in range(columns) if any(len(row) > n and row[n] for row in rows)]
    grid = [[row[n] if n < len(row) else "" for n in used] for row in rows]
    widths = [max(len(row[n]) for row in grid if len(row) > n) for n in range(len(used))]
    if len(used) > 1:  # a title across the table does not make its column wide
        several = [row for row in grid if sum(map(bool, row)) > 1] or grid
        widths = [max(len(row[n]) for row in several) for n in range(len(used))]
    return "\n".join(
        _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in grid
    )
