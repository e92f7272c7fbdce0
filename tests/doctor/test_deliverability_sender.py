"""The stage of the sender's domain: MR811 to MR843."""

import json

import pytest

from doctor_world import one
from domain_world import IP, DomainWorld, codes, reasons, rsa_key
from msgrun.config import ConfigError
from msgrun.config.doctor import DoctorConfig
from msgrun.doctor import Status
from msgrun.doctor.bulk import bulk_finding

OTHER = "192.0.2.11"


def spf(world: DomainWorld, *records: str) -> None:
    world.dns.forget("shop.internal", "TXT")
    if records:
        world.dns.txt("shop.internal", *records)
    else:
        world.dns.add("shop.internal", "A", "192.0.2.1")


def test_a_domain_in_order_has_nothing_to_report(world: DomainWorld) -> None:
    report = world.ask()

    assert codes(report, "sender") == []
    told = [each.evidence[0] for each in report.findings if each.stage == "sender"]
    assert told == [
        f"SPF passes for {IP}",
        "DKIM key k1._domainkey.shop.internal: rsa, 1024 bits",
        "DMARC policy for shop.internal: none",
        f"{IP} is out.shop.internal",
    ]


def test_no_spf_record_gives_the_record_to_publish(world: DomainWorld) -> None:
    spf(world)

    finding = one(world.ask(), "MR811")

    assert (finding.status, finding.severity) == (Status.WARN, "warning")
    assert finding.remedy == f'publish shop.internal. IN TXT "v=spf1 ip4:{IP} ~all"'


def test_several_spf_records_are_shown_and_merged(world: DomainWorld) -> None:
    spf(world, f"v=spf1 ip4:{IP} -all", "v=spf1 mx ~all")

    finding = one(world.ask(), "MR812")

    assert set(finding.evidence) == {
        f'shop.internal. IN TXT "v=spf1 ip4:{IP} -all"',
        'shop.internal. IN TXT "v=spf1 mx ~all"',
    }
    assert "~all" in finding.remedy
    assert finding.remedy.count("v=spf1") == 1


def test_too_many_look_ups_are_counted(world: DomainWorld) -> None:
    spf(world, f"v=spf1 ip4:{IP} " + "a:out.shop.internal " * 12 + "-all")

    finding = one(world.ask(), "MR813")

    assert finding.evidence[0].startswith("12 look-ups (10 are allowed)")
    assert "v=spf1" in finding.evidence[-1]


def test_a_loop_is_shown(world: DomainWorld) -> None:
    spf(world, "v=spf1 include:shop.internal -all")

    assert "shop.internal → shop.internal" in " ".join(one(world.ask(), "MR813").evidence)


def test_a_declared_address_that_does_not_pass_names_the_mechanism(world: DomainWorld) -> None:
    world.server["outbound_ips"] = [IP, OTHER]

    finding = one(world.ask(), "MR814")

    assert finding.evidence == (
        f"{OTHER}: fail, by '-all' in the record of shop.internal",
        f'shop.internal. IN TXT "v=spf1 ip4:{IP} -all"',
    )
    assert finding.remedy == (f'publish shop.internal. IN TXT "v=spf1 ip4:{OTHER} ip4:{IP} -all"')


@pytest.mark.parametrize("declared", [True, False])
def test_a_record_with_a_mistake_lets_nothing_pass(world: DomainWorld, declared: bool) -> None:
    spf(world, f"v=spf1 ipv4:{IP} -all")
    if not declared:
        del world.server["outbound_ips"]

    assert f"'ipv4:{IP}'" in one(world.ask(), "MR814").evidence[0]


def test_what_is_not_declared_is_left_out_not_unknown(world: DomainWorld) -> None:
    del world.server["outbound_ips"], world.sender["dkim_selectors"]

    report = world.ask()

    assert codes(report, "sender") == []
    assert reasons(report, "sender") == [
        "SPF: no outbound_ips under [servers.default], nothing to judge",
        "DKIM: no dkim_selectors under [senders.billing], nothing to judge",
    ]


def test_a_missing_key_names_where_it_was_looked_for(world: DomainWorld) -> None:
    world.sender["dkim_selectors"] = ["k1", "K2"]

    finding = one(world.ask(), "MR821")

    assert finding.subject == "k2._domainkey.shop.internal"
    assert finding.remedy.startswith("publish k2._domainkey.shop.internal. IN TXT")


