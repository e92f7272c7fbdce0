"""What is wrong, or looks odd, about a customer's addresses."""

from collections.abc import Iterator
from typing import Final

from msgrun.compose.mime import mailbox
from msgrun.doctor.asking import sight_of
from msgrun.doctor.findings import Finding, Stage, Status, found, passed
from msgrun.doctor.servers import Servers
from msgrun.doctor.situation import Question
from msgrun.doctor.words import instant
from msgrun.errors import ComposeError
from msgrun.model import Address
from msgrun.suggest import near_miss, same_when_normalised

_PROVIDERS: Final = (
    "gmail.com",
    "googlemail.com",
    "hotmail.com",
    "outlook.com",
    "yahoo.com",
    "icloud.com",
    "protonmail.com",
)
_ALSO_REAL: Final = frozenset({"mail.com", "ymail.com", "email.com", "rmail.com", "hotmail.co"})
"""Domains of mail providers that are one letter away from another one."""

_NOBODY: Final = frozenset({"noreply", "no-reply", "no_reply", "donotreply", "do-not-reply"})


def check_address(question: Question, servers: Servers) -> list[Finding]:
    """Look for addresses under the definition's key, and at each of them."""
    key = question.context.frozen.definition["recipient_key"]
    addresses = question.subject.under(key)
    if not addresses:
        return [_none_under(question, key)]
    findings: list[Finding] = []
    for address in addresses:
        findings += _look_at(question, servers, address)
    if not any(each.status is Status.FAIL for each in findings):
        told = f"{', '.join(addresses)} ('{key}')"
        findings.insert(0, passed(Stage.ADDRESS, told, drift=_moved(question, addresses)))
    return findings


def _moved(question: Question, addresses: list[str]) -> Iterator[str]:
    """Yield what the run's own message had as addresses, where it is not what the source has."""
    row = question.speaker
    if row is None or not row.recipients:
        return
    was = sorted(each.address for each in row.recipients)
    if was != addresses:
        yield f"run {row.run_id} had {', '.join(was)}; the source has {', '.join(addresses)} now"


def _none_under(question: Question, key: str) -> Finding:
    """Return MR105, or MR106 where a key of the customer's was probably meant to be this one."""
    customer = question.subject.customer
    has = question.subject.addresses
    then = ""
    if question.row is not None and question.row.recipients:
        was = ", ".join(each.address for each in question.row.recipients)
        then = f"run {question.row.run_id} had {was}"
    cause = f"no e-mail address under key '{key}'"
    near = near_miss(key, sorted({own for own, _ in has}))
    if near is not None:
        evidence = f"has '{near}' → {', '.join(question.subject.under(near))}; "
        evidence += f"the definition wants '{key}'"
        return found(
            "MR106", Stage.ADDRESS, evidence, _difference(key, near), then,
            remedy=f"rename the key to '{key}'", subject=customer.code, refines="MR105",
            cause=cause,
        )  # fmt: skip
    present = ", ".join(f"'{own}' → {address}" for own, address in has) or "no address at all"
    return found(
        "MR105", Stage.ADDRESS, f"has {present}; the definition wants '{key}'", then,
        remedy=f"add an address under the key '{key}'", subject=customer.code, cause=cause,
    )  # fmt: skip


def _difference(wanted: str, near: str) -> str:
    """Say how two keys differ where the eye does not see it."""
    if "".join(near.split()) == "".join(wanted.split()):
        return "they differ by a space"
    if near.casefold() == wanted.casefold():
        return "they differ by upper and lower case"
    return "" if near.isascii() else f"they differ by a letter that looks alike: {near!a}"


