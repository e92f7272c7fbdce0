"""A message as a file: written where a person says, opened in a program of theirs."""

import os
import shutil
import subprocess
import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import Final

from msgrun.errors import UsageError

_OPENING_SECONDS: Final = 10.0  # what has not failed by then has opened it
_POLICY: Final = (
    "<meta http-equiv='Content-Security-Policy' "
    "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
)
"""In a browser a template's page fetches and runs nothing, as in a mail program."""


def write_letter(data: bytes, file: Path, *, force: bool) -> None:
    """Write a message, byte for byte; others than its owner cannot read it.

    Raises:
        UsageError: there is such a file already, or it cannot be written.
    """
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        with open(os.open(file, flags, 0o600), "wb") as stream:  # noqa: PTH123 - with its mode
            stream.write(data)
    except FileExistsError:
        raise UsageError(
            f"{file} is there already", "name another file, or give --force to replace it"
        ) from None
    except OSError as error:
        raise UsageError(
            f"{file} cannot be written: {error.strerror}", "name another file after --out"
        ) from error


def kept_letter(data: bytes, name: str) -> Path:
    """Write a message to a folder of its own that nobody else can read; it stays there."""
    file = Path(tempfile.mkdtemp(prefix="msgrun-preview-")) / name
    write_letter(data, file, force=False)
    return file


def open_letter(file: Path, page: str) -> str:
    """Open a message in the default mail program, or else what it says in a browser.

    Args:
        file: the message.
        page: what it says, as HTML.

    Returns:
        What opened it; "" where there is nothing that could.
    """
    if not _has_screen():
        return ""
    program = shutil.which("open" if sys.platform == "darwin" else "xdg-open")
    if program is not None and _opens([program, str(file.absolute())]):
        return "mail program"
    shown = kept_letter((_POLICY + page).encode(), "preview.html")
    try:
        return "browser" if webbrowser.open(shown.as_uri()) else ""
    except webbrowser.Error:
        return ""


def _has_screen() -> bool:
    screens = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    return sys.platform in {"darwin", "win32"} or any(map(os.environ.get, screens))


def _opens(words: list[str]) -> bool:
    try:
        process = subprocess.Popen(  # noqa: S603 - a program of the system's, without a shell
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return process.wait(_OPENING_SECONDS) == 0
    except subprocess.TimeoutExpired:
        return True
    except OSError:
        return False
