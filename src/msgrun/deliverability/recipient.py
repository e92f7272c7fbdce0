"""Can mail for a domain be delivered at all? (RFC 5321, 5.1; RFC 7505)."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from msgrun.deliverability.resolver import Answer, Outcome, Resolver

_HOSTS: Final = 10  # so many mail hosts are looked up at most


class Reach(StrEnum):
    """Whether a domain takes mail."""

    REACHABLE = "reachable"
    NO_DOMAIN = "no such domain"
    NULL_MX = "null MX"
    NO_HOST = "no mail host"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Recipient:
    """What is known of a recipients' domain.

    Attributes:
        looked: the look-ups made, in order.
    """

    domain: str
    reach: Reach
    looked: tuple[Answer, ...]


def check_recipient(resolver: Resolver, domain: str) -> Recipient:
    """Look for the hosts that take a domain's mail: MX, else the domain's own addresses."""
    mx = resolver.look_up(domain, "MX")
    if not mx.known:
        return Recipient(domain, Reach.UNKNOWN, (mx,))
    if mx.outcome is Outcome.NO_DOMAIN:
        return Recipient(domain, Reach.NO_DOMAIN, (mx,))
    if mx.outcome is Outcome.NO_RECORD:
        return _by_addresses(resolver, domain, [domain], (mx,))
    hosts = [record.split(" ", 1)[1] for record in mx.records]
    named = [host for host in hosts if host not in {"", "."}]
    if not named:
        return Recipient(domain, Reach.NULL_MX, (mx,))
    return _by_addresses(resolver, domain, named[:_HOSTS], (mx,))


def _by_addresses(
    resolver: Resolver, domain: str, hosts: list[str], looked: tuple[Answer, ...]
) -> Recipient:
    """Look for one host that has an address."""
    for host in hosts:
        for kind in ("A", "AAAA"):
            answer = resolver.look_up(host, kind)
            looked = (*looked, answer)
            if answer.records:
                return Recipient(domain, Reach.REACHABLE, looked)
    known = all(answer.known for answer in looked)
    return Recipient(domain, Reach.NO_HOST if known else Reach.UNKNOWN, looked)
