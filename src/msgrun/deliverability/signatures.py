"""The signatures of a message that was received: does DKIM verify? (RFC 6376, 6)."""

import re
from dataclasses import dataclass
from email.message import Message
from enum import StrEnum
from typing import Final

from msgrun.deliverability.dkim import KeyState, check_key, tags_of
from msgrun.deliverability.names import ascii_name
from msgrun.deliverability.resolver import Resolver

SIGNATURES: Final = 5
"""So many signatures are looked at."""

_LONGEST: Final = 16_384  # of one signature's field
_HEADER: Final = 262_144
_BLANKS: Final = re.compile(rb"[ \t]{1000}")  # the verifier's time would grow with their square


class Signed(StrEnum):
    """What came of verifying one signature."""

    VERIFIES = "verifies"
    FAILS = "does not verify"
    UNKNOWN = "could not be verified"


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature.

    Attributes:
        domain: that signs (d=); "" where the field cannot be read.
        told: why it fails, or is not known.
        record: the signer's key record, word for word.
    """

    domain: str
    selector: str
    state: Signed
    told: str = ""
    record: str = ""

    def __str__(self) -> str:
        told = f": {self.told}" if self.told else ""
        return f"DKIM-Signature d={self.domain or '?'} s={self.selector or '?'} {self.state}{told}"


def verify_signatures(data: bytes, header: Message, resolver: Resolver) -> tuple[Signature, ...]:
    """Verify a message's signatures with the keys that are published now.

    Args:
        data: the whole message.
        header: its header fields.
    """
    fields = [str(value) for value in header.get_all("DKIM-Signature", [])]
    if not fields:
        return ()
    refused = _refused(data, fields)
    return tuple(
        _verify(data, place, field, resolver, refused)
        for place, field in enumerate(fields[:SIGNATURES])
    )


def _refused(data: bytes, fields: list[str]) -> str:
    """Return why a message is too odd to be given to the verifier."""
    head = re.split(rb"\r?\n\r?\n", data, maxsplit=1)[0]
    if len(head) > _HEADER or any(len(field) > _LONGEST for field in fields):
        return "the header is unusually long"
    if _BLANKS.search(data) or any(re.search(r"\s{100}", field) for field in fields):
        return "the message has unusually many blanks in a row"
    return ""


def _verify(data: bytes, place: int, field: str, resolver: Resolver, refused: str) -> Signature:
    try:
        tags = tags_of(field)
        domain, selector = ascii_name(tags["d"]), tags["s"].lower()
    except (KeyError, ValueError) as error:
        return Signature("", "", Signed.FAILS, f"the field cannot be read ({error})")
    key = check_key(resolver, selector, domain)
    if key.state is KeyState.UNKNOWN:
        return Signature(domain, selector, Signed.UNKNOWN, key.told)
    if key.state is not KeyState.GOOD:
        return Signature(domain, selector, Signed.FAILS, f"{key.name}: {key.told}", key.record)
    if refused:
        return Signature(domain, selector, Signed.UNKNOWN, refused, key.record)
    state, told = _by_library(data, place, key.record.encode())
    return Signature(domain, selector, state, told, key.record)


def _by_library(data: bytes, place: int, record: bytes) -> tuple[Signed, str]:
    import dkim

    try:
        good = dkim.DKIM(data).verify(idx=place, dnsfunc=lambda _name, timeout=5: record)
    except dkim.NaClNotFoundError:
        return Signed.UNKNOWN, "ed25519 needs the package PyNaCl"
    except dkim.ValidationError as error:
        told = str(error)
        if told.startswith("body hash mismatch"):
            told = "the body is not the one that was signed"
        return Signed.FAILS, told
    except Exception as error:  # noqa: BLE001 - the verifier raises whatever garbage leads it to
        return Signed.FAILS, f"it cannot be read ({type(error).__name__})"
    if good:
        return Signed.VERIFIES, ""
    return Signed.FAILS, "the header is not the one that was signed, or the key is another"
