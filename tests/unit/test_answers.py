"""What servers' answers mean: an example for each row of the table."""

import pytest

from msgrun.model import Reply, Stage, Verdict
from msgrun.transport.answers import ROWS, FaultClass, classify, make_reply, queue_id

S = Stage
REJECT, DEFER = FaultClass.MESSAGE_REJECT, FaultClass.MESSAGE_DEFER
SERVER, QUOTA = FaultClass.SERVER_FAULT, FaultClass.QUOTA_FAULT

EXAMPLES = [
    # Quotas.
    (S.RCPT, "550 5.1.90 Your message can't be sent: daily limit for recipients", QUOTA, "MR618"),
    (S.DOT, "550 5.2.2 Submission quota exceeded", QUOTA, "MR618"),
    (S.RCPT, "550 5.4.5 Daily user sending limit exceeded", QUOTA, "MR618"),
    (S.DOT, "454 Throttling failure: Daily message quota exceeded.", QUOTA, "MR618"),
    # Throttling.
    (S.AUTH, "454 4.7.0 Too many login attempts, please try again later", SERVER, "MR618"),
    (S.DOT, "432 4.3.2 Concurrent connections limit exceeded", SERVER, "MR618"),
    (S.DOT, "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", SERVER, "MR618"),
    (S.RCPT, "421 4.7.32 From: header isn't aligned with either SPF or DKIM", SERVER, "MR833"),
    (S.DOT, "421 4.7.26 rate limited because it is unauthenticated", SERVER, "MR833"),
    (S.MAIL, "421 4.7.0 Try again later, closing connection", SERVER, "MR618"),
    (S.DOT, "421 4.7.28 unusual rate of unsolicited mail", SERVER, "MR618"),
    (S.RCPT, "451 4.7.650 The mail server [192.0.2.1] has been limited", SERVER, "MR618"),
    (S.DOT, "454 Throttling failure: Maximum sending rate exceeded.", SERVER, "MR618"),
    (S.MAIL, "450 4.7.1 Error: too many messages from 192.0.2.1", SERVER, "MR618"),
    # Opening.
    (S.BANNER, "421 4.3.2 Service not available", SERVER, "MR605"),
    (S.BANNER, "554 5.7.1 Service unavailable; client host blocked", SERVER, "MR605"),
    (S.RCPT, "504 5.5.2 <h>: Helo command rejected: need fully-qualified name", SERVER, "MR619"),
    (S.EHLO, "501 5.5.4 Invalid domain name", SERVER, "MR619"),
    (S.TLS, "454 4.7.0 TLS not available due to local problem", SERVER, "MR607"),
    (S.EHLO, "421 4.3.2 too busy", SERVER, "MR605"),
    (S.MAIL, "530 5.7.0 Must issue a STARTTLS command first", SERVER, "MR606"),
    # Authentication.
    (S.AUTH, "535 5.7.139 SmtpClientAuthentication is disabled for the Tenant.", SERVER, "MR615"),
    (S.AUTH, "535 5.7.139 the request did not meet the criteria", SERVER, "MR615"),
    (S.AUTH, "535 5.7.139 user is locked by your organization's security defaults policy",
     SERVER, "MR615"),
    (S.AUTH, "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.",
     SERVER, "MR615"),
    (S.DOT, "550 5.7.30 Basic authentication is not supported for Client Submission",
     SERVER, "MR615"),
    (S.AUTH, "535 5.7.8 Username and Password not accepted. For more information", SERVER, "MR615"),
    (S.AUTH, "534 5.7.9 Application-specific password required.", SERVER, "MR615"),
    (S.AUTH, "535 5.7.3 Authentication unsuccessful", SERVER, "MR615"),
    (S.MAIL, "530 5.7.57 Client not authenticated to send mail", SERVER, "MR615"),
    (S.AUTH, "535 5.7.8 Error: authentication failed", SERVER, "MR615"),
    (S.AUTH, "454 4.7.0 Temporary authentication failure", SERVER, "MR615"),
    (S.AUTH, "421 4.3.2 closing", SERVER, "MR603"),
    (S.TLS, "421 4.3.2 closing", SERVER, "MR603"),
    # The sender.
    (S.DOT, "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
     SERVER, "MR616"),
    (S.DOT, "554 5.2.252 SendAsDenied; billing@acme.test not allowed", SERVER, "MR616"),
    (S.DOT, "554 STOREDRV.Submission.Exception:SendAsDeniedException", SERVER, "MR616"),
    (S.RCPT, "553 5.7.1 <b@acme.test>: Sender address rejected: not owned by user x",
     SERVER, "MR616"),
    (S.DOT, "554 Message rejected: Email address is not verified.", SERVER, "MR616"),
    (S.RCPT, "553 5.7.1 <b@acme.test>: Sender address rejected: not logged in", SERVER, "MR616"),
    (S.DOT, "550 The from address does not match a verified Sender Identity.", SERVER, "MR616"),
    # Relaying.
    (S.RCPT, "550 5.7.64 TenantAttribution; Relay Access Denied", SERVER, "MR617"),
    (S.RCPT, "554 5.7.1 <a@b.test>: Relay access denied", REJECT, "MR617"),
    (S.RCPT, "454 4.7.1 <a@b.test>: Relay access denied", DEFER, "MR617"),
    # Size.
    (S.MAIL, "552 5.3.4 Message size exceeds fixed limit", REJECT, "MR405"),
    (S.DOT, "552 Message exceeds maximum size", REJECT, "MR405"),
    # The mailbox.
    (S.RCPT, "550 5.1.1 User unknown", REJECT, "MR617"),
    (S.RCPT, "550 5.1.10 Recipient not found", REJECT, "MR617"),
    (S.RCPT, "550 5.4.1 Recipient address rejected: Access denied", REJECT, "MR617"),
    (S.RCPT, "452 4.2.2 The email account is over quota", DEFER, "MR505"),
    (S.RCPT, "552 5.2.2 Mailbox full", REJECT, "MR506"),
    (S.RCPT, "450 4.7.1 Client host rejected: please try again", DEFER, "MR505"),
    (S.RCPT, "451 4.7.1 Greylisting in action, please come back later", DEFER, "MR505"),
    (S.RCPT, "450 4.2.0 Greylisted, see http://postgrey.example", DEFER, "MR505"),
    # Sender authentication.
    (S.DOT, "550 5.7.26 Your email has been blocked: unauthenticated", REJECT, "MR833"),
    (S.DOT, "550 5.7.509 Access denied, domain does not pass DMARC", REJECT, "MR833"),
    (S.DOT, "550 5.7.515 Access denied", REJECT, "MR833"),
    (S.RCPT, "550 5.7.23 SPF validation failed", REJECT, "MR833"),
    (S.DOT, "550 5.7.30 blocked because DKIM didn't pass", REJECT, "MR833"),
    (S.DOT, "550 5.7.25 The IP address does not have a PTR record", REJECT, "MR841"),
    # By stage and class.
    (S.EHLO, "550 go away", SERVER, "MR605"),
    (S.TLS, "500 unrecognized", SERVER, "MR607"),
    (S.RCPT, "421 4.3.2 shutting down", SERVER, "MR603"),
    (S.MAIL, "550 5.1.8 Bad sender", REJECT, "MR616"),
    (S.RCPT, "550 no", REJECT, "MR617"),
    (S.DOT, "451 4.3.0 try later", DEFER, "MR505"),
    (S.DOT, "421 4.3.2 shutting down", DEFER, "MR505"),
    (S.DOT, "554 5.6.0 content refused", REJECT, "MR506"),
]  # fmt: skip


