"""Does an address have a name that leads back to it? (RFC 8601, 2.7.3: "iprev")."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from msgrun.deliverability.resolver import Answer, Resolver

_NAMES: Final = 10  # so many of an address's names are looked at (RFC 8601, 2.7.3)


@dataclass(frozen=True, slots=True)
class Reverse:
    """What is known of an address's name.

    Attributes:
        names: those that lead back to it.
        known: False where a look-up that could have confirmed it was not answered.
        looked: the look-ups made, in order.
    """

    address: IPv4Address | IPv6Address
    names: tuple[str, ...]
    known: bool
    looked: tuple[Answer, ...]


def check_reverse(resolver: Resolver, address: IPv4Address | IPv6Address) -> Reverse:
    """Look the address's names up, and then their addresses."""
    pointer = resolver.reverse(address)
    looked = [pointer]
    confirmed = []
    for name in pointer.records[:_NAMES]:
        answer = resolver.look_up(name, "A" if address.version == 4 else "AAAA")
        looked.append(answer)
        if any(ip_address(each) == address for each in answer.records):
            confirmed.append(name)
    known = bool(confirmed) or all(answer.known for answer in looked)
    return Reverse(address, tuple(confirmed), known, tuple(looked))
