"""The folder of a rehearsal: where its files lie, and that it says when they are not all there."""

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgrun.errors import MsgrunError, UsageError
from msgrun.transport.file import UNSAFE

INDEX: Final = "index.csv"
PAGE: Final = "index.html"
INCOMPLETE: Final = "INCOMPLETE.txt"
MARK: Final = "rehearsal.json"

_MADE_BY: Final = "msgrun rehearse"
_IN_ONE: Final = 1_000  # messages in one sub-folder
_DIGITS: Final = 4  # at least, so that names sort
_LONGEST: Final = 40  # letters of a code or an invoice number
_SUBFOLDER: Final = re.compile(r"[0-9]{4,}-[0-9]{4,}")
_LETTER: Final = re.compile(r"[0-9]{4,}_.*\.eml")
_WARNING: Final = (
    "This rehearsal is not complete: it is still going on, or it was interrupted.\n"
    "Messages are missing. `msgrun rehearse … --into THIS --force` makes it anew.\n"
)


class RehearsalFolder:
    """One folder for one rehearsal.

    Args:
        path: made if it is not there; else empty.
        force: it may hold a rehearsal from before, which goes then.

    Raises:
        UsageError: it is not empty, or holds what no rehearsal made.
    """

    def __init__(self, path: Path, *, force: bool) -> None:
        self.path = path
        self._width = _DIGITS
        with _telling(path):
            self._check(force=force)

    def _check(self, *, force: bool) -> None:
        if self.path.is_symlink() or (self.path.exists() and not self.path.is_dir()):
            raise UsageError(f"{self.path} is no folder", "name a new folder after --into")
        if not self.path.exists() or not any(self.path.iterdir()):
            return
        made = self._is_rehearsal()
        if not force or not made:
            hint = "--force replaces the rehearsal in it, or name" if made else "name"
            raise UsageError(
                f"the folder {self.path} is not empty", f"{hint} a new folder after --into"
            )
        strange = next(self._strange(), None)
        if strange is not None:
            raise UsageError(
                f"{strange} was not made by a rehearsal, so the folder is not replaced",
                "take it out, or name a new folder after --into",
            )

    def _is_rehearsal(self) -> bool:
        try:
            found = json.loads((self.path / MARK).read_text("utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(found, dict) and found.get("made_by") == _MADE_BY

    def _strange(self) -> Iterator[Path]:
        """Yield what no rehearsal makes."""
        for each in self.path.iterdir():
            if each.is_symlink():
                yield each
            elif each.is_dir():
                letters = each.iterdir() if _SUBFOLDER.fullmatch(each.name) else iter([each])
                yield from (
                    found
                    for found in letters
                    if found.is_dir() or not _LETTER.fullmatch(found.name)
                )
            elif each.name not in {INDEX, PAGE, INCOMPLETE, MARK}:
                yield each

    def begin(self, definition: str, highest: int) -> None:
        """Make the folder, empty but for what says that it is not complete.

        Args:
            definition: what is rehearsed.
            highest: no message has a higher number.

        Raises:
            MsgrunError: it cannot be written.
        """
        self._width = max(_DIGITS, len(str(highest)))
        with _telling(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            mark = {"made_by": _MADE_BY, "definition": definition}
            self._write(self.path / MARK, (json.dumps(mark) + "\n").encode())
            self._write(self.path / INCOMPLETE, _WARNING.encode())
            for each in list(self.path.iterdir()):
                if each.is_dir():
                    shutil.rmtree(each)
                elif each.name in {INDEX, PAGE}:
                    each.unlink()

    def keep(self, number: int, customer: str, invoices: Sequence[str], data: bytes) -> str:
        """Write one message; return its path within the folder.

        Raises:
            MsgrunError: it cannot be written.
        """
        first = (number - 1) // _IN_ONE * _IN_ONE + 1
        below = f"{self._padded(first)}-{self._padded(first + _IN_ONE - 1)}"
        more = f"+{len(invoices) - 1}" if len(invoices) > 1 else ""
        name = f"{self._padded(number)}_{_safe(customer)}_{_safe(invoices[0])}{more}.eml"
        with _telling(self.path):
            try:
                self._write(self.path / below / name, data)
            except FileNotFoundError:
                (self.path / below).mkdir(mode=0o700)
                self._write(self.path / below / name, data)
        return f"{below}/{name}"

    def complete(self) -> None:
        """Take away what says that it is not complete."""
        with _telling(self.path):
            (self.path / INCOMPLETE).unlink()

    def _padded(self, number: int) -> str:
        return f"{number:0{self._width}}"

    @staticmethod
    def _write(file: Path, data: bytes) -> None:
        # Bills are nobody else's business.
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(handle, "wb", buffering=0) as stream:  # noqa: PTH123 - with its mode
            stream.write(data)


def _safe(text: str) -> str:
    return UNSAFE.sub("_", text)[:_LONGEST] or "_"


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Turn what the system says into one sentence.

    Raises:
        MsgrunError: instead of OSError.
    """
    try:
        yield
    except OSError as error:
        raise MsgrunError(
            f"{error.filename or path} cannot be written: {error.strerror}",
            "make room, or name another folder after --into",
        ) from error
