"""Documents from disk or database: opened once, below the documents folder, and looked at."""

import hashlib
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from msgrun.compose import CONTROL, FORGING
from msgrun.errors import ComposeError
from msgrun.model import Document

_MEDIA_TYPE: Final = re.compile(
    r"(?!(?:multipart|message)/)"  # neither may be base64 (RFC 2046, 5.1 and 5.2.1)
    r"[\w.+!#$&^-]+/[\w.+!#$&^-]+(?:; ?[\w.+-]+=[\w.+-]+)*",
    re.ASCII | re.IGNORECASE,
)
_FLAGS: Final = (
    os.O_RDONLY
    | os.O_CLOEXEC
    | os.O_NOFOLLOW  # links are resolved beforehand: one that is there now was put in between
    | os.O_NONBLOCK  # opening a FIFO would wait for ever
)
_PLAIN_PATH: Final = re.compile(r"(?!\.)[^/]+(?:/(?!\.)[^/]+)*")
_AT_ONCE: Final = 1 << 16  # bytes of a file that grew while it was read
_FOLDER: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY


@dataclass(frozen=True, slots=True)
class Attachment:
    """A document's bytes, and the invoice that they belong to."""

    filename: str
    media_type: str
    content: bytes
    invoice: str

    @property
    def sha256(self) -> str:
        """The hex digest of the content."""
        return hashlib.sha256(self.content).hexdigest()


def load_document(document: Document, root: Path) -> Attachment:
    """Read a document; its path, if it has no content, is relative to `root` and stays below it.

    Raises:
        ComposeError: MR401, there is no such file; MR402, it cannot be read; MR403, it is empty,
            no file, not the PDF that it says it is, or has an impossible name or media type;
            MR407, it is outside `root`.
    """
    filename = _filename(document)
    content = document.content
    if content is None:
        content = _read(document, root)
    _check_start(document, content[:5])
    return Attachment(filename, document.media_type, content, document.invoice)


def check_document(document: Document, root: Path) -> None:
    """Look at a document without reading all of it; raises what `load_document` would.

    Raises:
        ComposeError: MR401, MR402, MR403 or MR407.
    """
    _filename(document)
    content = document.content
    if content is None:
        content = _read(document, root, most=5)
    _check_start(document, content[:5])


def _filename(document: Document) -> str:
    name = document.filename.replace("\\", "/").rpartition("/")[2].strip()
    if name in {"", ".", ".."} or FORGING.search(name):
        message = f"the {_what(document)} has the file name {document.filename!r}"
        raise ComposeError("MR403", message, "give it a file name that can be shown")
    if not _is_media_type(document.media_type):
        message = f"the {_what(document)} has the media type {document.media_type!r}"
        raise ComposeError("MR403", message, "use one like application/pdf")
    return name


@lru_cache(maxsize=64)
def _is_media_type(value: str) -> bool:
    return _MEDIA_TYPE.fullmatch(value) is not None


def _check_start(document: Document, start: bytes) -> None:
    if not start:
        message = f"the {_what(document)} is empty (0 bytes)"
    elif document.media_type.lower().startswith("application/pdf") and start != b"%PDF-":
        message = f"the {_what(document)} says it is a PDF, but begins with {start!r}"
    else:
        return
    raise ComposeError("MR403", message, "generate it again")


def _read(document: Document, root: Path, most: int | None = None) -> bytes:
    """Return a document's bytes, or the first of them."""
    handle = _opened(document, root)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            message = f"the {_what(document)} is no file: {_resolved(document, root)}"
            raise ComposeError("MR403", message, "correct the path")
        if most is not None:
            return os.read(handle, most)
        pieces = [os.read(handle, found.st_size + 1)]
        while pieces[-1]:
            pieces.append(os.read(handle, _AT_ONCE))
    except OSError as error:
        raise _unreadable(document, error) from error
    finally:
        os.close(handle)
    return b"".join(pieces) if len(pieces) > 2 else pieces[0]


def _opened(document: Document, root: Path) -> int:
    """Open a document: its path as it is, where no link is on the way, or the resolved one."""
    handle = _open_plain(document.path, root)
    if handle is not None:
        return handle
    path = _resolved(document, root)
    try:
        base = os.path.realpath(root)
        return _open_below(base, Path(path).relative_to(base).parts, _FLAGS)
    except (FileNotFoundError, NotADirectoryError) as error:
        message = f"the {_what(document)} is missing: there is no file {path}"
        raise ComposeError("MR401", message, "generate it") from error
    except OSError as error:
        raise _unreadable(document, error) from error


def _open_plain(path: str | None, root: Path) -> int | None:
    """Open a path below the root that has nothing to resolve; None where it has, or is not there.

    Resolving asks the system about every folder from "/" on. Where it would change nothing, that
    can be spared: a folder or file that is a link is not opened here either.
    """
    if path is None or CONTROL.search(path):
        return None
    if path.startswith("/"):
        path = path.removeprefix(f"{root}/")
    if not _PLAIN_PATH.fullmatch(path):
        return None
    try:
        return _open_below(root, path.split("/"), _FOLDER)
    except OSError:
        return None


def _open_below(base: str | Path, names: Sequence[str], flags: int) -> int:
    """Open a resolved path folder by folder from `base`: a link on the way was put in just now.

    Looking at the names again once it is open would not do: they can be swapped back by then.

    Raises:
        OSError: there is a link (ELOOP), or another reason not to open it.
    """
    handle = os.open(base, flags)
    for name in names:
        try:
            below = os.open(name, _FLAGS, dir_fd=handle)
        finally:
            os.close(handle)
        handle = below
    return handle


def _resolved(document: Document, root: Path) -> str:
    if document.path is None:
        message = f"the {_what(document)} has neither content nor a path"
        raise ComposeError("MR401", message, "generate it, or correct its row")
    base = os.path.realpath(root)
    # A control character (NUL among them) is in no path that a billing system writes.
    if not CONTROL.search(document.path):
        try:
            path = os.path.realpath(Path(base, document.path))
        except OSError as error:  # a link was swapped for a file while it was read
            raise _unreadable(document, error) from error
        if path.startswith(base.rstrip(os.sep) + os.sep):
            return path
    message = f"the {_what(document)} is outside the documents folder {base}: {document.path!r}"
    raise ComposeError("MR407", message, "correct the path, or documents_root")


def _unreadable(document: Document, error: OSError) -> ComposeError:
    message = f"the {_what(document)} cannot be read: {document.path!r}: {error.strerror}"
    return ComposeError("MR402", message, "correct the file's owner or mode")


def _what(document: Document) -> str:
    return f"document {document.transformation!r} ({document.filename!r})"