def test_a_bad_key_is_shown_word_for_word(world: DomainWorld) -> None:
    world.dns.txt("k2._domainkey.shop.internal", "v=DKIM1; p=")
    world.sender["dkim_selectors"] = ["k2"]

    finding = one(world.ask(), "MR822")

    assert finding.evidence == (
        "p= is empty: the key was revoked",
        'k2._domainkey.shop.internal. IN TXT "v=DKIM1; p="',
    )


def test_keys_are_looked_for_under_the_domain_that_signs(world: DomainWorld) -> None:
    world.dns.txt("k1._domainkey.relay.internal", f"p={rsa_key(2048)}")
    world.sender["dkim_domain"] = "relay.internal"

    assert codes(world.ask(), "sender") == []
    assert world.dns.questions("k1._domainkey.relay.internal", "TXT") == 1


def test_no_dmarc_shows_the_walk(world: DomainWorld) -> None:
    world.dns.forget("_dmarc.shop.internal", "TXT")

    finding = one(world.ask(), "MR831")

    assert [line.split(" ")[0] for line in finding.evidence] == [
        "_dmarc.shop.internal", "_dmarc.internal",
    ]  # fmt: skip
    assert '_dmarc.shop.internal. IN TXT "v=DMARC1; p=none; rua=mailto:' in finding.remedy


def test_an_invalid_dmarc_record_is_shown(world: DomainWorld) -> None:
    world.dns.forget("_dmarc.shop.internal", "TXT")
    world.dns.txt("_dmarc.shop.internal", "v=DMARC1; p=deny")

    report = world.ask()

    assert one(report, "MR832").evidence == (
        "_dmarc.shop.internal: p=deny is none of none, quarantine, reject",
        '_dmarc.shop.internal. IN TXT "v=DMARC1; p=deny"',
    )
    assert "MR831" not in {each.code for each in report.findings}


def misaligned(world: DomainWorld, policy: str) -> None:
    world.dns.forget("_dmarc.shop.internal", "TXT")
    world.dns.txt("_dmarc.shop.internal", f"v=DMARC1; p={policy}")
    world.dns.txt("k1._domainkey.relay.internal", f"p={rsa_key(2048)}")
    world.sender["dkim_domain"] = "relay.internal"
    spf(world, "v=spf1 -all")


@pytest.mark.parametrize(
    ("policy", "status", "severity"),
    [("none", "warn", "warning"), ("quarantine", "warn", "warning"), ("reject", "fail", "error")],
)
def test_neither_aligned_weighs_by_the_policy(
    world: DomainWorld, policy: str, status: str, severity: str
) -> None:
    misaligned(world, policy)

    finding = one(world.ask(), "MR833")

    assert (finding.status, finding.severity) == (status, severity)
    assert f'"v=DMARC1; p={policy}"' in finding.evidence[-1]
    assert "relay.internal" in " ".join(finding.evidence)


def test_one_aligned_way_is_enough(world: DomainWorld) -> None:
    misaligned(world, "reject")
    spf(world, f"v=spf1 ip4:{IP} -all")

    assert codes(world.ask(), "sender") == []


def test_alignment_is_not_guessed_when_one_way_was_not_declared(world: DomainWorld) -> None:
    misaligned(world, "reject")
    del world.sender["dkim_selectors"]

    assert codes(world.ask(), "sender") == [("MR814", "warn")]


def test_after_sending_even_a_reject_policy_only_warns(world: DomainWorld) -> None:
    misaligned(world, "reject")
    world.sent(world.run())

    report = world.ask()

    assert one(report, "MR833").status is Status.WARN
    assert report.exit_code == 0


def test_an_open_question_at_p_reject_decides_in_the_overview(world: DomainWorld) -> None:
    misaligned(world, "reject")
    world.dns.failing.add("k1._domainkey.relay.internal")
    world.dns.failing.add("shop.internal")

    unknown = [each for each in world.ask().findings if each.code == "MR091" and each.decides]

    assert ["whether mail from shop.internal" in each.cause for each in unknown] == [True]


