"""Asking the name service: each name and type once, every wait bounded, four kinds of no."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final, Literal

from msgrun.deliverability.names import reserved

Kind = Literal["A", "AAAA", "MX", "TXT", "PTR"]

PATIENCE: Final = 5.0
"""Seconds that one look-up may take."""

_SILENT: Final = 3  # look-ups that ran out of time in a row: the name server is not asked again


class Outcome(StrEnum):
    """What came of a look-up; the first three are answers, the others say nothing of the name."""

    FOUND = "found"
    NO_DOMAIN = "no such name (NXDOMAIN)"
    NO_RECORD = "no such record"
    FAILED = "the name server failed"
    TIMEOUT = "no answer"
    NOT_ASKED = "not looked up"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one look-up.

    Attributes:
        records: each as text: MX "10 mail.acme.net", TXT its strings joined, else name or address.
        detail: what is known beside the outcome.
    """

    name: str
    kind: Kind
    outcome: Outcome
    records: tuple[str, ...] = ()
    detail: str = ""

    @property
    def known(self) -> bool:
        """Whether it says something about the name."""
        return self.outcome in {Outcome.FOUND, Outcome.NO_DOMAIN, Outcome.NO_RECORD}

    @property
    def void(self) -> bool:
        """Whether it is an answer without records (RFC 7208, 4.6.4)."""
        return self.outcome in {Outcome.NO_DOMAIN, Outcome.NO_RECORD}

    def __str__(self) -> str:
        if self.records:
            return f"{self.name} {self.kind} {', '.join(self.records)}"
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.name} {self.kind}: {self.outcome}{detail}"


class Resolver:
    """Looks names up, each name and type once.

    Args:
        nameserver: address and port; None for the system's own.
        left: returns how many of so many seconds a wait may still take; 0 when time is up.
    """

    def __init__(
        self,
        nameserver: tuple[str, int] | None = None,
        left: Callable[[float], float] = lambda most: most,
    ) -> None:
        self._nameserver = nameserver
        self._left = left
        self._answers: dict[tuple[str, Kind], Answer] = {}
        self._resolver: Any = None
        self._silences = 0

    @property
    def looked_up(self) -> int:
        """How many look-ups were made."""
        return len(self._answers)

    def look_up(self, name: str, kind: Kind) -> Answer:
        """Return what the name service says of an absolute name. Nothing is raised."""
        name = name.rstrip(".").lower()
        key = (name, kind)
        if key not in self._answers:
            self._answers[key] = self._ask(name, kind)
        return self._answers[key]

    def reverse(self, address: IPv4Address | IPv6Address) -> Answer:
        """Return the names that an address is said to have (RFC 1035, 3.5; RFC 3596, 2.5)."""
        return self.look_up(address.reverse_pointer, "PTR")

    def _ask(self, name: str, kind: Kind) -> Answer:
        if reason := reserved(name):
            return Answer(name, kind, Outcome.NOT_ASKED, detail=reason)
        if self._silences >= _SILENT:
            reason = "the name server did not answer the look-ups before"
            return Answer(name, kind, Outcome.TIMEOUT, detail=reason)
        seconds = self._left(PATIENCE)
        if seconds <= 0:
            return Answer(name, kind, Outcome.TIMEOUT, detail="the time for this command is up")
        answer = self._asked(name, kind, seconds)
        self._silences = self._silences + 1 if answer.outcome is Outcome.TIMEOUT else 0
        return answer

    def _asked(self, name: str, kind: Kind, seconds: float) -> Answer:
        import dns.exception
        import dns.name
        import dns.resolver

        try:
            absolute = dns.name.from_text(name + ".")
        except (dns.exception.DNSException, UnicodeError):
            return Answer(name, kind, Outcome.NO_DOMAIN, detail="it cannot be a name")
        try:
            found = self._dns().resolve(
                absolute, kind, search=False, lifetime=seconds, raise_on_no_answer=False
            )
        except dns.resolver.NXDOMAIN as error:
            target = error.canonical_name.to_text(omit_final_dot=True)
            alias = f"an alias of {target}" if target.lower() != name else ""
            return Answer(name, kind, Outcome.NO_DOMAIN, detail=alias)
        except dns.exception.Timeout:
            return Answer(name, kind, Outcome.TIMEOUT, detail=f"after {seconds:.1f} s")
        except dns.resolver.NoNameservers as error:
            return Answer(name, kind, Outcome.FAILED, detail=_why(error))
        except (dns.exception.DNSException, OSError) as error:
            return Answer(name, kind, Outcome.FAILED, detail=str(error))
        records = _texts(found.rrset) if found.rrset is not None else ()
        return Answer(name, kind, Outcome.FOUND if records else Outcome.NO_RECORD, records)

    def _dns(self) -> Any:
        import dns.resolver

        if self._resolver is None:
            if self._nameserver is None:
                resolver = dns.resolver.Resolver()
            else:
                resolver = dns.resolver.Resolver(configure=False)
                resolver.nameservers = [self._nameserver[0]]
                resolver.port = self._nameserver[1]
            resolver.search = []  # names are absolute: no suffix of this host is tried
            self._resolver = resolver
        return self._resolver


def _why(error: Any) -> str:
    """Return the last thing that a name server answered with, e.g. "SERVFAIL"."""
    errors = error.kwargs.get("errors") or []
    return str(errors[-1][3]) if errors else "no name server answered"


def _texts(rrset: Any) -> tuple[str, ...]:
    """Return records as text; MX by preference (RFC 5321, 5.1).

    The others come in whichever order the server likes (RFC 1034, 3.6). They are sorted, so that
    the same zone gives the same report.
    """
    import dns.rdatatype

    if rrset.rdtype == dns.rdatatype.MX:
        ordered = sorted(rrset, key=lambda each: (each.preference, str(each.exchange)))
        return tuple(f"{each.preference} {_name(each.exchange)}" for each in ordered)
    if rrset.rdtype == dns.rdatatype.TXT:
        joined = (b"".join(each.strings) for each in rrset)
        return tuple(sorted(each.decode("utf-8", "backslashreplace") for each in joined))
    if rrset.rdtype == dns.rdatatype.PTR:
        return tuple(sorted(_name(each.target) for each in rrset))
    return tuple(sorted(each.to_text() for each in rrset))


def _name(name: Any) -> str:
    text: str = name.to_text(omit_final_dot=True)
    return text.lower()
