"""The sender's domain: will receivers believe that mail from it is its own?"""

from collections.abc import Iterator
from typing import Final

from msgrun.compose.mime import mailbox
from msgrun.config import SenderConfig, ServerConfig
from msgrun.deliverability import dmarc, spf
from msgrun.deliverability.dkim import KeyState, check_key
from msgrun.deliverability.names import ascii_name
from msgrun.deliverability.providers import free_mail
from msgrun.deliverability.ptr import check_reverse
from msgrun.deliverability.resolver import Answer
from msgrun.deliverability.spf_record import merged, with_address
from msgrun.doctor.bulk import bulk_of_run
from msgrun.doctor.domains import after_handing_over, recipient_domains
from msgrun.doctor.findings import Finding, Stage, Status, found, passed, skipped
from msgrun.doctor.names import Names, undetermined
from msgrun.doctor.policy import Judgement, alignment, policy_findings, record_line
from msgrun.doctor.servers import Servers
from msgrun.doctor.situation import Question
from msgrun.errors import ComposeError, PreflightError
from msgrun.model import Address
from msgrun.workspace import Workspace

_S: Final = Stage.SENDER


def check_sender_domain(question: Question, servers: Servers) -> list[Finding]:
    """Look at the domain that the message is from, and at the run's size."""
    frozen = question.context.frozen
    try:
        key, sender = frozen.definition["from_key"], servers.workspace.sender_of(frozen)
    except PreflightError:
        return [skipped(_S, "the definition's sender is not known", frozen.name)]
    findings = sender_findings(servers.workspace, servers.names, key, sender)
    findings += bulk_of_run(servers.workspace, question.run, recipient_domains(question))
    return [after_handing_over(question, each) for each in findings]


def sender_findings(
    workspace: Workspace, names: Names, key: str, sender: SenderConfig
) -> list[Finding]:
    """Return what is to be said of a sender's domain and of the server its mail leaves by."""
    try:
        address = mailbox(Address(sender.address)).address
    except ComposeError:
        return [skipped(_S, "the sender's address cannot be used", sender.address)]
    domain = address.rpartition("@")[2].lower()
    server = workspace.config.servers.get(sender.server)
    findings = list(_free_mail(domain, address, server))
    if reason := names.left_out(domain):
        return [*findings, skipped(_S, reason, domain)]
    author = dmarc.walk(names.resolver, domain)
    envelope = _spf(names, domain, address, sender.server, server)
    signed = _dkim(names, author, key, sender)
    findings += [*envelope.findings, *signed.findings, *policy_findings(author)]
    findings += alignment(author, envelope, signed, sender.dkim_domain or domain)
    return [*findings, *_reverse(names, server)]


def _free_mail(domain: str, address: str, server: ServerConfig | None) -> Iterator[Finding]:
    host = server.host if server is not None else ""
    provider = free_mail(domain, host) if host else None
    if provider is not None:
        yield found(
            "MR842", _S, f"From is {address}, a mailbox of {provider}", f"the server is {host}",
            status=Status.WARN, subject=address,
        )  # fmt: skip


def _spf(
    names: Names, domain: str, address: str, server_name: str, server: ServerConfig | None
) -> Judgement:
    """Judge the published record, and what it says of the declared addresses (MR811 to MR814)."""
    ips = server.outbound_ips if server is not None else ()
    published = spf.published(names.resolver, domain)
    if not published.answer.known:
        unknown = _unknown(f"whether {domain} has an SPF record", published.answer, domain)
        return Judgement((unknown,), declared=bool(ips))
    records = published.records
    if not records:
        own = " ".join(f"ip{ip.version}:{ip}" for ip in ips) or "ip4:ADDRESS-OF-YOUR-SERVER"
        remedy = f"publish {record_line(domain, f'v=spf1 {own} ~all')}"
        none = found("MR811", _S, str(published.answer), f"{domain} has no record that begins "
                     "with v=spf1", status=Status.WARN, remedy=remedy, subject=domain)  # fmt: skip
        return Judgement((none,), passes=False, declared=bool(ips))
    shown = [record_line(domain, record) for record in records]
    if len(records) > 1:
        remedy = f"remove all but one, and publish {record_line(domain, merged(records))}"
        several = found("MR812", _S, *shown, status=Status.WARN, remedy=remedy, subject=domain)
        return Judgement((several,), passes=False, declared=bool(ips))
    findings = list(_survey(names, domain, address, shown[0], judged=bool(ips)))
    if not ips:
        reason = f"SPF: no outbound_ips under [servers.{server_name}], nothing to judge"
        return Judgement((*findings, skipped(_S, reason, domain)), declared=False)
    verdicts = [(ip, spf.evaluate(names.resolver, domain, ip, address)) for ip in ips]
    passing = [ip for ip, verdict in verdicts if verdict.result is spf.Result.PASS]
    for ip, verdict in verdicts:
        if verdict.result is spf.Result.UNKNOWN:
            findings.append(_unknown(f"whether SPF passes for {ip}", verdict.reason, domain))
        elif verdict.result is not spf.Result.PASS:
            said = f"{ip}: {verdict.result}, by {verdict.reason}"
            remedy = f"publish {record_line(domain, with_address(records[0], [ip]))}"
            if verdict.result is spf.Result.PERMERROR:
                said = f"{ip}: {verdict.result}: {verdict.reason}"
                remedy = "correct the record: as it is, no server passes"
            findings.append(
                found("MR814", _S, said, shown[0], status=Status.WARN, remedy=remedy,
                      subject=domain)
            )  # fmt: skip
    if passing:
        told = f"SPF passes for {', '.join(map(str, passing))}"
        findings.append(passed(_S, told, shown[0], subject=domain))
    results = {verdict.result for _, verdict in verdicts}
    bad = results - {spf.Result.PASS, spf.Result.UNKNOWN}
    return Judgement(tuple(findings), False if bad else len(passing) == len(ips) or None)