@pytest.mark.parametrize(
    "name",
    ["shop.internal", "k1._domainkey.shop.internal", "_dmarc.shop.internal",
     "10.2.0.192.in-addr.arpa", "out.shop.internal"],
)  # fmt: skip
def test_each_part_that_is_not_answered_is_unknown_and_nothing_else(
    world: DomainWorld, name: str
) -> None:
    world.dns.failing.add(name)

    assert set(codes(world.ask(), "sender")) == {("MR091", "unknown")}


def test_an_address_without_a_confirmed_name(world: DomainWorld) -> None:
    world.dns.forget("out.shop.internal", "A")
    world.dns.add("out.shop.internal", "A", OTHER)

    finding = one(world.ask(), "MR841")

    assert finding.evidence == (
        "10.2.0.192.in-addr.arpa PTR out.shop.internal",
        f"out.shop.internal A {OTHER}",
    )
    assert "10.2.0.192.in-addr.arpa. IN PTR" in finding.remedy


def test_free_mail_through_another_server_needs_no_name_service(world: DomainWorld) -> None:
    world.sender["address"] = "shop@gmail.com"
    world.server["host"] = "mail.shop.internal"
    world.dns.failing.add("*")

    finding = one(world.ask(), "MR842")

    assert finding.evidence == (
        "From is shop@gmail.com, a mailbox of Google", "the server is mail.shop.internal",
    )  # fmt: skip


def test_bulk_is_an_information_that_never_fails() -> None:
    (finding,) = bulk_finding("run 7", ["gmail.com"] * 3 + ["acme.de"] * 9, threshold=3)

    assert (finding.code, finding.status, finding.severity) == ("MR843", Status.PASS, "info")
    assert finding.evidence[0].startswith("run 7: 3 recipients at Google;")
    assert bulk_finding("run 7", ["gmail.com"] * 2, threshold=3) == []


def test_a_big_run_is_counted_by_provider(
    world: DomainWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    from msgrun.doctor import bulk, readiness

    monkeypatch.setattr(bulk, "BULK", 2)
    monkeypatch.setattr(bulk.bulk_finding, "__defaults__", (2,))
    monkeypatch.setattr(readiness, "BULK", 2)
    world.change("addresses", address="a@gmail.com")
    world.dns.add("gmail.com", "A", "192.0.2.1")
    world.add_invoice("I2", "INV-2")

    overview = one(world.ask(None), "MR843").evidence[0]
    world.sent(world.run())

    assert overview.startswith("monthly: 2 recipients at Google")
    assert one(world.ask(), "MR843").evidence[0].startswith("run 1: 2 recipients at Google")


def test_without_a_customer_each_sender_in_use_is_looked_at_once(world: DomainWorld) -> None:
    world.further["weekly"] = world.definition | {"period": "2026-10"}
    spf(world)

    report = world.ask(None)

    assert codes(report, "sender") == [("MR811", "warn")]
    assert world.dns.questions("shop.internal", "TXT") == 1


def test_a_failing_name_server_leaves_everything_of_the_sender_unknown(world: DomainWorld) -> None:
    world.dns.failing.add("*")

    report = world.ask(None)

    assert {status for _, status in codes(report, "sender")} == {"unknown"}


@pytest.mark.parametrize(
    ("written", "nameserver"),
    [
        ("", None),
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("192.0.2.53:5353", ("192.0.2.53", 5353)),
        ("2001:db8::53", ("2001:db8::53", 53)),
        ("[2001:db8::53]", ("2001:db8::53", 53)),
        ("[2001:db8::53]:5353", ("2001:db8::53", 5353)),
        ("localhost:5353", ("127.0.0.1", 5353)),
    ],
)
def test_the_resolver_setting(written: str, nameserver: tuple[str, int] | None) -> None:
    assert DoctorConfig(resolver=written).nameserver == nameserver


@pytest.mark.parametrize("written", ["dns.internal", "192.0.2.53:0", "192.0.2.53:x", "192.0.2"])
def test_a_resolver_that_cannot_be_one_is_refused(world: DomainWorld, written: str) -> None:
    from msgrun.config import load_config

    world.workspace  # noqa: B018 - writes msgrun.toml
    file = world.folder / "msgrun.toml"
    file.write_text(file.read_text() + f"\n[doctor]\nresolver = {json.dumps(written)}\n")

    with pytest.raises(ConfigError, match="resolver"):
        load_config(file, environ={})
