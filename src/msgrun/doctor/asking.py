"""What the mail server is asked about a customer's own message: its size and its recipients."""

from collections.abc import Iterator
from typing import Final

from msgrun.compose.mime import mailbox
from msgrun.doctor.findings import Finding, Stage, Status
from msgrun.doctor.servers import Servers, Sight
from msgrun.doctor.situation import Question
from msgrun.errors import ComposeError, PreflightError
from msgrun.model import Address, Selection
from msgrun.preflight import try_compose

_RECIPIENTS: Final = 5
"""So many of a customer's addresses are asked about; each is a connection of its own."""


def sight_of(question: Question, servers: Servers) -> Sight:
    """Return what the server says to the customer's message, up to its first recipient."""
    recipients = _recipients(question)
    return servers.of_letter(
        question.context.frozen,
        recipients[0] if recipients else None,
        _size(question, servers),
    )


def check_server(question: Question, servers: Servers) -> list[Finding]:
    """Ask how far the server lets the message come: MAIL, RCPT, RSET, never DATA."""
    findings = list(sight_of(question, servers).findings)
    frozen, size = question.context.frozen, _size(question, servers)
    for recipient in _recipients(question)[1:]:
        further = servers.of_letter(frozen, recipient, size).findings
        findings += [each for each in further if _refused(each) and each not in findings]
    return findings


def _refused(finding: Finding) -> bool:
    return finding.stage is Stage.SMTP and finding.status in {Status.FAIL, Status.WARN}


def _recipients(question: Question) -> list[str]:
    """Return the addresses as RCPT would have them; those that cannot be used are left out."""
    key = question.context.frozen.definition["recipient_key"]
    return list(_usable(question.subject.under(key)))[:_RECIPIENTS]


def _usable(addresses: list[str]) -> Iterator[str]:
    for address in addresses:
        try:
            yield mailbox(Address(address)).address
        except ComposeError:  # told by the stage of the addresses
            continue


def _size(question: Question, servers: Servers) -> int | None:
    """Return the bytes that the message would have; None where it cannot be composed."""
    message, context = question.message, question.context
    if message is None or not message.addresses or servers.offline:
        return None
    try:
        revision = servers.workspace.revision(context.frozen, context.selection or Selection())
        return try_compose(revision, message)
    except (ComposeError, PreflightError):  # told by the stages of templates and documents
        return None
