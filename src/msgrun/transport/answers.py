"""What a server's answer means: one table, most specific row first."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from msgrun.model import Reply, Stage, Verdict


class FaultClass(StrEnum):
    """Whose fault a 4xx or 5xx is, and so what has to stop."""

    MESSAGE_REJECT = "message_reject"  # this message, for good
    MESSAGE_DEFER = "message_defer"  # this message, for now
    SERVER_FAULT = "server_fault"  # every message would meet it
    QUOTA_FAULT = "quota_fault"  # every message would meet it until the quota is renewed


VERDICTS: Final = {
    FaultClass.MESSAGE_REJECT: Verdict.REJECTED,
    FaultClass.MESSAGE_DEFER: Verdict.DEFERRED,
    FaultClass.SERVER_FAULT: Verdict.SERVER_FAULT,
    FaultClass.QUOTA_FAULT: Verdict.SERVER_FAULT,
}
"""What each class does to the message that met it."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an answer means: whose fault, the finding that explains it, cause and cure in words."""

    fault_class: FaultClass
    finding: str
    diagnosis: str
    remedy: str

    @property
    def verdict(self) -> Verdict:
        """What becomes of the message that met the answer."""
        return VERDICTS[self.fault_class]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table. Patterns: `code` and `enhanced` match whole, `text` anywhere."""

    stages: frozenset[Stage]
    code: str
    enhanced: str
    text: str
    meaning: Meaning

    def matches(self, stage: Stage, reply: Reply) -> bool:
        """Whether this row is about `reply` at `stage`."""
        return (
            stage in self.stages
            and re.fullmatch(self.code, str(reply.code)) is not None
            and re.fullmatch(self.enhanced, reply.enhanced) is not None
            and re.search(self.text, reply.text, re.IGNORECASE) is not None
        )


S = Stage
ANYWHERE: Final = frozenset(Stage)
OPENING: Final = frozenset({S.BANNER, S.EHLO, S.TLS, S.AUTH})
ENVELOPE: Final = frozenset({S.MAIL, S.RCPT})
CONTENT: Final = frozenset({S.MAIL, S.DATA, S.DOT})
BEFORE_DOT: Final = ANYWHERE - {S.DOT}

REJECT, DEFER = FaultClass.MESSAGE_REJECT, FaultClass.MESSAGE_DEFER
SERVER, QUOTA = FaultClass.SERVER_FAULT, FaultClass.QUOTA_FAULT
ANY: Final = ".*"


def _row(
    stages: Iterable[Stage],
    code: str,
    enhanced: str,
    text: str,
    fault_class: FaultClass,
    finding: str,
    diagnosis: str,
    remedy: str,
) -> Row:
    meaning = Meaning(fault_class, finding, diagnosis, remedy)
    return Row(frozenset(stages), code, enhanced, text, meaning)


# fmt: off
ROWS: Final[tuple[Row, ...]] = (
    # Quotas: a 5xx that is nobody's address.
    _row(ANYWHERE, "[45]..", r"5\.1\.90", ANY, QUOTA, "MR618",
         "The daily recipient limit of the account is reached",
         "Restart the run when the quota is renewed, usually tomorrow."),
    _row(ANYWHERE, "[45]..", r"5\.2\.2", "submission ?quota", QUOTA, "MR618",
         "The submission quota of the account is reached",
         "Restart the run when the quota is renewed, usually tomorrow."),
    _row(ANYWHERE, "[45]..", ANY, r"daily .*(quota|limit)|sending (quota|limit)", QUOTA, "MR618",
         "The daily sending limit of the account is reached",
         "Restart the run when the quota is renewed, usually tomorrow."),
    # Throttling: back off, whoever the message is for.
    _row({S.AUTH}, "4..", ANY, "too many login", SERVER, "MR618",
         "Too many logins in a short time",
         "Wait; then reuse connections: fewer of them, and more messages on each."),
    _row(ANYWHERE, "432", ANY, "(thread|connection)s? limit", SERVER, "MR618",
         "More connections at once than the account may have",
         "Set connections = 3 and rate_per_minute = 30 for Microsoft 365."),
    _row(ANYWHERE, "4..", r"4\.7\.(26|27|30)", "spf|dkim|dmarc|unauthenticated", SERVER, "MR833",
         "The message's From is not aligned with SPF or DKIM",
         "Sign with DKIM as the From domain, or align SPF; DMARC asks for one of them."),
    _row(ANYWHERE, "4..", r"4\.7\.32", ANY, SERVER, "MR833",
         "The message's From is not aligned with SPF or DKIM",
         "Sign with DKIM as the From domain, or align SPF; DMARC asks for one of them."),
    _row(ANYWHERE, "421", r"4\.7\.\d+", ANY, SERVER, "MR618",
         "The server limits our rate, or doubts our reputation",
         "Wait, then send with a lower rate_per_minute."),
    _row(ANYWHERE, "451", r"4\.7\.650", ANY, SERVER, "MR618",
         "The server limits our address for its reputation",
         "Wait, then send with a lower rate_per_minute."),
    _row(ANYWHERE, "4..", ANY,
         r"throttl|rate limit|too many (messages|connections|concurrent|e?mails)", SERVER, "MR618",
         "The server limits our rate",
         "Lower rate_per_minute or connections."),
    # Opening the connection.
    _row({S.BANNER}, "4..", ANY, ANY, SERVER, "MR605",
         "The server is busy, or takes nobody now", "Wait and try again."),
    _row({S.BANNER}, "5..", ANY, ANY, SERVER, "MR605",
         "The server refuses our IP address",
         "Have the address put on the allow-list by the server's administrator."),
    _row(BEFORE_DOT, "5..|450", ANY, r"\b(helo|ehlo)\b", SERVER, "MR619",
         "The server does not like our EHLO name", "Set ehlo to this host's full name."),
    _row({S.EHLO}, "50[14]", r"5\.5\.[24]", ANY, SERVER, "MR619",
         "The server does not like our EHLO name", "Set ehlo to this host's full name."),
    _row({S.EHLO}, "4..", ANY, ANY, SERVER, "MR605",
         "The server is busy, or takes nobody now", "Wait and try again."),
    _row({S.TLS}, "454", ANY, ANY, SERVER, "MR607",
         "The server offers STARTTLS but cannot do it now",
         "Tell the server's administrator: its TLS is broken."),
    _row(ANYWHERE, "[45]..", ANY, "starttls", SERVER, "MR606",
         "The server wants TLS first", 'Set security = "starttls".'),
    # Authentication.
    _row({S.AUTH}, "535", r"5\.7\.139", "smtpclientauthentication is disabled", SERVER, "MR615",
         "SMTP AUTH is switched off for the Microsoft 365 tenant or mailbox",
         "Set-TransportConfig -SmtpClientAuthenticationDisabled $false"),
    _row({S.AUTH}, "535", r"5\.7\.139", "did not meet the criteria|security defaults",
         SERVER, "MR615",
         "A Microsoft 365 policy blocks SMTP AUTH for this mailbox",
         "Set-CASMailbox -SmtpClientAuthenticationDisabled $false; exclude it from the policy."),
    _row({S.AUTH}, "535", r"5\.7\.139", "basic authentication is disabled", SERVER, "MR615",
         "Basic authentication is retired on this server",
         "It wants OAuth, which msgrun has not: use a relay that takes a password."),
    _row(ANYWHERE, "5..", r"5\.7\.(27|30)", "spf|dkim|dmarc|unauthenticated", REJECT, "MR833",
         "SPF, DKIM or DMARC of the From domain does not pass",
         "Publish and align SPF and DKIM for the From domain; DMARC asks for one of them."),
    _row(ANYWHERE, "550", r"5\.7\.30", ANY, SERVER, "MR615",
         "Basic authentication is retired on this server",
         "It wants OAuth, which msgrun has not: use a relay that takes a password."),
    _row({S.AUTH}, "535", r"5\.7\.8", "username and password not accepted", SERVER, "MR615",
         "Gmail takes no normal password here", "Make an app password and use it."),
    _row({S.AUTH}, "534", r"5\.7\.9", ANY, SERVER, "MR615",
         "Gmail with 2-step verification wants an app password",
         "Make an app password and use it."),
    _row({S.AUTH}, "535", r"5\.7\.3", ANY, SERVER, "MR615",
         "Wrong user name or password, or SMTP AUTH is off for the mailbox",
         "Check user name and password, and whether SMTP AUTH is on for the mailbox."),
    _row(BEFORE_DOT, "530", ANY, ANY, SERVER, "MR615",
         "The server wants a login first",
         "Set username and password, and security to tls or starttls: a login wants TLS."),
    _row({S.AUTH, S.TLS}, "421", ANY, ANY, SERVER, "MR603",
         "The server closes the connection", "Wait and try again."),
    _row({S.AUTH}, "4..", ANY, ANY, SERVER, "MR615",
         "The server cannot check the login now", "Wait and try again."),
    _row({S.AUTH}, "5..", ANY, ANY, SERVER, "MR615",
         "The server refuses the login", "Check username and password."),
    # The sender: the same for every message of the run.
    _row(ANYWHERE, "5..", r"5\.7\.60|5\.2\.252", ANY, SERVER, "MR616",
         "The login may not send as this From address",
         "Give the login the send-as right, or send from its own address."),
    _row(ANYWHERE, "5..", ANY, "sendasdenied", SERVER, "MR616",
         "The login may not send as this From address",
         "Give the login the send-as right, or send from its own address."),
    _row(ANYWHERE, "5..", ANY, "not owned by user|sender address rejected: not logged in", SERVER,
         "MR616",
         "The login may not send as this From address",
         "Give the login the send-as right, or send from its own address."),
    _row(ANYWHERE, "5..", ANY, "(address|identit|domain).* not verified|verified sender identity",
         SERVER, "MR616",
         "The provider has not verified the sender (or, in a sandbox, the recipient)",
         "Verify the sender's domain with the provider."),
    # Relaying.
    _row(ANYWHERE, "5..", r"5\.7\.64", ANY, SERVER, "MR617",
         "The server does not know our IP address as a sender of the tenant",
         "Authenticate, or set up a connector for the address."),
    _row({S.RCPT}, "5..", ANY, r"relay(ing)? (access )?(denied|not permitted)|unable to relay",
         REJECT, "MR617",
         "The server does not relay for us to this domain",
         "Authenticate, or have our address allowed to relay (Microsoft 365: a connector)."),
    _row({S.RCPT}, "4..", ANY, r"relay(ing)? (access )?(denied|not permitted)|unable to relay",
         DEFER, "MR617",
         "The server does not relay for us to this domain, for now",
         "Authenticate, or have our address allowed to relay."),
    # Size.
    _row(ANYWHERE, "5..", r"5\.3\.4|5\.2\.3", ANY, REJECT, "MR405",
         "The message is larger than the server takes", "Shrink the documents, or send a link."),
    _row(CONTENT, "552", "", ANY, REJECT, "MR405",
         "The message is larger than the server takes", "Shrink the documents, or send a link."),
    # The mailbox.
    _row(ANYWHERE, "5..", r"5\.1\.1|5\.1\.10|5\.4\.1", ANY, REJECT, "MR617",
         "There is no such mailbox", "Correct the address."),
    _row(ANYWHERE, "4..", r"4\.2\.2", ANY, DEFER, "MR505",
         "The mailbox is full", "It is tried again later."),
    _row(ANYWHERE, "5..", r"5\.2\.2", ANY, REJECT, "MR506",
         "The mailbox is full",
         "Later, when the customer has emptied it: restart with --failed."),
    _row(ANYWHERE, "45[01]", r"4\.7\.1", ANY, DEFER, "MR505",
         "Greylisting: the server wants a second try", "It is tried again by itself."),
    _row(ANYWHERE, "45[01]", ANY, "gr[ae]y-?list", DEFER, "MR505",
         "Greylisting: the server wants a second try", "It is tried again by itself."),
    # Sender authentication.
    _row(ANYWHERE, "5..", r"5\.7\.(26|509|515|23)", ANY, REJECT, "MR833",
         "SPF, DKIM or DMARC of the From domain does not pass",
         "Publish and align SPF and DKIM for the From domain; DMARC asks for one of them."),
    _row(ANYWHERE, "5..", r"5\.7\.25", ANY, REJECT, "MR841",
         "The sending address has no confirmed reverse name", "Publish a PTR record for it."),
    # By stage and class of code.
    _row({S.EHLO}, "[45]..", ANY, ANY, SERVER, "MR605",
         "The server refuses EHLO", "Check host and port: is it a mail server?"),
    _row({S.TLS}, "[45]..", ANY, ANY, SERVER, "MR607",
         "The server refuses STARTTLS", 'Try security = "tls" on port 465.'),
    _row(BEFORE_DOT, "421", ANY, ANY, SERVER, "MR603",
         "The server closes the connection", "Wait and try again."),
    _row({S.MAIL}, "5..", ANY, ANY, REJECT, "MR616",
         "The server refuses the sender", "Check the From address and its rights."),
    _row({S.RCPT}, "5..", ANY, ANY, REJECT, "MR617",
         "The server refuses the recipient", "Check the address, and the right to relay."),
    _row(ANYWHERE, "4..", ANY, ANY, DEFER, "MR505",
         "The server refuses for now", "It is tried again by itself."),
    _row(ANYWHERE, "5..", ANY, ANY, REJECT, "MR506",
         "The server refuses for good", "Read its answer; then restart with --failed."),
)
"""Every answer that is understood; the last rows catch the rest."""
# fmt: on


def classify(stage: Stage, reply: Reply) -> Meaning:
    """Return what a 4xx or 5xx `reply` at `stage` means.

    Raises:
        ValueError: `reply` is not a refusal.
    """
    for row in ROWS:
        if row.matches(stage, reply):
            return row.meaning
    msg = f"{reply} is not a refusal"
    raise ValueError(msg)


ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")
CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


def make_reply(code: int, lines: Iterable[str]) -> Reply:
    """Return a reply from its lines (without code), the enhanced code (RFC 2034, 4) taken out."""
    enhanced, texts = "", []
    for line in lines:
        text = CONTROL.sub(" ", line).strip()
        found = ENHANCED.match(text)
        if found:
            enhanced = enhanced or found[1]
            text = text[found.end() :]
        if text:
            texts.append(text)
    return Reply(code, enhanced, " ".join(texts))


QUEUE_IDS: Final = (
    re.compile(r"\bqueued as[ :]+<?([\w.+@=-]+)", re.IGNORECASE),  # Postfix, OpenSMTPD, Haraka
    re.compile(r"\bid=([\w.+@-]+)"),  # Exim
    re.compile(r"\[InternalId=(\d+)"),  # Exchange
    re.compile(r"^(?:ok:? )?([\w-]{6,}) message accepted", re.IGNORECASE),  # sendmail
    re.compile(r"^ok:?\s+\d+ qp (\d+)", re.IGNORECASE),  # qmail
    # Gmail, SES: the first word with a digit in it, after a time if there is one.
    re.compile(r"^ok:?\s+(?:\d+\s+)?<?(?=[^\s>]*\d)(\w[\w.+@-]{7,})", re.IGNORECASE),
)


def queue_id(reply: Reply) -> str:
    """Return the server's name for the message it just accepted, or "" where it tells none."""
    for pattern in QUEUE_IDS:
        found = pattern.search(reply.text)
        if found:
            return found[1].rstrip(".")
    return ""
