"""`--headers FILE`: a message as it was received says what a receiver saw of the sender."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from email.utils import getaddresses
from pathlib import Path
from typing import Final

from msgrun.deliverability import dmarc
from msgrun.deliverability.names import ascii_name
from msgrun.deliverability.results import Results, parse_results
from msgrun.deliverability.signatures import Signature, Signed, verify_signatures
from msgrun.doctor.findings import (
    Finding,
    Report,
    Stage,
    Status,
    exit_code_of,
    first_cause,
    found,
    in_order,
    passed,
    skipped,
)
from msgrun.doctor.names import Names, undetermined
from msgrun.doctor.policy import misaligned, policy_findings, record_line
from msgrun.errors import ExitCode, UsageError

LARGEST: Final = 25 * 1024 * 1024
"""Bytes of a sample; larger ones are refused."""

_HEADER: Final = 1024 * 1024  # what of it is read as header
_S: Final = Stage.SENDER


@dataclass(frozen=True, slots=True)
class Sample:
    """A received message.

    Attributes:
        name: of its file.
        header: its fields.
    """

    name: str
    data: bytes
    header: Message


def read_sample(file: Path) -> Sample:
    """Read a message as a mail program saves it ("show source", "save as .eml").

    Raises:
        UsageError: there is no such file, it cannot be read, is too large, or is no message.
    """
    hint = "save the received message with all its header fields as a file (.eml)"
    try:
        with file.open("rb") as opened:
            data = opened.read(LARGEST + 1)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise UsageError(f"cannot read {file}: {why}", hint) from None
    if len(data) > LARGEST:
        raise UsageError(f"{file} has more than {LARGEST // 1024 // 1024} MB", hint)
    header = BytesParser(policy=compat32).parsebytes(data[:_HEADER], headersonly=True)
    if not header.keys():
        raise UsageError(f"{file} has no header fields: it is no message", hint)
    return Sample(file.name, data, header)


def sample_findings(sample: Sample, names: Names) -> list[Finding]:
    """Return what a received message says of its sender (MR823, MR833)."""
    author, fault = _author(sample)
    if not author:
        return [
            found("MR833", _S, f"{sample.name}: {fault}", status=Status.WARN, subject=sample.name)
        ]
    topmost = _topmost(sample)
    findings = [_told(sample, topmost)]
    if reason := names.left_out(author):
        return [*findings, skipped(_S, f"{sample.name}: {reason}", author)]
    walked = dmarc.walk(names.resolver, author)
    findings += policy_findings(walked)
    signatures = verify_signatures(sample.data, sample.header, names.resolver)
    by_dkim, dkim_findings = _dkim(sample, names, walked, topmost, signatures)
    by_spf, envelope = _spf(names, walked, topmost)
    findings += dkim_findings
    if by_dkim or by_spf:
        ways = " and ".join(["SPF"] * bool(by_spf) + ["DKIM"] * bool(by_dkim))
        told = f"{sample.name}: {ways} passed for {author}, the domain of From"
        return [*findings, passed(_S, told, envelope, subject=sample.name)]
    refused = topmost is not None and any(each.result == "fail" for each in topmost.of("dmarc"))
    if by_spf is None and by_dkim is False and not _says_spf(topmost) and not refused:
        told = f"{sample.name}: no receiver says what SPF gave, so alignment is not judged"
        return [*findings, skipped(_S, told, sample.name)]
    if (by_dkim is None or by_spf is None) and not refused:
        what = f"whether {sample.name} passed SPF or DKIM for {author}"
        return [*findings, undetermined(_S, what, envelope, sample.name, decides=False)]
    said = [str(each) for each in signatures] or ["it carries no DKIM-Signature"]
    return [*findings, misaligned(walked, f"{sample.name} is from {author}: {envelope}", *said)]


def sample_report(sample: Sample, names: Names) -> Report:
    """Return the report of a sample alone."""
    findings = in_order(sample_findings(sample, names))
    wrong = [each for each in findings if each.status in {Status.FAIL, Status.WARN}]
    cause = first_cause(findings) or next(iter(wrong), None)
    open_ = [each for each in findings if each.status is Status.UNKNOWN]
    if wrong and cause is not None:
        verdict = f"{sample.name}: {cause.cause}"
    elif open_:
        verdict = f"{sample.name}: not determinable: {open_[0].cause}"
    else:
        verdict = f"{sample.name}: nothing is wrong with what receivers see of its sender"
    code = exit_code_of(findings)
    if open_ and not wrong:  # nothing but the sample was asked about: the gap is the answer
        code = ExitCode.DOCTOR_UNKNOWN
    return Report(None, "", verdict, cause.code if cause else "", findings, (), code)


def with_sample(report: Report, sample: Sample, names: Names) -> Report:
    """Return a customer's report with what a sample says beside it.

    It was received, so that nothing about it can be why the customer's own message was not.
    """
    further = [
        replace(each, status=Status.WARN) if each.status is Status.FAIL else each
        for each in sample_findings(sample, names)
    ]
    cases = tuple(
        replace(case, findings=in_order([*case.findings, *further])) for case in report.cases
    )
    return replace(report, findings=in_order([*report.findings, *further]), cases=cases)


def _author(sample: Sample) -> tuple[str, str]:
    """Return the domain of From, or "" and why there is none to judge (RFC 5322, 3.6.2)."""
    fields = [str(each) for each in sample.header.get_all("From", [])]
    if len(fields) != 1:
        return "", f"it has {len(fields)} From fields; receivers want exactly one"
    domains = {address.rpartition("@")[2] for _, address in getaddresses(fields) if "@" in address}
    if len(domains) != 1:
        return "", f"its From field has {len(domains) or 'no'} domains: {fields[0]}"
    try:
        return ascii_name(domains.pop()), ""
    except ValueError as error:
        return "", str(error)


def _topmost(sample: Sample) -> Results | None:
    """Return the newest Authentication-Results: others may be anybody's (RFC 8601, 5)."""
    fields = sample.header.get_all("Authentication-Results", [])
    return parse_results(str(fields[0])) if fields else None