def _survey(
    names: Names, domain: str, address: str, shown: str, *, judged: bool
) -> Iterator[Finding]:
    """Yield what is wrong with the record whichever server sends (MR813, MR814)."""
    walked = spf.survey(names.resolver, domain, address)
    more = "" if walked.complete else " at least"
    over = walked.look_ups > spf.LOOK_UPS or walked.voids > spf.VOIDS
    if walked.limit or over:
        counted = f"{more} {walked.look_ups} look-ups ({spf.LOOK_UPS} are allowed)"
        counted += f", {walked.voids} of them empty ({spf.VOIDS} are allowed)"
        reason = walked.reason if walked.limit else ""
        yield found("MR813", _S, counted.strip(), reason, shown, status=Status.WARN, subject=domain)
    elif walked.result is spf.Result.PERMERROR and not judged:
        yield found("MR814", _S, f"no server passes: {walked.reason}", shown, status=Status.WARN,
                    remedy="correct the record", subject=domain)  # fmt: skip
    elif walked.result is spf.Result.UNKNOWN and not judged:
        yield _unknown(
            f"whether the SPF record of {domain} can be evaluated", walked.reason, domain
        )


def _dkim(names: Names, author: dmarc.Walk, key: str, sender: SenderConfig) -> Judgement:
    """Judge the keys of the declared selectors (MR821, MR822)."""
    domain = author.domain
    if not sender.dkim_selectors:
        reason = f"DKIM: no dkim_selectors under [senders.{key}], nothing to judge"
        return Judgement((skipped(_S, reason, domain),), declared=False)
    try:
        signer = ascii_name(sender.dkim_domain or domain)
    except ValueError as error:
        return Judgement((skipped(_S, f"dkim_domain: {error}", sender.dkim_domain),))
    if reason := names.left_out(signer):
        return Judgement((skipped(_S, f"DKIM: {reason}", signer),))
    findings = []
    states = set()
    for selector in sender.dkim_selectors:
        found_key = check_key(names.resolver, selector.lower(), signer)
        states.add(found_key.state)
        if found_key.state is KeyState.UNKNOWN:
            what = f"whether the key {found_key.name} is published"
            findings.append(_unknown(what, found_key.answer, signer))
        elif found_key.state is KeyState.MISSING:
            remedy = f"publish {record_line(found_key.name, 'v=DKIM1; k=rsa; p=YOUR-PUBLIC-KEY')}"
            findings.append(
                found("MR821", _S, found_key.told, status=Status.WARN, remedy=remedy,
                      subject=found_key.name)
            )  # fmt: skip
        elif found_key.state is KeyState.BAD:
            shown = record_line(found_key.name, found_key.record)
            findings.append(
                found("MR822", _S, found_key.told, shown, status=Status.WARN,
                      subject=found_key.name)
            )  # fmt: skip
        else:
            told = f"DKIM key {found_key.name}: {found_key.told}"
            shown = record_line(found_key.name, found_key.record)
            findings.append(passed(_S, told, shown, subject=found_key.name))
    return Judgement(tuple(findings), _signs(names, author, signer, states))


def _signs(names: Names, author: dmarc.Walk, signer: str, states: set[KeyState]) -> bool | None:
    """Tell whether one of several keys can make mail pass for the From domain."""
    if states <= {KeyState.MISSING, KeyState.BAD}:
        return False
    same = dmarc.aligned(names.resolver, author, signer, "adkim")
    return same and (True if KeyState.GOOD in states else None)


def _reverse(names: Names, server: ServerConfig | None) -> Iterator[Finding]:
    """Judge the names of the declared addresses (MR841)."""
    for ip in server.outbound_ips if server is not None else ():
        reverse = check_reverse(names.resolver, ip)
        looked = [str(answer) for answer in reverse.looked]
        if reverse.names:
            yield passed(_S, f"{ip} is {', '.join(reverse.names)}", *looked, subject=str(ip))
        elif not reverse.known:
            missed = next(answer for answer in reverse.looked if not answer.known)
            yield _unknown(f"whether {ip} has a confirmed name", missed, str(ip))
        else:
            remedy = (
                f"have the provider of {ip} publish {ip.reverse_pointer}. IN PTR YOUR-HOST-NAME. "
                f"and publish YOUR-HOST-NAME. IN {'A' if ip.version == 4 else 'AAAA'} {ip}"
            )
            yield found("MR841", _S, *looked, status=Status.WARN, remedy=remedy, subject=str(ip))


def _unknown(what: str, answer: Answer | str, subject: str) -> Finding:
    """Return MR091 for a check that could only have warned."""
    return undetermined(_S, what, answer, subject, decides=False)
