"""Delivery status notifications (RFC 3464): which message came back, from whom, and why.

Anybody can write to the mailbox that these come from, so everything in them is a claim: it counts
only together with a Message-ID or envelope id of ours, which nobody but its recipients has seen.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.errors import MessageError
from email.message import Message
from typing import Final, cast

_STATUS: Final = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})")
_MESSAGE_ID: Final = re.compile(r"<[^<>\s]+@[^<>\s]+>")
_MOST_TEXT: Final = 500
_MOST_PARTS: Final = 1000
_GONE: Final = re.compile(r"5\.1\.(?:[1236]|10)|5\.2\.1")


@dataclass(frozen=True, slots=True)
class Failure:
    """One recipient whom a message did not reach.

    Attributes:
        address: as we sent it, where the notification says so (Original-Recipient); else the last
            one that a server knew.
        action: "failed" or "delayed" (RFC 3464, 2.3.3).
        status: the enhanced status code (RFC 3463), e.g. "5.1.1".
        diagnostic: the far server's words; "" if there are none.
        server: who said it; "" if nobody is named.
    """

    address: str
    action: str
    status: str
    diagnostic: str
    server: str

    @property
    def final(self) -> bool:
        """Whether nobody tries it any more."""
        return self.action == "failed"

    @property
    def hard(self) -> bool:
        """Whether the address itself is no good: there is no such mailbox or domain, any more."""
        return self.final and _GONE.fullmatch(self.status) is not None


@dataclass(frozen=True, slots=True)
class Notice:
    """What a delivery status notification says of one message.

    Attributes:
        message_id: of the message that came back, with angle brackets; "" if it is not there.
        envelope_id: what we gave the message in MAIL FROM (ENVID, RFC 3461); "" if not there.
        failures: recipients that it did not reach (yet).
    """

    message_id: str
    envelope_id: str
    failures: tuple[Failure, ...]


def read_notice(data: bytes) -> Notice | None:
    """Read a mail; None when it is no delivery status notification, or tells of no failure."""
    try:
        mail = message_from_bytes(data, policy=policy.compat32)
        parts = list(_parts(mail))
    except (MessageError, ValueError, LookupError, RecursionError):
        return None
    report = next((each for each in parts if _type(each) in _REPORTS), None)
    if report is None:
        return None
    blocks = _blocks(report)
    if not blocks:
        return None
    head, *recipients = blocks
    failures = tuple(each for block in recipients for each in _failure(block))
    if not failures:
        return None
    return Notice(
        message_id=_returned_id(parts),
        envelope_id=_field(head, "Original-Envelope-Id"),
        failures=failures,
    )


_REPORTS: Final = {"message/delivery-status", "message/global-delivery-status"}  # RFC 6533
_WHOLE: Final = {"message/rfc822", "message/global"}
_HEADERS: Final = {"text/rfc822-headers", "message/global-headers"}


def _type(part: Message) -> str:
    return part.get_content_type().lower()


def _parts(mail: Message) -> Iterator[Message]:
    """Yield a mail's own parts, not those of the message that it returns."""
    waiting, seen = [mail], 0
    while waiting and seen < _MOST_PARTS:
        part = waiting.pop(0)
        seen += 1
        yield part
        if _type(part).startswith("multipart/") and part.is_multipart():
            waiting += cast("list[Message]", part.get_payload())


def _blocks(report: Message) -> list[Message]:
    """Return the fields of the message, then those of each recipient."""
    payload = report.get_payload()
    if isinstance(payload, list):
        return [each for each in payload if isinstance(each, Message) and each.keys()]
    raw = report.get_payload(decode=True)
    text = raw if isinstance(raw, bytes) else str(payload).encode("utf-8", "replace")
    pieces = re.split(rb"\r?\n[ \t]*\r?\n", text.strip())
    found = [message_from_bytes(piece + b"\n\n", policy=policy.compat32) for piece in pieces]
    return [each for each in found if each.keys()]


def _failure(block: Message) -> Iterator[Failure]:
    action = _field(block, "Action").lower()
    if action not in {"failed", "delayed"}:
        return
    final = _typed(_field(block, "Final-Recipient"))
    diagnostic = _typed(_field(block, "Diagnostic-Code"))
    found = _STATUS.search(_field(block, "Status")) or _STATUS.search(diagnostic)
    fallback = "5.0.0" if action == "failed" else "4.0.0"
    yield Failure(
        address=_typed(_field(block, "Original-Recipient")) or final,
        action=action,
        status=found[0] if found else fallback,
        diagnostic=diagnostic[:_MOST_TEXT],
        server=_typed(_field(block, "Remote-MTA")),
    )


def _returned_id(parts: list[Message]) -> str:
    """Return the Message-ID of what came back: whole, or its header alone (RFC 3462)."""
    for part in parts:
        kind = _type(part)
        if kind in _WHOLE and part.is_multipart():
            returned = cast("list[Message]", part.get_payload())[0]
        elif kind in _HEADERS or kind in _WHOLE:
            raw = part.get_payload(decode=True)
            if not isinstance(raw, bytes):
                continue
            returned = message_from_bytes(raw, policy=policy.compat32)
        else:
            continue
        found = _MESSAGE_ID.search(_field(returned, "Message-ID"))
        if found:
            return found[0]
    return ""


def _field(block: Message, name: str) -> str:
    value = block.get(name)
    return "" if value is None else _unfolded(str(value))


def _unfolded(text: str) -> str:
    """Return text on one line, without what could play tricks on a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _typed(value: str) -> str:
    """Return what stands behind the type, as in "rfc822; a@b.test", without angle brackets."""
    kind, semicolon, rest = value.partition(";")
    return (rest if semicolon else kind).strip().strip("<>")
