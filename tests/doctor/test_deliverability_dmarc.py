"""DMARC's walk up the tree, its records, alignment (RFC 9989)."""

import pytest

from msgrun.deliverability.dmarc import aligned, walk
from msgrun.deliverability.resolver import Resolver
from name_server import NameServer


def asked(dns: NameServer) -> list[str]:
    return [name for name, _, _ in dns.asked]


def test_the_walk_goes_up_to_the_last_label(dns: NameServer, resolver: Resolver) -> None:
    walk(resolver, "a.mail.shop.internal")

    assert asked(dns) == [
        "_dmarc.a.mail.shop.internal",
        "_dmarc.mail.shop.internal",
        "_dmarc.shop.internal",
        "_dmarc.internal",
    ]


def test_a_long_name_takes_eight_queries_at_most(dns: NameServer, resolver: Resolver) -> None:
    walk(resolver, "a.b.c.d.e.f.g.h.i.j.mail.shop.internal")

    assert len(dns.asked) == 8
    assert asked(dns)[1] == "_dmarc.g.h.i.j.mail.shop.internal"


def test_eight_labels_take_eight_queries(dns: NameServer, resolver: Resolver) -> None:
    walk(resolver, "a.b.c.d.e.mail.shop.internal")

    assert len(dns.asked) == 8
    assert asked(dns)[1] == "_dmarc.b.c.d.e.mail.shop.internal"


@pytest.mark.parametrize(
    ("records", "organizational", "policy"),
    [
        ({}, "a.mail.shop.internal", ""),
        ({"a.mail.shop.internal": "p=reject"}, "a.mail.shop.internal", "reject"),
        ({"shop.internal": "p=reject"}, "shop.internal", "reject"),
        ({"shop.internal": "p=reject; sp=none"}, "shop.internal", "none"),
        ({"mail.shop.internal": "p=none", "shop.internal": "p=quarantine"}, "shop.internal",
         "quarantine"),
        ({"a.mail.shop.internal": "p=none", "shop.internal": "p=reject"}, "shop.internal", "none"),
        ({"mail.shop.internal": "p=none; psd=n", "shop.internal": "p=reject"},
         "mail.shop.internal", "none"),
        ({"internal": "p=reject; psd=y"}, "shop.internal", "reject"),
        ({"a.mail.shop.internal": "p=none; psd=y", "shop.internal": "p=reject"}, "shop.internal",
         "none"),
        ({"internal": "p=reject; psd=y", "shop.internal": "p=none"}, "shop.internal", "none"),
        ({"shop.internal": "p=reject; t=y"}, "shop.internal", "quarantine"),
        ({"a.mail.shop.internal": "rua=mailto:a@shop.internal"}, "a.mail.shop.internal", "none"),
        ({"a.mail.shop.internal": "p=discard"}, "a.mail.shop.internal", ""),
    ],
)  # fmt: skip
def test_organizational_domain_and_policy(
    dns: NameServer, resolver: Resolver, records: dict[str, str],
    organizational: str, policy: str,
) -> None:  # fmt: skip
    for domain, tags in records.items():
        dns.txt(f"_dmarc.{domain}", f"v=DMARC1; {tags}")

    walked = walk(resolver, "a.mail.shop.internal")

    assert (walked.organizational, walked.policy) == (organizational, policy)


def test_psd_ends_the_walk(dns: NameServer, resolver: Resolver) -> None:
    dns.txt("_dmarc.mail.shop.internal", "v=DMARC1; p=none; psd=n")

    walk(resolver, "a.mail.shop.internal")

    assert "_dmarc.shop.internal" not in asked(dns)


@pytest.mark.parametrize(
    ("texts", "fault"),
    [
        (["v=dmarc1; p=none"], "exactly"),
        (["p=none; v=DMARC1"], "exactly"),
        (["v=DMARC1; p=none", "v=DMARC1; p=reject"], "2 records"),
        (["v=DMARC1"], "p= is missing"),
        (["v=DMARC1; p=block"], "p=block is none of none, quarantine, reject"),
        (["v=DMARC1; p=none; sp=x"], "sp=x"),
        (["v=DMARC1; p=none; adkim=strict"], "adkim=strict"),
        (["v=DMARC1; p=none; rua=dmarc@shop.internal"], "mailto:"),
        (["v=DMARC1; p=none; p=reject"], "twice"),
        (["v=DMARC1; p=none; quarantine"], "'quarantine' is no tag"),
    ],
)
def test_faults_of_a_record_are_named(
    dns: NameServer, resolver: Resolver, texts: list[str], fault: str
) -> None:
    dns.txt("_dmarc.shop.internal", *texts)

    (faults,) = [step.faults for step in walk(resolver, "shop.internal").steps if step.faults]

    assert fault in "; ".join(faults)


@pytest.mark.parametrize(
    "record",
    ["v=DMARC1; p=none", "v=DMARC1;p=reject;", "v = DMARC1 ; p = none", "v=DMARC1; p=None; fo=1",
     "v=DMARC1; p=none; pct=50; unknown=x", "v=DMARC1; p=none; rua=mailto:a@b.de, https://c.de/"],
)  # fmt: skip
def test_a_sound_record_has_no_faults(dns: NameServer, resolver: Resolver, record: str) -> None:
    dns.txt("_dmarc.shop.internal", record)

    walked = walk(resolver, "shop.internal")

    assert [step.faults for step in walked.steps if step.faults] == []
    assert walked.source is not None


def test_other_texts_at_that_name_are_no_faults(dns: NameServer, resolver: Resolver) -> None:
    dns.txt("_dmarc.shop.internal", "verification=123")

    assert not any(step.faults for step in walk(resolver, "shop.internal").steps)


def test_an_unanswered_query_leaves_the_policy_open(dns: NameServer, resolver: Resolver) -> None:
    dns.failing.add("_dmarc.shop.internal")
    dns.txt("_dmarc.own.shop.internal", "v=DMARC1; p=reject")

    assert not walk(resolver, "mail.shop.internal").known
    assert walk(resolver, "own.shop.internal").known


@pytest.mark.parametrize(
    ("record", "other", "same"),
    [
        ("v=DMARC1; p=none", "shop.internal", True),
        ("v=DMARC1; p=none", "bounce.shop.internal", True),
        ("v=DMARC1; p=none; aspf=s", "bounce.shop.internal", False),
        ("v=DMARC1; p=none; adkim=s", "bounce.shop.internal", True),
        ("v=DMARC1; p=none", "relay.internal", False),
        ("v=DMARC1; p=none", "evilshop.internal", False),
        ("", "bounce.shop.internal", True),
        ("", "relay.internal", False),
        ("", "internal", False),
    ],
)
def test_alignment(
    dns: NameServer, resolver: Resolver, record: str, other: str, same: bool
) -> None:
    if record:
        dns.txt("_dmarc.shop.internal", record)

    assert aligned(resolver, walk(resolver, "shop.internal"), other, "aspf") is same


def test_alignment_is_open_where_a_query_was_not_answered(
    dns: NameServer, resolver: Resolver
) -> None:
    dns.txt("_dmarc.shop.internal", "v=DMARC1; p=none")
    dns.failing.add("_dmarc.relay.internal")

    assert aligned(resolver, walk(resolver, "shop.internal"), "relay.internal", "aspf") is None
