"""Messages as bytes (RFC 5322, RFC 2045 to 2047, RFC 2231), written in one pass.

The standard library's EmailMessage takes milliseconds a message and mis-encodes some addresses.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache
from typing import Final

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

from msgrun.compose import CONTROL, FORGING
from msgrun.compose.attachments import Attachment
from msgrun.compose.images import InlineImage
from msgrun.compose.lines import is_plain
from msgrun.compose.parts import LINE, LONG, attachment_part, multipart, text_part
from msgrun.errors import ComposeError
from msgrun.model import Address

_WORD_BYTES: Final = 36  # makes encoded words of 60 characters: they fit behind every field name
_PHRASE: Final = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(?: [\w!#$%&'*+/=?^`{|}~-]+)*", re.ASCII)
_MESSAGE_ID: Final = re.compile(r"<[!-;=?-~]+@[!-;=?-~]+>")
_FIELD_NAME: Final = re.compile(r"[!-9;-~]+")

# Most addresses are of this kind, for which the validator takes a tenth of a millisecond to say
# what is plain to see: lower-case ASCII, no "xn--" and no other label with two hyphens in a row.
_ORDINARY: Final = re.compile(
    r"(?=.{6,254}\Z)[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@"
    r"(?:[a-z0-9](?:-?[a-z0-9]){0,31}\.)+([a-z]{2,32})"
)
_NOT_FOR_MAIL: Final = {name.rpartition(".")[2] for name in SPECIAL_USE_DOMAIN_NAMES} - {"test"}


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
    name = address.display_name
    if name and FORGING.search(name):
        message = f"the name {address.display_name!r} holds a control character, or '=?'"
        raise ComposeError("MR107", message, "correct the name beside the address")
    while "  " in name:
        name = name.replace("  ", " ")
    return Mailbox(_wire_address(address.address), name.strip())


def _wire_address(address: str) -> str:
    ordinary = _ORDINARY.fullmatch(address)
    if ordinary and ordinary[1] not in _NOT_FOR_MAIL:
        return address
    return _validated(address)


@lru_cache(maxsize=4096)
def _validated(address: str) -> str:
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


@dataclass(frozen=True, slots=True)
class Written:
    """A message as bytes.

    Attributes:
        plain: every line ends in CRLF, and none begins with a dot.
    """

    data: bytes
    plain: bool


def write_message(
    head: Head,
    text: str | None,
    html: str | None,
    attachments: Sequence[Attachment],
    images: Sequence[InlineImage] = (),
) -> Written:
    """Write the whole message: CRLF only, 7-bit clean unless an address needs SMTPUTF8.

    At least one of `text` and `html` is given. The same input makes the same bytes. Pictures
    travel beside the HTML that shows them: mixed(alternative(text, related(html, images)), files).

    Raises:
        ComposeError: a header value holds a control character or "=?" (MR304 the subject,
            MR006 others).
    """
    header = [*_header(head)]
    bodies = [
        text_part(subtype, body)
        for subtype, body in (("plain", text), ("html", html))
        if body is not None
    ]
    if images and html is not None:
        pictures = [image.part for image in images]
        bodies[-1] = multipart("related", head.message_id, [bodies[-1], *pictures])
    content = bodies[0]
    if len(bodies) > 1:
        content = multipart("alternative", head.message_id, bodies)
    if attachments:
        parts = [content, *map(attachment_part, attachments)]
        content = multipart("mixed", head.message_id, parts)
    pieces = content.pieces
    pieces[0] = b"".join([*header, pieces[0]])
    pieces.append(b"")  # the last line's end
    plain = is_plain(b"".join([*header, b"\r\n".join([*content.unencoded, b""])]))
    return Written(b"\r\n".join(pieces), plain)


def _header(head: Head) -> Iterator[bytes]:
    if not _MESSAGE_ID.fullmatch(head.message_id) or FORGING.search(head.message_id):
        message = f"{head.message_id!r} is no Message-ID"
        raise ComposeError("MR006", message, "the sender's domain must be a plain host name")
    yield _mailboxes_of_run("From", (head.sender,))
    yield _mailboxes("To", head.to)
    if head.reply_to:
        yield _mailboxes_of_run("Reply-To", (head.reply_to,))
    yield _unstructured("Subject", head.subject, finding="MR304")
    yield (
        f"Date: {_date(head.date, head.date.utcoffset())}\r\n"
        f"Message-ID: {head.message_id}\r\n"
        "MIME-Version: 1.0\r\n"
        "Auto-Submitted: auto-generated\r\n"  # RFC 3834, 5: no holiday replies
    ).encode("ascii")
    for name, value in head.extra:
        yield _unstructured(name, value, finding="MR006")


@lru_cache(maxsize=16)
def _date(moment: datetime, _offset: timedelta | None) -> str:
    """Write a date; the offset is there because moments of different zones can be equal."""
    return format_datetime(moment)


def _unstructured(name: str, value: str, finding: str) -> bytes:
    if FORGING.search(value) or not _FIELD_NAME.fullmatch(name):
        message = f"the header {name!r} cannot hold {value!r}"
        raise ComposeError(finding, message, "take the control character, or '=?', out of the data")
    words = re.findall(r" *[^ ]+", value)
    plain = value.isascii() and "".join(words) == value.strip()
    if plain and all(len(word) <= LONG for word in words):
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


_mailboxes_of_run: Final = lru_cache(maxsize=64)(_mailboxes)


def _display_name(name: str) -> list[str]:
    """Return the tokens of a phrase (RFC 5322, 3.2.5); between them a line may be folded."""
    if not name.isascii() or len(name) > LONG:
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
        if len(line) + len(space) + len(token) > LINE:
            lines.append(line)
            line = ""
            space = "" if token.startswith(" ") else " "
        line += space + token
        space = glue
    return "\r\n".join([*lines, line, ""]).encode()
