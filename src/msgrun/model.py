"""Frozen domain types: what the other modules hand to each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final

CONCEPT: Final = "Concept"
"""What people see for an invoice that has no number yet."""


@dataclass(frozen=True, slots=True)
class Address:
    """One mail address of a customer, with the name shown beside it."""

    address: str
    display_name: str = ""


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer as the source has it now. `meta` is free for templates."""

    code: str
    name: str
    cluster: str | None = None
    suspended: bool = False
    language: str | None = None
    timezone: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Document:
    """One file that belongs to an invoice: `content`, or a `path` under the documents root."""

    invoice: str
    transformation: str
    filename: str
    media_type: str = "application/octet-stream"
    path: str | None = None
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice as the source has it now.

    `number` is None while it is a concept; `total` is a decimal string.
    """

    id: str
    customer: str
    number: str | None
    status: str
    type: str | None = None
    date: str | None = None
    period_start: str | None = None
    period_end: str | None = None
    currency: str | None = None
    total: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The number as people see it: "Concept" only while there is none."""
        return self.number or CONCEPT


@dataclass(frozen=True, slots=True)
class Period:
    """An invoice period, both days included. `label` is how it was asked for, resolved."""

    start: date
    end: date
    label: str


@dataclass(frozen=True, slots=True)
class Selection:
    """What a run is asked to cover.

    Attributes:
        cluster: root of the cluster tree to cover; None covers every customer.
        children: whether the descendants of `cluster` are covered too.
        period: None covers every period.
        customers: codes; empty covers every customer of the cluster.
        limit: at most so many messages; None for no limit.
        redirect_to: every message goes to this address instead, marked so.
        bcc: addresses that get a blind copy of every message.
        resend: invoices that were sent before may be sent again.
    """

    cluster: str | None = None
    children: bool = True
    period: Period | None = None
    customers: tuple[str, ...] = ()
    limit: int | None = None
    redirect_to: str | None = None
    bcc: tuple[str, ...] = ()
    resend: bool = False


@dataclass(frozen=True, slots=True)
class MessageContext:
    """All that is needed to compose one message, read from the source at one moment.

    Attributes:
        customer: the customer the message is for.
        addresses: the customer's addresses under the definition's recipient key, now.
        invoices: the message's invoices (one, or several when the definition collates), by id.
        documents: the wanted documents of those invoices.
    """

    customer: Customer
    addresses: tuple[Address, ...]
    invoices: tuple[Invoice, ...]
    documents: tuple[Document, ...]


@dataclass(frozen=True, slots=True)
class Envelope:
    """What SMTP is told about a message (RFC 5321, 3.3).

    Attributes:
        sender: the reverse-path (MAIL FROM).
        recipients: forward-paths of the To addresses (RCPT TO).
        bcc: forward-paths of blind copies; their refusal decides nothing.
        smtputf8: whether an address has a non-ASCII local part (RFC 6531).
    """

    sender: str
    recipients: tuple[str, ...]
    bcc: tuple[str, ...] = ()
    smtputf8: bool = False


@dataclass(frozen=True, slots=True)
class ComposedMessage:
    """A message ready to leave.

    Attributes:
        data: headers and body, CRLF line ends, not dot-stuffed, ending in CRLF.
        sha256: hex digest of `data`.
        message_id: with angle brackets.
        date: what the Date header says.
        plain: whoever composed `data` has seen that every line ends in CRLF and none begins with
            a dot; False: a transport has to look for itself.
    """

    data: bytes
    sha256: str
    message_id: str
    date: datetime
    plain: bool = False


class Stage(StrEnum):
    """The step of an SMTP dialogue at which something happened."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    BANNER = "banner"
    EHLO = "ehlo"
    TLS = "tls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    DOT = "dot"
    RSET = "rset"


class Verdict(StrEnum):
    """What came of one try to send one message."""

    ACCEPTED = "accepted"  # 2xx to the end of DATA
    DEFERRED = "deferred"  # 4xx for this message
    REJECTED = "rejected"  # 5xx for this message
    SERVER_FAULT = (
        "server_fault"  # not this message's fault; no dot has left, or a definite answer came
    )
    IN_DOUBT = "in_doubt"  # the dot may have left and no answer is known


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's answer: code, enhanced status code (RFC 3463) or "", text without both."""

    code: int
    enhanced: str
    text: str

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One recipient that the server refused while others were taken."""

    address: str
    reply: Reply


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a transport says of one try.

    Attributes:
        verdict: what it means for the message.
        stage: where it was decided.
        reply: the server's answer; None when there was none (time-out, closed connection).
        text: what happened in words, where there is no reply.
        queue_id: the server's name for the message, as far as its reply tells.
        refused: To recipients refused while others were accepted.
        refused_bcc: blind-copy recipients refused; decides nothing.
        finding: catalogue code that explains a refusal or fault, e.g. "MR603"; "" if none is known.
    """

    verdict: Verdict
    stage: Stage
    reply: Reply | None = None
    text: str = ""
    queue_id: str = ""
    refused: tuple[Refusal, ...] = ()
    refused_bcc: tuple[Refusal, ...] = ()
    finding: str = ""
