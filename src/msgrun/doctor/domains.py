"""The recipients' domains: can mail for them be delivered at all?"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Final

from msgrun.compose.mime import mailbox
from msgrun.deliverability.recipient import Reach, Recipient, check_recipient
from msgrun.doctor.findings import Finding, Stage, Status, found, passed, skipped
from msgrun.doctor.names import Names, undetermined
from msgrun.doctor.servers import Servers
from msgrun.doctor.situation import Question
from msgrun.errors import ComposeError
from msgrun.model import Address
from msgrun.states import MessageState

_AT_ONCE: Final = 16  # look-ups of one command
_BATCH: Final = 256
_SHOWN: Final = 20  # domains with the same fault
_HANDED: Final = frozenset({MessageState.SENT, MessageState.IN_DOUBT, MessageState.BOUNCED})

_FAULTS: Final[Mapping[Reach, tuple[str, str]]] = {
    Reach.NO_DOMAIN: ("MR801", "the recipient's domain {} does not exist"),
    Reach.NULL_MX: ("MR802", "{} says that it takes no mail"),
    Reach.NO_HOST: ("MR803", "{} has no host that takes mail"),
}


def check_domains(question: Question, servers: Servers) -> list[Finding]:
    """Look at each domain that the message goes to, today's and the run's."""
    domains = recipient_domains(question)
    if not domains:
        return [skipped(Stage.DOMAIN, "no usable address")]
    findings = [domain_finding(servers.names, domain) for domain in domains]
    return [after_handing_over(question, each) for each in findings]


def recipient_domains(question: Question) -> list[str]:
    """Return the domains of today's addresses and of the run's own, each once."""
    addresses = question.subject.under(question.context.frozen.definition["recipient_key"])
    if question.row is not None:
        addresses += [each.address for each in question.row.recipients]
    return list(dict.fromkeys(_domains(addresses)))


def _domains(addresses: list[str]) -> Iterator[str]:
    for address in addresses:
        try:
            yield mailbox(Address(address)).address.rpartition("@")[2].lower()
        except ComposeError:
            continue  # the stage of the address tells of it


def domain_finding(names: Names, domain: str) -> Finding:
    """Return what is to be said of one domain."""
    if reason := names.left_out(domain):
        return skipped(Stage.DOMAIN, reason, domain)
    recipient = check_recipient(names.resolver, domain)
    if recipient.reach is Reach.REACHABLE:
        return passed(Stage.DOMAIN, _host(recipient), subject=domain)
    if recipient.reach is Reach.UNKNOWN:
        answer = next(each for each in recipient.looked if not each.known)
        what = f"whether {domain} takes mail"
        return undetermined(Stage.DOMAIN, what, answer, domain, decides=True)
    code, cause = _FAULTS[recipient.reach]
    looked = [str(answer) for answer in recipient.looked]
    return found(code, Stage.DOMAIN, *looked, subject=domain, cause=cause.format(domain))


def look_up_domains(names: Names, domains: Iterable[tuple[str, int]]) -> list[Finding]:
    """Look at each domain once, some at a time, and sum up what is no fault.

    Args:
        domains: with the number of customers there; only what is wrong is held in memory.
    """
    wrong: dict[str, list[Finding]] = {}
    reached, left_out, reason = 0, 0, ""
    rows = iter(domains)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while batch := list(islice(rows, _BATCH)):
            seen = pool.map(partial(domain_finding, names), (domain for domain, _ in batch))
            for (_, customers), finding in zip(batch, seen, strict=True):
                if finding.status is Status.PASS:
                    reached += 1
                elif finding.status is Status.SKIPPED:
                    left_out += 1
                    reason = reason or finding.evidence[0]
                else:
                    told = f"{customers} customer{'' if customers == 1 else 's'} there"
                    evidence = (*finding.evidence, told)
                    wrong.setdefault(finding.code, []).append(replace(finding, evidence=evidence))
    return [*_summary(wrong), *_in_order(reached, left_out, reason)]


def _summary(wrong: Mapping[str, list[Finding]]) -> Iterator[Finding]:
    for findings in wrong.values():
        yield from findings[:_SHOWN]
        more = len(findings) - _SHOWN
        if more > 0:
            told = f"and {more} more domain{'' if more == 1 else 's'}"
            yield replace(findings[_SHOWN], evidence=(told,), subject="")


def _in_order(reached: int, left_out: int, reason: str) -> Iterator[Finding]:
    if reached:
        plural = "domain takes" if reached == 1 else "domains take"
        yield passed(Stage.DOMAIN, f"{reached} {plural} mail")
    if left_out:
        others = f"; {left_out - 1} more likewise" if left_out > 1 else ""
        yield skipped(Stage.DOMAIN, f"{reason}{others}")


def _host(recipient: Recipient) -> str:
    last = recipient.looked[-1]
    if last.name == recipient.domain:
        return f"{last} (no MX)"
    return f"{recipient.domain} MX {last.name}, {last.kind} {', '.join(last.records)}"


def after_handing_over(question: Question, finding: Finding) -> Finding:
    """Lower to a warning what cannot have kept our server from taking the message."""
    rows = (question.row, question.holder)
    handed = any(
        row is not None
        and row.state in _HANDED
        and question.runs[row.run_id].row.selection.redirect_to is None
        for row in rows
    )
    if handed and finding.status is Status.FAIL:
        return replace(finding, status=Status.WARN)
    return finding
