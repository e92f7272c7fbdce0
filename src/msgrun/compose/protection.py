"""Documents that only the customer opens: PDFs with a password, or all of them in one archive.

Nothing is ever sent unprotected in place of what cannot be protected.
"""

import hashlib
import hmac
import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from msgrun.compose.attachments import Attachment
from msgrun.errors import ComposeError

ARCHIVE: Final = "documents.zip"
"""The archive's name, and "document-1.pdf" those in it: an archive's names are never encrypted."""

MAX_PASSWORD: Final = 127
"""Bytes of UTF-8 that a PDF's password can have (ISO 32000-2, 7.6.4.3.2)."""

_ENDING: Final = re.compile(r"\.[a-z0-9]{1,5}", re.IGNORECASE | re.ASCII)
_MOMENT: Final = (1980, 1, 1, 0, 0, 0)  # the first that an archive can hold
_MODE: Final = 0o600 << 16
_UNIX: Final = 3


def password_of(meta: Mapping[str, Any], key: str) -> str:
    """Return the value that protects a customer's documents.

    Raises:
        ComposeError: MR408, there is none, or none that can be a password.
    """
    value = meta.get(key)
    number = isinstance(value, int) and not isinstance(value, bool)
    text = str(value) if number or isinstance(value, str) else ""
    if not text.strip():
        fault = f"the customer has no value under '{key}'"
    elif not text.isprintable() or len(text.encode()) > MAX_PASSWORD:
        fault = f"the customer's value under '{key}' is longer than a password can be, or odd"
    else:
        return text
    hint = "fill in the value for the customer; nothing is sent unprotected"
    raise ComposeError("MR408", fault, hint)


def protect(
    attachments: Sequence[Attachment], *, archive: bool, password: str | None, seed: str
) -> list[Attachment]:
    """Return documents as they are sent.

    An archive of the same documents, password and seed has the same bytes, also an encrypted one.
    An encrypted PDF never has: its keys are drawn by lot.

    Args:
        attachments: what is to be sent, of one customer alone.
        archive: all in one archive (AES-256 as by WinZip, where there is a password), or each PDF
            by itself (AES-256, ISO 32000-2).
        password: None for none.
        seed: differs from message to message: the Message-ID.

    Raises:
        ComposeError: MR408, one of them is no PDF and there is no archive; MR403, a PDF cannot be
            opened.
    """
    if not attachments or not (archive or password):
        return list(attachments)
    if not archive and password:
        return [_locked(each, password) for each in attachments]
    content = _archive(attachments) if password is None else _sealed(attachments, password, seed)
    return [Attachment(ARCHIVE, "application/zip", content, attachments[0].invoice)]


def _locked(attachment: Attachment, password: str) -> Attachment:
    """Return a PDF that opens with the password only."""
    import pikepdf

    if not attachment.media_type.lower().startswith("application/pdf"):
        message = f"{attachment.filename!r} is no PDF, so it cannot be given a password"
        raise ComposeError("MR408", message, "set zip = true: an archive protects every document")
    made = io.BytesIO()
    try:
        with pikepdf.open(io.BytesIO(attachment.content)) as document:
            lock = pikepdf.Encryption(user=password, owner=password, R=6, aes=True, metadata=True)
            document.save(made, encryption=lock)
    except pikepdf.PasswordError as error:
        message = f"{attachment.filename!r} cannot be opened: it has a password already"
        raise ComposeError("MR403", message, "generate it again, without a password") from error
    except pikepdf.PdfError as error:
        why = str(error).rpartition(": ")[2]  # before it stands what the file is to Python
        message = f"{attachment.filename!r} cannot be opened to protect it: {why}"
        raise ComposeError("MR403", message, "generate it again") from error
    return replace(attachment, content=made.getvalue())


def _names(attachments: Sequence[Attachment]) -> list[str]:
    names = []
    for number, attachment in enumerate(attachments, 1):
        ending = attachment.filename[attachment.filename.rfind(".") :]
        ending = ending.lower() if _ENDING.fullmatch(ending) else ""
        names.append(f"document-{number}{ending}")
    return names


def _archive(attachments: Sequence[Attachment]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, attachment in zip(_names(attachments), attachments, strict=True):
            archive.writestr(_entry(zipfile.ZipInfo(name, _MOMENT)), attachment.content)
    return made.getvalue()


def _entry(info: Any) -> Any:
    """Return an entry that is the same on every system."""
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system, info.external_attr = _UNIX, _MODE
    return info


def _sealed(attachments: Sequence[Attachment], password: str, seed: str) -> bytes:
    """Return an archive that is encrypted, its salts derived from what they are for.

    A salt must not serve two different contents under one password. It is derived from the content
    itself, so it does not; and the same message has the same bytes again.
    """
    import pyzipper
    from pyzipper import zipfile_aes

    secret, salts = password.encode(), iter([_salt(password, seed, each) for each in attachments])

    class Encrypter(zipfile_aes.AESZipEncrypter):  # type: ignore[misc]
        def __init__(self, pwd: bytes) -> None:
            super().__init__(pwd=pwd, force_wz_aes_version=zipfile_aes.WZ_AES_V2)
            self.salt = next(salts)
            keys = hashlib.pbkdf2_hmac("sha1", pwd, self.salt, 1000, 66)
            counter = zipfile_aes.Counter.new(nbits=128, little_endian=True)
            self.encrypter = zipfile_aes.AES.new(
                keys[:32], zipfile_aes.AES.MODE_CTR, counter=counter
            )
            self.hmac = zipfile_aes.HMAC.new(keys[32:64], digestmod=zipfile_aes.SHA1Hash())
            self.encpwdverify = keys[64:]

    class Archive(pyzipper.AESZipFile):  # type: ignore[misc]
        def get_encrypter(self) -> Encrypter:
            return Encrypter(secret)

    made = io.BytesIO()
    with Archive(
        made, "w", compression=pyzipper.ZIP_DEFLATED, encryption=pyzipper.WZ_AES
    ) as archive:
        archive.setpassword(secret)
        for name, attachment in zip(_names(attachments), attachments, strict=True):
            entry = _entry(zipfile_aes.AESZipInfo(name, _MOMENT))
            archive.writestr(entry, attachment.content)
    return made.getvalue()


def _salt(password: str, seed: str, attachment: Attachment) -> bytes:
    parts = (seed.encode(), hashlib.sha256(attachment.content).digest())
    return hmac.digest(password.encode(), b"\0".join(parts), "sha256")[:16]
