"""The doctor in front of a real Postfix with one setting wrong at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from login_service import login_service
from postfix_server import Postfix

from doctor_world import World, one
from msgrun.database import Database
from msgrun.doctor import Report, Status

CHAIN = "chain.pem"
CERTIFICATE = "{root}/" + CHAIN
NOT_OK = (Status.FAIL, Status.WARN, Status.UNKNOWN, Status.CRASHED)


@pytest.fixture(scope="session")
def authority(running_postfix: Postfix) -> trustme.CA:
    """An authority that has given the Postfix a certificate."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(running_postfix.root / CHAIN))
    return authority


@pytest.fixture
def world(
    sqlite_database: Database, tmp_path: Path, postfix: Postfix, authority: trustme.CA
) -> World:
    """The healthy office; its message was sent, and its server is the Postfix."""
    world = World(sqlite_database, tmp_path)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    world.server["port"] = postfix.port
    world.sent(world.run())
    return world


def asked(world: World, customer: str | None = "C1") -> Report:
    return world.ask(customer, offline=False)


def wrong(report: Report) -> list[str]:
    return [each.code for each in report.findings if each.status in NOT_OK]


def test_a_postfix_that_takes_our_mail_is_in_order(world: World, postfix: Postfix) -> None:
    report = asked(world)

    assert wrong(report) == []
    assert report.primary == "MR508"
    assert "rcpt=1 rset=1 quit=1" in last_dialogue(postfix), "RCPT was asked, and DATA was not"
    assert "data=" not in last_dialogue(postfix)
    assert postfix.messages == []


@pytest.mark.parametrize(
    ("settings", "code", "reply", "meaning", "remedy"),
    [
        pytest.param(
            {
                "mynetworks": "10.99.99.0/24",
                "virtual_mailbox_domains": "ours.test",
                "smtpd_recipient_restrictions": "permit_mynetworks, reject_unauth_destination",
            },
            "MR617",
            "Relay access denied",
            "does not relay for us",
            "Authenticate",
            id="relay denied",
        ),
        pytest.param(
            {"smtpd_tls_security_level": "encrypt", "smtpd_tls_chain_files": CERTIFICATE},
            "MR606",
            "530 5.7.0 Must issue a STARTTLS command first",
            "wants TLS first",
            'security = "starttls"',
            id="TLS required",
        ),
        pytest.param(
            {
                "smtpd_sender_restrictions": "check_sender_access static:"
                "{530 5.7.0 Authentication required}",
                "smtpd_delay_reject": "no",
            },
            "MR615",
            "530 5.7.0",
            "wants a login first",
            "username and password",
            id="AUTH required",
        ),
        pytest.param(
            {
                "smtpd_sasl_auth_enable": "yes",
                "smtpd_sasl_type": "dovecot",
                "smtpd_sasl_path": "{root}/login",
                "smtpd_sender_login_maps": "static:somebody",
                "smtpd_sender_restrictions": "reject_unauthenticated_sender_login_mismatch",
                "smtpd_delay_reject": "no",
            },
            "MR616",
            "553 5.7.1 <billing@sender.test>: Sender address rejected",
            "may not send as this From address",
            "send-as right",
            id="sender not owned",
        ),
        pytest.param(
            {"message_size_limit": "200"},
            "MR405",
            "the server takes 200",
            "",
            "smaller",
            id="size limit",
        ),
    ],
)
def test_a_setting_of_postfix_that_stands_in_the_way_is_named(
    world: World,
    postfix: Postfix,
    settings: dict[str, str],
    code: str,
    reply: str,
    meaning: str,
    remedy: str,
) -> None:
    with login_service(postfix.root / "login"), set_to(postfix, settings):
        report = asked(world)

    assert wrong(report) == [code], report.findings
    finding = one(report, code)
    assert finding.severity == "error"
    assert reply in " | ".join(finding.evidence)
    assert meaning in " | ".join(finding.evidence)
    assert remedy in finding.remedy
    assert postfix.messages == []


def test_what_concerns_every_customer_is_seen_without_one(world: World, postfix: Postfix) -> None:
    needed = {"smtpd_tls_security_level": "encrypt", "smtpd_tls_chain_files": CERTIFICATE}
    world.server["ca_file"] = "ca.pem"
    with set_to(postfix, needed):
        report = asked(world, None)
        world.server |= {"security": "starttls"}
        mended = asked(world, None)

    assert (report.primary, report.exit_code) == ("MR606", 4)
    assert f'security = "starttls" on port {postfix.port}: works' in one(report, "MR606").evidence
    assert mended.exit_code == 0


@contextmanager
def set_to(postfix: Postfix, settings: dict[str, str]) -> Iterator[None]:
    """Run the Postfix with settings that differ, and as it was afterwards."""
    postfix.configure({k: v.replace("{root}", str(postfix.root)) for k, v in settings.items()})
    try:
        yield
    finally:
        postfix.configure({})


def last_dialogue(postfix: Postfix) -> str:
    """Return what the log counts of the last connection that asked about a sender."""
    return [line for line in postfix.log.splitlines() if " mail=1 " in line][-1]
