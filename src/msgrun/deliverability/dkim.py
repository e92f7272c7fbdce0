"""The key that a signer publishes: DKIM's records (RFC 6376, 3.6.1; RFC 8463; RFC 8301)."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from msgrun.deliverability.resolver import Answer, Resolver

_LEAST_BITS: Final = 1024  # RFC 8301, 3.2
_MOST_BITS: Final = 8192  # computing with more would take long; nobody publishes it


class KeyState(StrEnum):
    """What a selector's record is worth."""

    GOOD = "good"
    MISSING = "missing"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Key:
    """A selector's record.

    Attributes:
        name: where it is published.
        record: word for word; "" where there is none.
        told: what is wrong with it, or of which kind it is.
    """

    name: str
    state: KeyState
    record: str
    told: str
    answer: Answer


def check_key(resolver: Resolver, selector: str, domain: str) -> Key:
    """Look a selector's record up and read it."""
    name = f"{selector}._domainkey.{domain}"
    answer = resolver.look_up(name, "TXT")
    if not answer.known:
        return Key(name, KeyState.UNKNOWN, "", str(answer), answer)
    if not answer.records:
        return Key(name, KeyState.MISSING, "", str(answer), answer)
    record = answer.records[0]
    if len(answer.records) > 1:
        told = f"there are {len(answer.records)} records; which one counts is undefined"
        return Key(name, KeyState.BAD, " | ".join(answer.records), told, answer)
    fault, kind = judge_key(record)
    return Key(name, KeyState.BAD if fault else KeyState.GOOD, record, fault or kind, answer)


def tags_of(record: str) -> Mapping[str, str]:
    """Return the tags of a tag-list (RFC 6376, 3.2).

    Raises:
        ValueError: it is none, or has a tag twice.
    """
    tags: dict[str, str] = {}
    for spec in record.split(";"):
        if not spec.strip():
            continue
        name, equals, value = spec.partition("=")
        name = name.strip()
        if not equals or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
            raise ValueError(f"'{spec.strip()}' is no tag")
        if name in tags:
            raise ValueError(f"the tag {name}= is there twice")
        tags[name] = value.strip()
    return tags


def judge_key(record: str) -> tuple[str, str]:
    """Return what is wrong with a key record ("" for nothing), and of which kind the key is."""
    try:
        tags = tags_of(record)
    except ValueError as error:
        return str(error), ""
    if tags.get("v", "DKIM1") != "DKIM1" or ("v" in tags and next(iter(tags)) != "v"):
        return f"v={tags['v']} must be v=DKIM1, and stand first", ""
    if "p" not in tags:
        return "the tag p= with the key is missing", ""
    value = re.sub(r"\s+", "", tags["p"])
    if not value:
        return "p= is empty: the key was revoked", ""
    hashes = [each.strip() for each in tags.get("h", "sha256").split(":")]
    if "sha256" not in hashes:
        return f"h={tags['h']} does not allow sha256", ""
    services = [each.strip() for each in tags.get("s", "*").split(":")]
    if not {"*", "email"} & set(services):
        return f"s={tags['s']} is not for e-mail", ""
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return "p= is no base64", ""
    return _judge(tags.get("k", "rsa"), raw)


def _judge(kind: str, raw: bytes) -> tuple[str, str]:
    if kind == "ed25519":
        return ("", "ed25519") if len(raw) == 32 else ("p= has not the 32 bytes of ed25519", "")
    if kind != "rsa":
        return f"k={kind} is unknown", ""
    bits = rsa_bits(raw)
    if bits is None:
        return "p= is no RSA key", ""
    if bits < _LEAST_BITS:
        return f"the RSA key has {bits} bits; fewer than {_LEAST_BITS} count as no signature", ""
    if bits > _MOST_BITS:
        return f"the RSA key has {bits} bits", ""
    return "", f"rsa, {bits} bits"


def rsa_bits(raw: bytes) -> int | None:
    """Return the size of an RSA key (SubjectPublicKeyInfo or RSAPublicKey); None if it is none."""
    from dkim.crypto import parse_public_key

    try:
        return int(parse_public_key(raw)["modulus"]).bit_length()
    except Exception:  # noqa: BLE001 - the parser raises whatever garbage leads it to
        return None
