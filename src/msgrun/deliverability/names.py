"""Domain names: their ASCII form, and those that are never looked up."""

from typing import Final

import idna

_RESERVED: Final = frozenset({"test", "example", "invalid", "localhost"})
_EXAMPLES: Final = frozenset({"example.com", "example.net", "example.org"})


def ascii_name(domain: str) -> str:
    """Return a domain as DNS has it: lower case, IDNA 2008 (RFC 5891), without a final dot.

    Raises:
        ValueError: it is no domain name.
    """
    plain = domain.strip().rstrip(".").lower()
    if plain.isascii() and plain:
        labels = plain.split(".")
        if len(plain) > 253 or not all(0 < len(label) <= 63 for label in labels):
            raise ValueError(f"{domain!r} is no domain name")
        return plain
    try:
        return idna.encode(plain, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise ValueError(f"{domain!r} is no domain name: {error}") from None


def reserved(domain: str) -> str:
    """Return why a name is not looked up; "" when it may be.

    Names for tests and examples belong to nobody (RFC 6761, RFC 2606), and a single label has
    its meaning in-house only.
    """
    labels = domain.rstrip(".").lower().split(".")
    if labels[-1] in _RESERVED or ".".join(labels[-2:]) in _EXAMPLES:
        return f"{domain} is not looked up: a name for tests and examples (RFC 6761)"
    if domain.startswith("["):
        return f"{domain} is an address, no name"
    if len(labels) == 1:
        return f"{domain} is not looked up: a name without a dot has a meaning in-house only"
    return ""