def reply(line: str) -> Reply:
    return make_reply(int(line[:3]), [line[4:]])


@pytest.mark.parametrize(
    ("stage", "line", "fault_class", "finding"), EXAMPLES, ids=[e[1][:50] for e in EXAMPLES]
)
def test_an_answer_means(stage: Stage, line: str, fault_class: FaultClass, finding: str) -> None:
    meaning = classify(stage, reply(line))
    assert (meaning.fault_class, meaning.finding) == (fault_class, finding)


@pytest.mark.parametrize(
    "row", ROWS, ids=[f"{i}: {r.meaning.diagnosis}" for i, r in enumerate(ROWS)]
)
def test_every_row_decides_an_example_and_says_what_to_do(row: object) -> None:
    deciding = [
        next(candidate for candidate in ROWS if candidate.matches(stage, reply(line)))
        for stage, line, _, _ in EXAMPLES
    ]
    assert any(row is decider for decider in deciding)
    assert all(meaning.diagnosis and meaning.remedy for meaning in (r.meaning for r in deciding))


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("code", [400, 421, 450, 499, 500, 530, 552, 599])
def test_every_refusal_means_something_at_every_stage(stage: Stage, code: int) -> None:
    assert classify(stage, Reply(code, "", "")).finding.startswith("MR")


