"""Which hosts may send for a domain: SPF, evaluated as a receiver would (RFC 7208)."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Final

from msgrun.deliverability.ptr import check_reverse
from msgrun.deliverability.resolver import Answer, Kind, Outcome, Resolver
from msgrun.deliverability.spf_record import (
    Asker,
    MacroError,
    RecordError,
    Term,
    expand,
    parse,
    spf_records,
)

LOOK_UPS: Final = 10
"""Terms that ask the name service, in all records together (RFC 7208, 4.6.4)."""

VOIDS: Final = 2
"""Answers without records (RFC 7208, 4.6.4)."""

_COUNTED: Final = 60  # a record that needs more is not followed further
_MX_NAMES: Final = 10


class Result(StrEnum):
    """What a receiver concludes (RFC 7208, 2.6); "unknown" where that cannot be told from here."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    SOFTFAIL = "softfail"
    PERMERROR = "permerror"
    UNKNOWN = "unknown"


_OF_QUALIFIER: Final = {
    "+": Result.PASS,
    "-": Result.FAIL,
    "~": Result.SOFTFAIL,
    "?": Result.NEUTRAL,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result for one address.

    Attributes:
        reason: the mechanism that decided, or what is wrong.
        limit: whether a limit of RFC 7208, 4.6.4, or a loop, is what is wrong.
        look_ups: how many terms asked the name service.
        voids: how many of them got no record.
        complete: whether every record was reached, so that the numbers are final.
    """

    result: Result
    reason: str
    limit: bool = False
    look_ups: int = 0
    voids: int = 0
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Published:
    """What a domain publishes.

    Attributes:
        answer: the look-up of its TXT records.
        records: those that are SPF.
    """

    answer: Answer
    records: tuple[str, ...]


def published(resolver: Resolver, domain: str) -> Published:
    """Return a domain's SPF records."""
    answer = resolver.look_up(domain, "TXT")
    return Published(answer, spf_records(answer.records))


def evaluate(
    resolver: Resolver, domain: str, address: IPv4Address | IPv6Address, sender: str
) -> Verdict:
    """Return what a receiver concludes about mail from an address (RFC 7208, 4: check_host)."""
    return _Walk(resolver, Asker(address, sender), LOOK_UPS).verdict(domain)


def survey(resolver: Resolver, domain: str, sender: str) -> Verdict:
    """Walk a domain's records to the end, as for an address that nothing matches.

    The numbers are those of the longest way; the result says whether the records hold together.
    """
    return _Walk(resolver, Asker(None, sender), _COUNTED).verdict(domain)


class _LimitError(Exception):
    """A limit was passed, or a record includes itself."""


class _UnknownError(Exception):
    """The name service did not say what is needed."""


class _Walk:
    """One evaluation: it counts over all records.

    Args:
        limit: how many look-ups are allowed.
    """

    def __init__(self, resolver: Resolver, asker: Asker, limit: int) -> None:
        self._resolver = resolver
        self._asker = asker
        self._limit = limit
        self._matchers: dict[str, Callable[[Term, str, tuple[str, ...]], bool]] = {
            "include": self._include,
            "a": self._a,
            "mx": self._mx,
            "ptr": self._ptr,
            "exists": self._exists,
        }
        self.look_ups = 0
        self.voids = 0
        self.complete = True

    def verdict(self, domain: str) -> Verdict:
        limit = False
        try:
            result, reason = self._check(domain, ())
        except RecordError as error:
            result, reason = Result.PERMERROR, str(error)
        except _LimitError as error:
            result, reason, limit = Result.PERMERROR, str(error), True
        except (_UnknownError, MacroError) as error:
            result, reason, self.complete = Result.UNKNOWN, str(error), False
        return Verdict(result, reason, limit, self.look_ups, self.voids, self.complete)

    def _check(self, domain: str, above: tuple[str, ...]) -> tuple[Result, str]:
        """Evaluate one domain's record; `above` are those that led to it."""
        domain = domain.lower()
        if domain in above:
            raise _LimitError(f"a loop: {' → '.join((*above, domain))}")
        found = published(self._resolver, domain)
        if not found.answer.known:
            raise _UnknownError(str(found.answer))
        if not found.records:
            return Result.NONE, f"{domain} has no SPF record"
        if len(found.records) > 1:
            raise RecordError(f"{domain} has {len(found.records)} SPF records")
        try:
            terms, redirect = parse(found.records[0])
        except RecordError as error:
            raise RecordError(f"in the record of {domain}: {error}") from None
        for term in terms:
            if self._matches(term, domain, (*above, domain)):
                return _OF_QUALIFIER[term.qualifier], f"'{term.text}' in the record of {domain}"
        if redirect and not any(term.name == "all" for term in terms):
            self._count(f"redirect={redirect}")
            target = expand(redirect, domain, self._asker)
            result, reason = self._check(target, (*above, domain))
            if result is Result.NONE:
                raise RecordError(f"redirect={redirect} of {domain}: {reason}")
            return result, reason
        return Result.NEUTRAL, f"nothing in the record of {domain} matches"

    def _matches(self, term: Term, domain: str, above: tuple[str, ...]) -> bool:
        address = self._asker.address
        if term.name == "all":
            return True
        if term.network is not None:
            return address is not None and address in term.network
        self._count(term.text)
        try:
            target = expand(term.domain, domain, self._asker) if term.domain else domain
            return self._matchers[term.name](term, target, above)
        except (_UnknownError, MacroError):
            if address is not None:
                raise
            self.complete = False  # what is behind it is not counted
            return False

    def _count(self, text: str) -> None:
        self.look_ups += 1
        if self.look_ups > self._limit:
            raise _LimitError(f"'{text}' is look-up {self.look_ups}; {LOOK_UPS} are allowed")

    def _look_up(self, name: str, kind: Kind) -> Answer:
        answer = self._resolver.look_up(name, kind)
        if not answer.known:
            raise _UnknownError(str(answer))
        return answer

    def _void(self, *answers: Answer) -> None:
        """Count a term all of whose answers were empty."""
        if not all(answer.void for answer in answers):
            return
        self.voids += 1
        if self.voids > VOIDS and self._asker.address is not None:
            raise _LimitError(f"{answers[0]}: {self.voids} empty answers; {VOIDS} are allowed")

    def _include(self, term: Term, target: str, above: tuple[str, ...]) -> bool:
        result, reason = self._check(target, above)
        if result is Result.NONE:
            raise RecordError(f"'{term.text}' in the record of {above[-1]}: {reason}")
        return result is Result.PASS and self._asker.address is not None

    def _addresses(self, name: str) -> list[Answer]:
        address = self._asker.address
        kinds: tuple[Kind, ...] = ("A", "AAAA")
        if address is not None:
            kinds = ("A",) if address.version == 4 else ("AAAA",)
        return [self._look_up(name, kind) for kind in kinds]

    def _among(self, answers: list[Answer], term: Term) -> bool:
        address = self._asker.address
        if address is None:
            return False
        prefix = term.four if address.version == 4 else term.six
        return any(
            address in ip_network(f"{each}/{prefix}", strict=False)
            for answer in answers
            for each in answer.records
        )

    def _a(self, term: Term, target: str, _above: tuple[str, ...]) -> bool:
        answers = self._addresses(target)
        self._void(*answers)
        return self._among(answers, term)

    def _mx(self, term: Term, target: str, _above: tuple[str, ...]) -> bool:
        answer = self._look_up(target, "MX")
        self._void(answer)
        hosts = [record.split(" ", 1)[1] for record in answer.records]
        if len(hosts) > _MX_NAMES:
            raise _LimitError(f"'{term.text}': {target} has {len(hosts)} MX; {_MX_NAMES} allowed")
        if self._asker.address is None:
            return False
        return any(
            self._among(self._addresses(host), term) for host in hosts if host not in {"", "."}
        )

    def _ptr(self, _term: Term, target: str, _above: tuple[str, ...]) -> bool:
        address = self._asker.address
        if address is None:
            return False
        reverse = check_reverse(self._resolver, address)
        if not reverse.known:
            raise _UnknownError(str(next(each for each in reverse.looked if not each.known)))
        self._void(reverse.looked[0])
        return any(name == target or name.endswith(f".{target}") for name in reverse.names)

    def _exists(self, _term: Term, target: str, _above: tuple[str, ...]) -> bool:
        answer = self._look_up(target, "A")
        self._void(answer)
        return answer.outcome is Outcome.FOUND and self._asker.address is not None
