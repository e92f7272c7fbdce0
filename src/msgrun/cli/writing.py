"""Files that commands write: whole or not at all, and not over another by mistake."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from msgrun.errors import UsageError


def refuse_overwriting(file: Path, option: str, *, force: bool) -> None:
    """Refuse to go on where a file is there already.

    Raises:
        UsageError: it is, and nobody said that it may go; or its folder is not there.
    """
    if file.is_dir():
        raise UsageError(f"{file} is a folder", f"name a file after {option}")
    if not file.parent.is_dir():
        raise UsageError(f"the folder {file.parent} is not there", "make it, or name another")
    if file.is_file() and not force:
        raise UsageError(f"{file} is there already", "--force writes over it")


@contextmanager
def whole_file(
    file: Path, option: str, *, encoding: str = "utf-8", mode: int | None = None
) -> Iterator[TextIO]:
    """Open a file that readers see whole: what was there before stays until all is written.

    Args:
        file: a device or a pipe is written as it is.
        option: that named it, for the hint.
        encoding: of the text.
        mode: of the new file; else as the user's umask says.

    Raises:
        UsageError: it cannot be written.
    """
    plain = file.is_file() or not file.exists()
    # Not ending as the file does: whoever collects `*.prom` does not read half a one.
    target = file.with_name(f".{file.name}.{os.getpid()}.new") if plain else file
    try:
        try:
            with target.open("w", encoding=encoding, newline="") as stream:
                if mode is not None and plain:
                    os.fchmod(stream.fileno(), mode)
                yield stream
                stream.flush()
                if plain:
                    os.fsync(stream.fileno())
            if plain:
                target.replace(file)
                _sync_folder(file.parent)
        except BaseException:
            if plain:
                target.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(
            f"{file} cannot be written: {error.strerror}", f"name another file after {option}"
        ) from error


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # not every file system can
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
