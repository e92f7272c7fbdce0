"""Documents from disk or database: opened once, below the documents folder, and looked at."""

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

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
    | os.O_NOFOLLOW  # the path is resolved: a link there now was put in between
    | os.O_NONBLOCK  # opening a FIFO would wait for ever
)


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
    if document.content is not None:
        content = document.content
    else:
        with _opened(document, root) as file:
            try:
                content = file.read()
            except OSError as error:
                raise _unreadable(document, error) from error
    _check_start(document, content[:5])
    return Attachment(filename, document.media_type, content, document.invoice)


def check_document(document: Document, root: Path) -> None:
    """Look at a document without reading all of it; raises what `load_document` would.

    Raises:
        ComposeError: MR401, MR402, MR403 or MR407.
    """
    _filename(document)
    if document.content is not None:
        start = document.content[:5]
    else:
        with _opened(document, root) as file:
            try:
                start = file.read(5)
            except OSError as error:
                raise _unreadable(document, error) from error
    _check_start(document, start)


def _filename(document: Document) -> str:
    name = re.split(r"[/\\]", document.filename)[-1].strip()
    if name in {"", ".", ".."} or FORGING.search(name):
        message = f"the {_what(document)} has the file name {document.filename!r}"
        raise ComposeError("MR403", message, "give it a file name that can be shown")
    if not _MEDIA_TYPE.fullmatch(document.media_type):
        message = f"the {_what(document)} has the media type {document.media_type!r}"
        raise ComposeError("MR403", message, "use one like application/pdf")
    return name


def _check_start(document: Document, start: bytes) -> None:
    if not start:
        message = f"the {_what(document)} is empty (0 bytes)"
    elif document.media_type.lower().startswith("application/pdf") and start != b"%PDF-":
        message = f"the {_what(document)} says it is a PDF, but begins with {start!r}"
    else:
        return
    raise ComposeError("MR403", message, "generate it again")


@contextmanager
def _opened(document: Document, root: Path) -> Iterator[BinaryIO]:
    path = _resolved(document, root)
    try:
        handle = _open_below(os.path.realpath(root), path)
    except (FileNotFoundError, NotADirectoryError) as error:
        message = f"the {_what(document)} is missing: there is no file {path}"
        raise ComposeError("MR401", message, "generate it") from error
    except OSError as error:
        raise _unreadable(document, error) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        message = f"the {_what(document)} is no file: {path}"
        raise ComposeError("MR403", message, "correct the path")
    with os.fdopen(handle, "rb", buffering=0) as file:
        yield file


def _open_below(base: str, path: str) -> int:
    """Open a resolved path folder by folder from `base`: a link on the way was put in just now.

    Looking at the names again once it is open would not do: they can be swapped back by then.

    Raises:
        OSError: there is a link (ELOOP), or another reason not to open it.
    """
    handle = os.open(base, _FLAGS)
    for name in Path(path).relative_to(base).parts:
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
