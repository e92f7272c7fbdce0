"""Messages as bytes (RFC 5322, RFC 2045 to 2047, RFC 2231), written in one pass.

The standard library's EmailMessage takes milliseconds a message and mis-encodes some addresses.
"""

import binascii
import hashlib
import re
import unicodedata
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from email_validator import EmailNotValidError, validate_email

from msgrun.compose import CONTROL, FORGING
from msgrun.compose.attachments import Attachment
from msgrun.errors import ComposeError
from msgrun.model import Address

_LINE: Final = 76  # lines with encoded words (RFC 2047, 2) and base64 lines (RFC 2045, 6.8)
_WORD_BYTES: Final = 36  # makes encoded words of 60 characters: they fit behind every field name
_LONG: Final = 60  # longer words and names are encoded, so that lines can be folded
_PHRASE: Final = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(?: [\w!#$%&'*+/=?^`{|}~-]+)*", re.ASCII)
_PLAIN_FILENAME: Final = re.compile(r"[\w !#$&'()+,.;=@\[\]^`{}~-]{1,60}", re.ASCII)
_CONTROL_IN_TEXT: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_ASCII: Final = bytes(range(128))
_MESSAGE_ID: Final = re.compile(r"<[!-;=?-~]+@[!-;=?-~]+>")
_FIELD_NAME: Final = re.compile(r"[!-9;-~]+")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address that was checked, as it goes on the wire.

    Attributes:
        address: the domain in ASCII (IDNA); the local part may need SMTPUTF8 (RFC 6531).
        display_name: "" for none.
    """

    address: str
    display_name: str = ""

    @property
    def smtputf8(self) -> bool:
        """Whether the local part is not ASCII."""
        return not self.address.isascii()


@dataclass(frozen=True, slots=True)
class Head:
    """What the header says. `extra` holds further fields; there is no place for a Bcc."""

    sender: Mailbox
    to: tuple[Mailbox, ...]
    subject: str
    date: datetime
    message_id: str
    reply_to: Mailbox | None = None
    extra: tuple[tuple[str, str], ...] = ()


def mailbox(address: Address) -> Mailbox:
    """Return `address` checked strictly, its domain in ASCII (RFC 5321, 4.1.2; RFC 5891).

    Raises:
        ComposeError: MR108, the field holds spaces, quotes or several addresses;
            MR107, it is malformed otherwise, or the name holds a control character or "=?".
    """
    if FORGING.search(address.display_name):
        message = f"the name {address.display_name!r} holds a control character, or '=?'"
        raise ComposeError("MR107", message, "correct the name beside the address")
    return Mailbox(_wire_address(address.address), re.sub(" +", " ", address.display_name).strip())


@lru_cache(maxsize=4096)
def _wire_address(address: str) -> str:
    if not CONTROL.search(address):
        quoted = address[:1] == "'" or address[-1:] == "'"
        if quoted or address.count("@") > 1 or re.search(r'[\s",;<>()]', address):
            message = f"{address!r} holds spaces, quotes or more than one address"
            raise ComposeError("MR108", message, "put one address in each field, and only that")
    try:
        # `.test` is allowed for rehearsals; nothing is looked up.
        valid = validate_email(address, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        message = f"{address!r} is no mail address: {error}"
        raise ComposeError("MR107", message, "correct the address") from error
    if "=?" in address:
        message = f"{address!r} holds '=?', which mail programs read as a code"
        raise ComposeError("MR107", message, "correct the address")
    return f"{valid.local_part}@{valid.ascii_domain}"


def write_message(
    head: Head, text: str | None, html: str | None, attachments: Sequence[Attachment]
) -> bytes:
    """Return the whole message: CRLF only, 7-bit clean unless an address needs SMTPUTF8.

    At least one of `text` and `html` is given. The same input makes the same bytes.

    Raises:
        ComposeError: a header value holds a control character or "=?" (MR304 the subject,
            MR006 others).
    """
    header = [*_header(head)]
    bodies = [
        _text_part(subtype, body)
        for subtype, body in (("plain", text), ("html", html))
        if body is not None
    ]
    content = bodies[0]
    if len(bodies) > 1:
        content = _multipart("alternative", head.message_id, bodies)
    if attachments:
        parts = [content, *map(_attachment_part, attachments)]
        content = _multipart("mixed", head.message_id, parts)
    return b"".join([*header, *content])


def _header(head: Head) -> Iterator[bytes]:
    if not _MESSAGE_ID.fullmatch(head.message_id) or FORGING.search(head.message_id):
        message = f"{head.message_id!r} is no Message-ID"
        raise ComposeError("MR006", message, "the sender's domain must be a plain host name")
    yield _mailboxes("From", (head.sender,))
    yield _mailboxes("To", head.to)
    if head.reply_to:
        yield _mailboxes("Reply-To", (head.reply_to,))
    yield _unstructured("Subject", head.subject, finding="MR304")
    yield (
        f"Date: {format_datetime(head.date)}\r\n"
        f"Message-ID: {head.message_id}\r\n"
        "MIME-Version: 1.0\r\n"
        "Auto-Submitted: auto-generated\r\n"  # RFC 3834, 5: no holiday replies
    ).encode("ascii")
    for name, value in head.extra:
        yield _unstructured(name, value, finding="MR006")


def _unstructured(name: str, value: str, finding: str) -> bytes:
    if FORGING.search(value) or not _FIELD_NAME.fullmatch(name):
        message = f"the header {name!r} cannot hold {value!r}"
        raise ComposeError(finding, message, "take the control character, or '=?', out of the data")
    words = re.findall(r" *[^ ]+", value)
    plain = value.isascii() and "".join(words) == value.strip()
    if plain and all(len(word) <= _LONG for word in words):
        return _fold(name, words, glue="")
    return _fold(name, _encoded_words(value))


def _mailboxes(name: str, mailboxes: Sequence[Mailbox]) -> bytes:
    tokens = []
    for box in mailboxes:
        if box.display_name:
            tokens += [*_display_name(box.display_name), f"<{box.address}>,"]
        else:
            tokens.append(f"{box.address},")
    tokens[-1] = tokens[-1].removesuffix(",")
    return _fold(name, tokens)


def _display_name(name: str) -> list[str]:
    """Return the tokens of a phrase (RFC 5322, 3.2.5); between them a line may be folded."""
    if not name.isascii() or len(name) > _LONG:
        return _encoded_words(name)
    if _PHRASE.fullmatch(name):
        return [name]
    return ['"' + re.sub(r'(["\\])', r"\\\1", name) + '"']


def _encoded_words(value: str) -> list[str]:
    """Return `value` as RFC 2047 encoded words; none of them splits a character (section 5)."""
    words, chunk = [], b""
    for character in value:
        octets = character.encode()
        if len(chunk) + len(octets) > _WORD_BYTES:
            words.append(chunk)
            chunk = b""
        chunk += octets
    return [f"=?utf-8?B?{b64encode(word).decode('ascii')}?=" for word in (*words, chunk)]


def _fold(name: str, tokens: Iterable[str], glue: str = " ") -> bytes:
    """Join tokens to a field whose lines stay short; an empty glue means they bring their own."""
    lines, line = [], f"{name}:"
    space = " "  # behind the colon
    for token in tokens:
        if len(line) + len(space) + len(token) > _LINE:
            lines.append(line)
            line = ""
            space = "" if token.startswith(" ") else " "
        line += space + token
        space = glue
    return "\r\n".join([*lines, line, ""]).encode()


def _text_part(subtype: str, body: str) -> list[bytes]:
    data = re.sub(r"\r\n?|\n", "\r\n", body).encode()
    if not data.endswith(b"\r\n"):
        data += b"\r\n"
    if not data.isascii():
        # Quoted-printable triples each such byte: above a sixth of them, base64 is shorter.
        foreign = len(data.translate(None, _ASCII))
        encoding = "base64" if foreign * 6 > len(data) else "quoted-printable"
    elif _CONTROL_IN_TEXT.search(data) or max(map(len, data.split(b"\r\n"))) > _LINE:
        encoding = "quoted-printable"
    else:
        encoding = "7bit"
    fields = (
        f"Content-Type: text/{subtype}; charset=utf-8\r\n"
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n"
    )
    if encoding == "base64":
        data = _base64(data)
    elif encoding == "quoted-printable":
        data = binascii.b2a_qp(data, istext=True)
    return [fields.encode("ascii"), data]


def _attachment_part(attachment: Attachment) -> list[bytes]:
    fields = (
        f"Content-Type: {attachment.media_type}\r\n"
        "Content-Transfer-Encoding: base64\r\n"
        f"Content-Disposition: attachment{_filename_parameters(attachment.filename)}\r\n\r\n"
    )
    return [fields.encode("ascii"), _base64(attachment.content)]


def _filename_parameters(name: str) -> str:
    """Return `filename`, and in front of it RFC 2231's form where ASCII alone cannot say it."""
    if _PLAIN_FILENAME.fullmatch(name):
        return f';\r\n filename="{name}"'
    pieces, piece = [], ""
    for character in name:
        octets = quote(character, safe="!#$&+^`{|}")
        if len(piece) + len(octets) > _LONG - 12:
            pieces.append(piece)
            piece = ""
        piece += octets
    pieces.append(piece)
    numbers = [""] if len(pieces) == 1 else [f"*{number}" for number in range(len(pieces))]
    pieces[0] = f"utf-8''{pieces[0]}"
    extended = [f"filename{n}*={p}" for n, p in zip(numbers, pieces, strict=True)]
    decomposed = unicodedata.normalize("NFKD", name)
    letters = "".join(c for c in decomposed if not unicodedata.combining(c))
    fallback = re.sub(r"[^\w .()-]", "_", letters, flags=re.ASCII)[-_LONG:]
    return ";\r\n " + ";\r\n ".join([*extended, f'filename="{fallback}"'])


def _base64(data: bytes) -> bytes:
    encoded = b64encode(data)
    lines = [encoded[start : start + _LINE] for start in range(0, len(encoded), _LINE)]
    return b"\r\n".join([*lines, b""])


def _multipart(subtype: str, message_id: str, parts: list[list[bytes]]) -> list[bytes]:
    boundary = _boundary(subtype, message_id, parts)
    opening = b"--" + boundary + b"\r\n"
    pieces = [
        f"Content-Type: multipart/{subtype};\r\n".encode("ascii"),
        b' boundary="' + boundary + b'"\r\n\r\n',
    ]
    for part in parts:
        pieces += [opening, *part, b"\r\n"]
    return [*pieces, b"--" + boundary + b"--\r\n"]


def _boundary(subtype: str, message_id: str, parts: list[list[bytes]]) -> bytes:
    """Derive a boundary that occurs in no part; "=_" is in no encoded one (RFC 2045, 6.7)."""
    counter = 0
    while True:
        seed = f"{subtype} {counter} {message_id}".encode()
        boundary = b"=_" + hashlib.sha256(seed).hexdigest()[:32].encode("ascii")
        if not any(boundary in piece for part in parts for piece in part):
            return boundary
        counter += 1