def _told(sample: Sample, topmost: Results | None) -> Finding:
    if topmost is None:
        return skipped(_S, f"{sample.name} has no Authentication-Results", sample.name)
    said = [str(each) for each in topmost.methods]
    further = len(sample.header.get_all("Authentication-Results", [])) - 1
    ignored = f"{further} older Authentication-Results not counted" if further else ""
    told = f"{sample.name}: Authentication-Results of {topmost.authserv_id}"
    return passed(_S, told, *(said or ["none"]), ignored, subject=sample.name)


def _dkim(
    sample: Sample,
    names: Names,
    author: dmarc.Walk,
    topmost: Results | None,
    signatures: Sequence[Signature],
) -> tuple[bool | None, list[Finding]]:
    """Return whether a signature speaks for From, and MR823 where none verifies and does."""
    seen = [
        dmarc.aligned(names.resolver, author, domain, "adkim")
        for each in (topmost.of("dkim") if topmost else ())
        if each.result == "pass" and (domain := each.domain("header.d", "header.i"))
    ]
    here = [
        _both(each.state, dmarc.aligned(names.resolver, author, each.domain, "adkim"))
        for each in signatures
    ]
    shown = [str(each) for each in signatures] or ["it carries no DKIM-Signature"]
    shown += [
        record_line(f"{each.selector}._domainkey.{each.domain}", each.record)
        for each in signatures
        if each.record
    ]
    if True in here:
        return True, [passed(_S, f"{sample.name}: DKIM verifies for {author.domain}", *shown,
                             subject=sample.name)]  # fmt: skip
    received = True in seen
    if None in here:
        what = f"whether the signature of {sample.name} verifies for {author.domain}"
        finding = undetermined(_S, what, "; ".join(shown), sample.name, decides=False)
        return received or None, [finding]
    note = "the receiver saw it pass: the file may have changed when it was saved"
    finding = found(
        "MR823", _S, f"{sample.name}: no signature verifies for {author.domain}", *shown,
        note if received else "", status=Status.WARN, subject=sample.name,
    )  # fmt: skip
    return (True if received else None if None in seen else False), [finding]


def _both(state: Signed, same: bool | None) -> bool | None:
    """Tell whether a signature verifies and speaks for From."""
    if state is Signed.FAILS or same is False:
        return False
    return True if state is Signed.VERIFIES and same else None


def _says_spf(topmost: Results | None) -> bool:
    return topmost is not None and bool(topmost.of("spf"))


def _spf(names: Names, author: dmarc.Walk, topmost: Results | None) -> tuple[bool | None, str]:
    """Return whether SPF passed for the domain of From, as the receiver saw it."""
    results = topmost.of("spf") if topmost else []
    if not results:
        return None, "no receiver says what SPF gave"
    for each in results:
        domain = each.domain("smtp.mailfrom", "smtp.mail", "smtp.helo")
        if each.result == "pass" and domain:
            same = dmarc.aligned(names.resolver, author, domain, "aspf")
            if same is not False:
                return same, str(each)
    return False, "; ".join(map(str, results))