def _look_at(question: Question, servers: Servers, address: str) -> Iterator[Finding]:
    try:
        box = mailbox(Address(address))
    except ComposeError as error:
        # A blank in the field is seen by SQL as a malformed address.
        refines = "MR107" if error.finding == "MR108" and "MR107" in question.blocked else None
        yield found(
            error.finding, Stage.ADDRESS, error.message, remedy=error.hint, subject=address,
            refines=refines, cause=f"the address {address!r} cannot be used",
        )  # fmt: skip
        return
    if "MR107" in question.blocked and not _fits_sql(address):
        yield found("MR107", Stage.ADDRESS, f"{address!r} is no plain address", subject=address)
    if box.smtputf8:
        yield _non_ascii(question, servers, address)
    yield from _came_back(question, box.address)
    if placeholder := _placeholder(address):
        yield found(
            "MR110", Stage.ADDRESS, f"{address}: {placeholder}", status=Status.WARN,
            remedy="ask the customer for the real address", subject=address,
        )  # fmt: skip
    if meant := probable_domain(address.rpartition("@")[2]):
        yield found(
            "MR111", Stage.ADDRESS, f"{address}: probably {meant} is meant", status=Status.WARN,
            remedy="confirm the address with the customer", subject=address,
        )  # fmt: skip


def _fits_sql(address: str) -> bool:
    import re

    from msgrun.eligibility import ADDRESS_PATTERN

    return re.search(ADDRESS_PATTERN, address) is not None


def _non_ascii(question: Question, servers: Servers, address: str) -> Finding:
    """Return MR109: an error only where the server is known not to take it (RFC 6531)."""
    report = sight_of(question, servers).report
    offered = report.smtputf8 if report else None
    if offered:
        return passed(Stage.ADDRESS, f"{address} needs SMTPUTF8, which the server offers")
    evidence = f"{address} needs SMTPUTF8; "
    if offered is False:
        status, seen = Status.FAIL, "the server does not offer it"
    elif servers.offline:
        status, seen = Status.WARN, "the server was not asked (--offline)"
    else:
        status, seen = Status.UNKNOWN, "the server could not be asked"
    return found(
        "MR109", Stage.ADDRESS, evidence + seen, status=status, subject=address,
        remedy="ask for an address in plain ASCII, or use a server with SMTPUTF8",
        cause=f"the server does not take the address {address}",
    )  # fmt: skip


def _came_back(question: Question, address: str) -> Iterator[Finding]:
    """Yield MR112 where the last message to the address came back; its own is MR509."""
    row = question.subject.came_back.get(address)
    if row is None or (question.row is not None and question.row.id == row.id):
        return
    yield found(
        "MR112", Stage.ADDRESS,
        f"message {row.id} of run {row.run_id} ({row.definition}), accepted "
        f"{instant(row.sent_at)}, came back from {address}",
        row.answer or "", row.detail or "",
        remedy="ask the customer for an address that works, and correct it in the billing data",
        subject=address, cause=f"mail to {address} came back before",
    )  # fmt: skip


def _placeholder(address: str) -> str:
    """Return what makes an address look filled in for form's sake; never for `.test`."""
    local, _, domain = address.casefold().rpartition("@")
    labels = domain.split(".")
    if labels[-1] == "test":
        return ""
    if labels[-1] in {"example", "invalid"} or labels[-2:-1] == ["example"]:
        return f"{domain} is a domain for examples (RFC 2606)"
    return f"'{local}' is a mailbox that nobody reads" if local in _NOBODY else ""


def probable_domain(domain: str) -> str | None:
    """Return the well-known provider that a domain is one slip of the finger away from."""
    domain = domain.casefold()
    if domain in _PROVIDERS or domain in _ALSO_REAL:
        return None
    return next(
        (
            each
            for each in _PROVIDERS
            # First what the eye cannot tell: a letter of another alphabet that looks alike.
            if same_when_normalised(domain, each) or _one_slip(domain, each)
        ),
        None,
    )


def _one_slip(a: str, b: str) -> bool:
    """Tell whether one letter was left out, added or mistaken, or two neighbours were swapped."""
    while a and b and a[0] == b[0]:
        a, b = a[1:], b[1:]
    while a and b and a[-1] == b[-1]:
        a, b = a[:-1], b[:-1]
    return max(len(a), len(b)) == 1 or (len(a) == 2 and a == b[::-1])
