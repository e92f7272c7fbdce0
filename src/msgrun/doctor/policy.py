"""What the sender's domain asks of receivers (DMARC), and whether mail from it lives up to that."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from msgrun.deliverability.dmarc import Walk
from msgrun.doctor.findings import Finding, Stage, Status, found, passed
from msgrun.doctor.names import undetermined


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one part says, and whether it makes mail pass for the From domain.

    Attributes:
        passes: None where that is not known.
        declared: whether there was anything to judge.
    """

    findings: tuple[Finding, ...]
    passes: bool | None = None
    declared: bool = True


def record_line(name: str, text: str) -> str:
    """Return a TXT record as it is published."""
    return f'{name}. IN TXT "{text}"'


def policy_findings(author: Walk) -> list[Finding]:
    """Judge the domain's DMARC record (MR831, MR832)."""
    domain, source = author.domain, author.source
    if not author.known and author.missed is not None:
        what = f"which DMARC policy {domain} has"
        return [undetermined(Stage.SENDER, what, author.missed, domain, decides=False)]
    findings = []
    for step in author.steps:
        if step.faults:
            shown = [record_line(step.answer.name, each) for each in step.answer.records]
            told = f"{step.answer.name}: {'; '.join(step.faults)}"
            findings.append(
                found("MR832", Stage.SENDER, told, *shown, status=Status.WARN,
                      subject=step.answer.name)
            )  # fmt: skip
        if step is source:  # what stands above it does not matter
            break
    if source is None and not findings:
        example = record_line(f"_dmarc.{domain}", f"v=DMARC1; p=none; rua=mailto:dmarc@{domain}")
        walked = [str(step.answer) for step in author.steps]
        return [
            found("MR831", Stage.SENDER, *walked, status=Status.WARN,
                  remedy=f"publish {example}", subject=domain)
        ]  # fmt: skip
    if source is not None and not source.faults:
        told = f"DMARC policy for {domain}: {author.policy or 'none'}"
        shown_record = record_line(source.answer.name, source.record)
        findings.append(passed(Stage.SENDER, told, shown_record, subject=domain))
    return findings


def misaligned(author: Walk, *evidence: str) -> Finding:
    """Return MR833: an error where the domain asks receivers to reject such mail."""
    policy = (author.policy or "none") if author.known else "not known"
    asked = f"the DMARC policy of {author.domain} is {policy}"
    if author.source is not None:
        asked += f": {record_line(author.source.answer.name, author.source.record)}"
    rejected = policy == "reject"
    finding = found(
        "MR833", Stage.SENDER, *evidence, asked,
        status=Status.FAIL if rejected else Status.WARN, subject=author.domain,
        cause=f"neither SPF nor DKIM passes for {author.domain}, which asks to reject such mail",
    )  # fmt: skip
    return replace(finding, severity="error") if rejected else finding


def alignment(
    author: Walk, envelope: Judgement, signed: Judgement, signer: str
) -> Iterator[Finding]:
    """Yield MR833 where both ways were declared and neither leads to the From domain.

    Args:
        envelope: what SPF says; the envelope's sender is the From address.
        signed: what DKIM says.
        signer: the domain that signs.
    """
    if not envelope.declared or not signed.declared or envelope.passes or signed.passes:
        return
    if envelope.passes is False and signed.passes is False:
        yield misaligned(
            author,
            f"From is {author.domain}; SPF does not pass for every declared address",
            f"DKIM by {signer} does not pass for {author.domain}",
        )
    elif not author.known or author.policy == "reject":
        what = f"whether mail from {author.domain} passes SPF or DKIM"
        yield undetermined(Stage.SENDER, what, "", author.domain, decides=True)