def test_what_is_no_refusal_has_no_meaning() -> None:
    with pytest.raises(ValueError, match="250"):
        classify(Stage.DOT, Reply(250, "2.0.0", "ok"))


def test_faults_of_the_server_cost_no_message_its_place() -> None:
    quota = classify(Stage.RCPT, reply("550 5.4.5 Daily user sending limit exceeded"))
    greylisted = classify(Stage.RCPT, reply("450 4.7.1 Greylisted"))
    unknown = classify(Stage.RCPT, reply("550 5.1.1 no such user"))
    assert (quota.verdict, greylisted.verdict, unknown.verdict) == (
        Verdict.SERVER_FAULT,
        Verdict.DEFERRED,
        Verdict.REJECTED,
    )


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["2.1.0 Ok"], Reply(250, "2.1.0", "Ok")),
        (["Ok"], Reply(250, "", "Ok")),
        (["5.7.26 line one", "5.7.26 line two"], Reply(250, "5.7.26", "line one line two")),
        (["2.0.0"], Reply(250, "2.0.0", "")),
        (["10.2.0.0 is my address"], Reply(250, "", "10.2.0.0 is my address")),
        (["2.1.0.4 is an address"], Reply(250, "", "2.1.0.4 is an address")),
        (["a\x1b[31mb\x00c"], Reply(250, "", "a [31mb c")),
        ([], Reply(250, "", "")),
    ],
)
def test_an_answer_is_taken_apart(lines: list[str], expected: Reply) -> None:
    assert make_reply(250, lines) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2.0.0 Ok: queued as 4Zf1Qk2Xh8z1", "4Zf1Qk2Xh8z1"),
        ("OK id=1tFzXy-00000000abc-1DeF", "1tFzXy-00000000abc-1DeF"),
        (
            "2.6.0 <one@acme.test> [InternalId=1234567, Hostname=x.example] Queued mail",
            "1234567",
        ),
        ("2.0.0 4AP7Nb1x012345 Message accepted for delivery", "4AP7Nb1x012345"),
        ("2.0.0 OK  1730000000 5b1f17b1804b1-43a.12 - gsmtp", "5b1f17b1804b1-43a.12"),
        ("Ok 0102018f1c2d3e4f-aaaa-bbbb-000000", "0102018f1c2d3e4f-aaaa-bbbb-000000"),
        ("2.0.0 1a2b3c4d Message accepted for delivery", "1a2b3c4d"),
        ("2.0.0 Ok", ""),
        ("OK", ""),
        ("2.0.0 OK accepted", ""),
        ("ok 1730000000 qp 12345", "12345"),
        ("thank you", ""),
    ],
)
def test_the_queue_id_is_found(text: str, expected: str) -> None:
    assert queue_id(make_reply(250, [text])) == expected
