"""Plain lines on a terminal or in a file: data is printed as it is, never as markup."""

import errno
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from msgrun.states import MessageState, RunStatus

M, R = MessageState, RunStatus

Part = str | tuple[str, str]
"""A piece of a line, or a piece with its style."""

STYLES: Final[dict[str, str]] = {
    M.SENT: "green",
    M.REJECTED: "red",
    M.FAILED: "red",
    M.BOUNCED: "red",
    M.IN_DOUBT: "magenta",
    M.DEFERRED: "yellow",
    M.SKIPPED: "dim",
    R.FINISHED: "green",
    R.PAUSED: "red",
    R.STOPPED: "yellow",
    R.WAITING: "yellow",
    R.CANCELLED: "dim",
}
"""The colour of each state and status that has one."""

_SEQUENCES: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f]).*?(?:\x07|\x1b\\|\x9c|$)"  # OSC: title, link
    r"|\x1b[ -/]*[0-~]",
    re.DOTALL,
)
_NARROW: Final = 20  # columns; below that breaking lines helps nobody
_JOINERS: Final = "\u200c\u200d"  # some scripts cannot be written without them


def safe(text: str) -> str:
    """Return text without anything that steers a terminal or turns the reading direction.

    Escape sequences (ECMA-48), control characters, bidirectional controls and lone surrogates
    go; line ends and tabs become spaces.
    """
    if text.isprintable():
        return text
    return "".join(map(_harmless, _SEQUENCES.sub("", text)))


def _harmless(character: str) -> str:
    if character.isspace():
        return " "
    if unicodedata.category(character) in {"Cc", "Cf", "Cs"} and character not in _JOINERS:
        return ""
    return character


class QuietConsole(Console):
    """A console that goes silent when its reader is gone; a run goes on without it."""

    def on_broken_pipe(self) -> None:
        """Write to nowhere from here on."""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.file.fileno())
        os.close(nowhere)


class Printer:
    """Writes lines to a stream, in colour where it is a terminal and `NO_COLOR` is not set."""

    def __init__(self, stream: TextIO) -> None:
        self.console = QuietConsole(file=stream, highlight=False, markup=False, emoji=False)

    @property
    def is_terminal(self) -> bool:
        """Whether a person looks on."""
        return self.console.is_terminal

    def line(self, *parts: Part) -> None:
        """Print one line; every part goes through `safe`."""
        self._print(assemble(*parts))

    def hanging(self, lead: Sequence[Part], *parts: Part) -> None:
        """Print a line that a terminal breaks between words, its further lines below the first.

        Args:
            lead: stands before the first line; what follows it is set in by its width.
            parts: the line itself; every part goes through `safe`, as of the lead.
        """
        first, text = assemble(*lead), assemble(*parts)
        width = self.console.width - first.cell_len
        if not self.is_terminal or width < _NARROW:
            self._print(first + text)
            return
        for place, line in enumerate(text.wrap(self.console, width)):
            line.rstrip()
            self._print((first if place == 0 else Text(" " * first.cell_len)) + line)

    def _print(self, text: Text) -> None:
        try:
            self.console.print(text, soft_wrap=True)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self.console.on_broken_pipe()  # the terminal was closed

    def fields(self, fields: Iterable[tuple[str, str]], indent: int = 2) -> None:
        """Print names beside their values, the values below each other."""
        shown = list(fields)
        width = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            self.line(" " * indent, (name.ljust(width), "dim"), "  ", value)

    def table(
        self, header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()
    ) -> None:
        """Print rows below their header, in columns; `right` names the right-aligned ones."""
        cells = [[safe(cell) for cell in row] for row in rows]
        widths = [
            max((cell_len(row[i]) for row in (header, *cells)), default=0)
            for i in range(len(header))
        ]
        if any(header):
            padded = _padded(header, widths, right)
            self.line(("  ".join(padded).rstrip(), "bold"))
        for row in cells:
            padded = _padded(row, widths, right)
            padded[-1] = padded[-1].rstrip()
            spaced = [part for cell in padded for part in ("  ", cell)][1:]
            self.line(*((part, STYLES.get(part.strip(), "")) for part in spaced))


def assemble(*parts: Part) -> Text:
    """Return parts as one text, each through `safe`."""
    text = Text()
    for part in parts:
        words, style = (part, "") if isinstance(part, str) else part
        text.append(safe(words), style or None)
    return text


def _padded(row: Sequence[str], widths: Sequence[int], right: Sequence[int]) -> list[str]:
    padded = []
    for i, (cell, width) in enumerate(zip(row, widths, strict=True)):
        gap = " " * (width - cell_len(cell))
        padded.append(gap + cell if i in right else cell + gap)
    return padded


def plural(number: int, word: str) -> str:
    """Return "1 message", "1,200 messages"."""
    return f"{number:,} {word}" + ("" if number == 1 else "s")


def moment(when: datetime | None) -> str:
    """Return a time as RFC 3339 in UTC, to the second; "" for none."""
    if when is None:
        return ""
    return when.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def duration(seconds: float) -> str:
    """Return "45 s", "12 min" or "3 h 20 min"."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes = round(whole / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
