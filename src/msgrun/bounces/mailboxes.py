"""Where notices lie: a Maildir, an mbox, single mails, or a folder on an IMAP server.

Nothing is deleted. In a mailbox of msgrun's own, a notice is marked as read once it is in the
ledger; whatever else lies there stays unread, for a person to look at.
"""

import imaplib
import mailbox
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from pydantic import SecretStr

from msgrun.errors import MsgrunError, UsageError

MOST_BYTES: Final = 1024 * 1024
"""Of a mail that are read: a notice says what it has to say in its first part."""

_SEEN: Final = "S"


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail: its bytes, and how to mark it as read."""

    data: bytes
    done: Callable[[], None]


class Mailbox(Protocol):
    """A place where mails lie."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    def opened(self) -> AbstractContextManager[Iterator[Mail]]:
        """Give the mails that nobody has read yet; they can be marked within the block.

        Raises:
            MsgrunError: it cannot be read.
        """
        ...


def _nothing() -> None:
    """Mark nothing: what is named on the command line is only read."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A Maildir.

    Attributes:
        mark: whether what was taken in is marked as read, and what is read is left out.
    """

    path: Path
    mark: bool = True

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.path)

    @contextmanager
    def opened(self) -> Iterator[Iterator[Mail]]:
        """See `Mailbox`."""
        with _readable(self.name):
            yield self._unread(mailbox.Maildir(self.path, factory=None, create=False))

    def _unread(self, box: mailbox.Maildir) -> Iterator[Mail]:
        for key in sorted(box.keys()):
            with suppress(KeyError):  # somebody else has moved it meanwhile
                flags = box.get_message(key).get_flags() if self.mark else ""
                if _SEEN not in flags:
                    with box.get_file(key) as file:
                        data = file.read(MOST_BYTES)
                    yield Mail(data, self._done(box, key) if self.mark else _nothing)

    def _done(self, box: mailbox.Maildir, key: str) -> Callable[[], None]:
        def mark() -> None:
            with suppress(KeyError):
                message = box.get_message(key)
                message.set_subdir("cur")
                message.add_flag(_SEEN)
                box[key] = message

        return mark


@dataclass(frozen=True, slots=True)
class File:
    """An mbox, or one mail in a file of its own; never changed."""

    path: Path

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.path)

    @contextmanager
    def opened(self) -> Iterator[Iterator[Mail]]:
        """See `Mailbox`; all mails of it."""
        with _readable(self.name), self.path.open("rb") as file:
            start = file.read(MOST_BYTES)
            if start.startswith(b"From "):
                with closing(mailbox.mbox(self.path, factory=None, create=False)) as box:
                    yield (
                        Mail(box.get_bytes(key)[:MOST_BYTES], _nothing) for key in box.iterkeys()
                    )
            else:
                yield iter([Mail(start, _nothing)])


@dataclass(frozen=True, slots=True)
class ImapFolder:
    """A folder on an IMAP server (RFC 3501).

    Attributes:
        security: "tls", "starttls" or "none"; never downgraded.
        timeout: seconds for each answer.
        token: gives an access token, in place of the password (XOAUTH2).
    """

    host: str
    port: int
    security: str
    username: str
    password: SecretStr | None
    folder: str = "INBOX"
    timeout: float = 30
    token: Callable[[], SecretStr] | None = None

    @property
    def name(self) -> str:
        """Where it is."""
        return f"{self.folder} of {self.username} on {self.host}:{self.port}"

    @contextmanager
    def opened(self) -> Iterator[Iterator[Mail]]:
        """See `Mailbox`."""
        with _readable(self.name), self._logged_in() as server:
            yield self._unread(server)

    def _unread(self, server: imaplib.IMAP4) -> Iterator[Mail]:
        (found,) = _asked(server.uid("SEARCH", "UNSEEN"))
        for uid in found.decode("ascii").split():
            for part in _asked(server.uid("FETCH", uid, f"(BODY.PEEK[]<0.{MOST_BYTES}>)")):
                if isinstance(part, tuple):
                    yield Mail(part[1], self._done(server, uid))

    @contextmanager
    def _logged_in(self) -> Iterator[imaplib.IMAP4]:
        context = ssl.create_default_context()
        server: imaplib.IMAP4
        if self.security == "tls":
            server = imaplib.IMAP4_SSL(
                self.host, self.port, ssl_context=context, timeout=self.timeout
            )
        else:
            server = imaplib.IMAP4(self.host, self.port, timeout=self.timeout)
        try:
            if self.security == "starttls":
                server.starttls(context)
            self._log_in(server)
            quoted = self.folder.replace("\\", "\\\\").replace('"', '\\"')
            _asked(server.select(f'"{quoted}"'))
            yield server
        finally:
            with suppress(OSError, imaplib.IMAP4.error):
                server.logout()

    def _log_in(self, server: imaplib.IMAP4) -> None:
        if self.token is None:
            secret = self.password.get_secret_value() if self.password else ""
            server.login(self.username, secret)
            return
        said = f"user={self.username}\1auth=Bearer {self.token().get_secret_value()}\1\1".encode()
        # Asked a second time, the server wants an empty line before it says no.
        answers = iter((said, b""))
        server.authenticate("XOAUTH2", lambda _challenge: next(answers, b""))

    def _done(self, server: imaplib.IMAP4, uid: str) -> Callable[[], None]:
        def mark() -> None:
            _asked(server.uid("STORE", uid, "+FLAGS.SILENT", r"(\Seen)"))

        return mark


def _asked(answer: tuple[str, list[Any]]) -> list[Any]:
    """Return what an IMAP server answered: lines, and literals as tuples."""
    status, data = answer
    if status != "OK":
        raise imaplib.IMAP4.error(str(data[0]) if data else status)
    return data


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, mailbox.Error, imaplib.IMAP4.error) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise MsgrunError(
            f"mailbox {name} cannot be read: {why}",
            "see whether it is there and this user may read it; nothing that was read is lost",
        ) from error


def mailbox_at(path: Path) -> Mailbox:
    """Return what lies at a path that a person names: a Maildir, an mbox or a mail.

    Raises:
        UsageError: nothing of the kind.
    """
    if path.is_dir():
        if not all((path / part).is_dir() for part in ("cur", "new")):
            raise UsageError(
                f"{path} is no Maildir: it has no folders 'cur' and 'new'",
                "name a Maildir, an mbox, or the file of a mail",
            )
        return Folder(path, mark=False)
    if not path.is_file():
        raise UsageError(f"there is no {path}", "name a Maildir, an mbox, or the file of a mail")
    return File(path)
