"""DKIM's key records, names of addresses, providers."""

import base64
from ipaddress import ip_address

import pytest

from domain_world import rsa_key
from msgrun.deliverability.dkim import KeyState, check_key, judge_key
from msgrun.deliverability.providers import free_mail, over_threshold
from msgrun.deliverability.ptr import check_reverse
from msgrun.deliverability.resolver import Resolver
from name_server import NameServer

ED25519 = base64.b64encode(bytes(range(32))).decode()
GOOD = rsa_key(2048)


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        (f"v=DKIM1; k=rsa; p={GOOD}", "rsa, 2048 bits"),
        (f"p={GOOD}", "rsa, 2048 bits"),
        (f"v=DKIM1; p={GOOD[:100]} {GOOD[100:]};", "rsa, 2048 bits"),
        (f"v=DKIM1; h=sha1:sha256; s=email; t=y; p={rsa_key(1024)}", "rsa, 1024 bits"),
        (f"v=DKIM1; k=ed25519; p={ED25519}", "ed25519"),
        (f"v=DKIM1; n=a note; x=unknown; p={GOOD}", "rsa, 2048 bits"),
    ],
)
def test_a_good_key_is_told_with_its_kind(record: str, kind: str) -> None:
    assert judge_key(record) == ("", kind)


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        ("v=DKIM1; p=", "revoked"),
        ("v=DKIM1; k=rsa", "p= with the key is missing"),
        (f"v=DKIM1; p={rsa_key(512)}", "512 bits"),
        (f"v=DKIM1; p={rsa_key(1016)}", "1016 bits"),
        (f"v=DKIM1; p={rsa_key(16384)}", "16384 bits"),
        (f"v=DKIM2; p={GOOD}", "v=DKIM2"),
        (f"p={GOOD}; v=DKIM1", "stand first"),
        ("v=DKIM1; p=!!!", "no base64"),
        (f"v=DKIM1; p={GOOD[:40]}", "no RSA key"),
        (f"v=DKIM1; k=ed25519; p={GOOD}", "32 bytes"),
        (f"v=DKIM1; k=dsa; p={GOOD}", "k=dsa"),
        (f"v=DKIM1; h=sha1; p={GOOD}", "sha256"),
        (f"v=DKIM1; s=tlsrpt; p={GOOD}", "not for e-mail"),
        (f"v=DKIM1; p={GOOD}; p={GOOD}", "twice"),
        ("some text", "is no tag"),
    ],
)
def test_what_is_wrong_with_a_key_is_named(record: str, fault: str) -> None:
    assert fault in judge_key(record)[0]


def test_missing_twice_and_unanswered_keys_are_kept_apart(
    dns: NameServer, resolver: Resolver
) -> None:
    dns.txt("twice._domainkey.shop.internal", f"p={GOOD}", f"v=DKIM1; p={GOOD}")
    dns.failing.add("down._domainkey.shop.internal")
    dns.add("alias._domainkey.shop.internal", "CNAME", "key.relay.internal.")
    dns.txt("key.relay.internal", f"p={GOOD}")

    states = [
        check_key(resolver, selector, "shop.internal").state
        for selector in ("none", "twice", "down", "alias")
    ]

    assert states == [KeyState.MISSING, KeyState.BAD, KeyState.UNKNOWN, KeyState.GOOD]


def test_a_name_must_lead_back_to_its_address(dns: NameServer, resolver: Resolver) -> None:
    dns.zone(
        """
        1.2.0.192.in-addr.arpa PTR good.internal.
        good.internal          A   192.0.2.1
        2.2.0.192.in-addr.arpa PTR liar.internal.
        liar.internal          A   192.0.2.99
        """
    )
    dns.add(ip_address("2001:db8::1").reverse_pointer, "PTR", "six.internal.")
    dns.add("six.internal", "AAAA", "2001:db8:0::1")

    confirmed = [
        check_reverse(resolver, ip_address(each)).names
        for each in ("192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1")
    ]

    assert confirmed == [("good.internal",), (), (), ("six.internal",)]


def test_a_name_that_cannot_be_looked_up_is_not_known(dns: NameServer, resolver: Resolver) -> None:
    dns.add("1.2.0.192.in-addr.arpa", "PTR", "slow.internal.")
    dns.failing.add("slow.internal")

    assert not check_reverse(resolver, ip_address("192.0.2.1")).known
    assert check_reverse(resolver, ip_address("192.0.2.3")).known


@pytest.mark.parametrize(
    ("domain", "host", "provider"),
    [
        ("gmail.com", "smtp.sendgrid.net", "Google"),
        ("gmail.com", "smtp.gmail.com", None),
        ("GMX.de", "mail.shop.internal", "GMX"),
        ("gmx.de", "mail.gmx.net", None),
        ("outlook.com", "smtp.office365.com", None),
        ("outlook.com", "smtp.notoutlook.com", "Microsoft"),
        ("acme.de", "smtp.gmail.com", None),
    ],
)
def test_free_mail_through_another_server(domain: str, host: str, provider: str | None) -> None:
    assert free_mail(domain, host) == provider


def test_recipients_are_counted_by_provider() -> None:
    domains = ["gmail.com"] * 2 + ["googlemail.com"] + ["hotmail.de"] * 2 + ["acme.de"] * 9

    assert over_threshold(domains, 3) == {"Google": 3}
    assert over_threshold(domains, 2) == {"Google": 3, "Microsoft": 2}
    assert over_threshold(domains) == {}
