"""SPF records as text: finding, parsing, macros, merging (RFC 7208, 4.5, 4.6, 7)."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final
from urllib.parse import quote

_VERSION: Final = re.compile(r"v=spf1(?: |$)", re.IGNORECASE)
_MODIFIER: Final = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=(.*)")
_DIRECTIVE: Final = re.compile(r"([+?~-]?)([A-Za-z][A-Za-z0-9]*)(.*)")
_HOST: Final = re.compile(
    r"(?::(?P<domain>(?:%\{[^}]*\}|[^/])+))?(?:/(?P<four>\d{1,2}))?(?://(?P<six>\d{1,3}))?"
)
_MACRO: Final = re.compile(r"%(?:\{([A-Za-z])([0-9]*)(r?)([.\-+,/_=]*)\}|([%_-])|)", re.IGNORECASE)
_ESCAPES: Final = {"%": "%", "_": " ", "-": "%20"}
_STRICTNESS: Final = ("+all", "all", "?all", "~all", "-all")


class RecordError(Exception):
    """A record that no server can evaluate (RFC 7208, 2.6.7: "permerror")."""


class MacroError(Exception):
    """A macro whose value is not known here."""


@dataclass(frozen=True, slots=True)
class Term:
    """A directive, or the modifier "redirect".

    Attributes:
        text: as the record has it.
        domain: the domain-spec, macros and all; "" for the record's own domain.
        network: of ip4 and ip6.
        four: prefix length for IPv4, `six` for IPv6, of a and mx.
    """

    text: str
    qualifier: str
    name: str
    domain: str = ""
    network: IPv4Network | IPv6Network | None = None
    four: int = 32
    six: int = 128


@dataclass(frozen=True, slots=True)
class Asker:
    """Whose mail is judged: what macros are filled in with.

    Attributes:
        address: from which it comes; None when that is open.
        sender: the envelope's sender.
    """

    address: IPv4Address | IPv6Address | None
    sender: str


def spf_records(texts: Iterable[str]) -> tuple[str, ...]:
    """Return those TXT records that are SPF (RFC 7208, 4.5)."""
    return tuple(text for text in texts if _VERSION.match(text))


def parse(record: str) -> tuple[tuple[Term, ...], str]:
    """Return the directives of a record, and where it redirects to ("" for nowhere).

    Raises:
        RecordError: it breaks the grammar (RFC 7208, 12).
    """
    terms, redirect, seen = [], "", set()
    if not record.isascii() or not record.isprintable():
        raise RecordError("it holds characters that are not allowed")
    for text in record.split(" ")[1:]:
        if not text:
            continue
        modifier = _MODIFIER.fullmatch(text)
        if modifier is None:
            terms.append(_directive(text))
            continue
        name = modifier[1].lower()
        if name in {"redirect", "exp"}:
            if name in seen or not modifier[2]:
                raise RecordError(f"'{text}' is {'there twice' if name in seen else 'empty'}")
            seen.add(name)
            if name == "redirect":
                redirect = _checked(text, modifier[2])
    return tuple(terms), redirect


def _directive(text: str) -> Term:
    parts = _DIRECTIVE.fullmatch(text)
    if parts is None:
        raise RecordError(f"'{text}' is no mechanism")
    qualifier, name, rest = parts[1] or "+", parts[2].lower(), parts[3]
    if name == "all" and not rest:
        return Term(text, qualifier, name)
    if name in {"include", "exists"} and rest.startswith(":") and len(rest) > 1:
        return Term(text, qualifier, name, _checked(text, rest[1:]))
    if name in {"ip4", "ip6"} and rest.startswith(":"):
        return Term(text, qualifier, name, network=_network(text, name, rest[1:]))
    host = _HOST.fullmatch(rest)
    if name in {"a", "mx", "ptr"} and host is not None:
        four, six = int(host["four"] or 32), int(host["six"] or 128)
        if four <= 32 and six <= 128 and (name != "ptr" or (four, six) == (32, 128)):
            domain = _checked(text, host["domain"] or "")
            return Term(text, qualifier, name, domain, None, four, six)
    raise RecordError(f"'{text}' cannot be read")


def _network(text: str, name: str, value: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        raise RecordError(f"'{text}' has no valid address") from None
    if network.version != int(name[-1]):
        raise RecordError(f"'{text}' has an address of the other family")
    return network


def _checked(text: str, spec: str) -> str:
    """Return a domain-spec whose macros are well formed."""
    for macro in _MACRO.finditer(spec):
        letter, escape = macro[1], macro[5]
        if escape is None and (letter is None or letter.lower() not in "sloditpvh"):
            raise RecordError(f"'{text}' has a macro that is not allowed there")
    return spec


def expand(spec: str, domain: str, asker: Asker) -> str:
    """Return a domain-spec with its macros filled in (RFC 7208, 7.3).

    Raises:
        MacroError: a value is not known.
    """

    def filled(macro: re.Match[str]) -> str:
        if macro[5] is not None:
            return _ESCAPES[macro[5]]
        value = _value(macro[1].lower(), domain, asker)
        parts = re.split(f"[{re.escape(macro[4] or '.')}]", value)
        if macro[3]:
            parts.reverse()
        kept = ".".join(parts[-int(macro[2]) :] if macro[2] and int(macro[2]) else parts)
        return quote(kept, safe="-._~") if macro[1].isupper() else kept

    name = _MACRO.sub(filled, spec).rstrip(".")
    while len(name) > 253 and "." in name:
        name = name.partition(".")[2]
    return name


def _value(letter: str, domain: str, asker: Asker) -> str:
    local, _, host = asker.sender.rpartition("@")
    address = asker.address
    values = {
        "s": asker.sender,
        "l": local or "postmaster",
        "o": host,
        "d": domain,
    }
    if letter in values:
        return values[letter]
    if address is None or letter not in "iv":
        raise MacroError(f"the macro %{{{letter}}} is not known here")
    if letter == "v":
        return "in-addr" if address.version == 4 else "ip6"
    return str(address) if address.version == 4 else ".".join(address.exploded.replace(":", ""))


def with_address(record: str, addresses: Sequence[IPv4Address | IPv6Address]) -> str:
    """Return a record that lets these addresses pass, too."""
    version, *terms = record.split()
    added = [f"ip{each.version}:{each}" for each in addresses]
    return " ".join([version, *(term for term in added if term not in terms), *terms])


def merged(records: Sequence[str]) -> str:
    """Return one record that lets pass whatever one of several does."""
    terms = [term for record in records for term in record.split()[1:]]
    alls = [term for term in terms if term.lower() in _STRICTNESS]
    mildest = min(alls, key=lambda term: _STRICTNESS.index(term.lower()), default="~all")
    others = [term for term in dict.fromkeys(terms) if term not in alls]
    redirects = [term for term in others if term.lower().startswith("redirect=")]
    plain = [term for term in others if term not in redirects]
    included = [f"include:{term.partition('=')[2]}" for term in redirects]
    return " ".join(["v=spf1", *plain, *included, mildest])
