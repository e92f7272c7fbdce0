"""The stage of the recipient's domain: MR801 to MR803, and what is not known."""

import pytest

from doctor_world import one
from domain_world import DomainWorld, codes, reasons
from msgrun.doctor import Status
from msgrun.states import MessageState, RunStatus


def finished(world: DomainWorld) -> None:
    run = world.run()
    world.move(run, RunStatus.FINISHED)


def test_a_domain_with_a_mail_host_passes(world: DomainWorld) -> None:
    report = world.ask()

    (finding,) = [each for each in report.findings if each.stage == "domain"]
    assert finding.status is Status.PASS
    assert finding.evidence == ("acme.internal MX mx.acme.internal, A 192.0.2.80",)


def test_a_redirected_run_never_reached_the_domain_so_it_is_an_error(world: DomainWorld) -> None:
    world.change("addresses", address="a@gone.internal")
    world.sent(world.run(redirect_to="me@shop.internal"))

    finding = one(world.ask(), "MR801")

    assert finding.status is Status.FAIL
    assert finding.evidence == ("gone.internal MX: no such name (NXDOMAIN)",)
    assert finding.subject == "gone.internal"


def test_without_anything_else_the_domain_is_the_verdict(world: DomainWorld) -> None:
    world.change("addresses", address="a@gone.internal")
    del world.definition["period"]

    report = world.ask()

    assert report.verdict == "Not sent: the recipient's domain gone.internal does not exist"
    assert (report.primary, report.exit_code) == ("MR801", 4)


def test_null_mx_shows_the_record(world: DomainWorld) -> None:
    world.dns.add("nomail.internal", "MX", "0 .")
    world.change("addresses", address="a@nomail.internal")

    assert one(world.ask(), "MR802").evidence == ("nomail.internal MX 0 .",)


def test_no_mail_host_lists_the_look_ups(world: DomainWorld) -> None:
    world.dns.txt("empty.internal", "a name with a text only")
    world.change("addresses", address="a@empty.internal")

    assert one(world.ask(), "MR803").evidence == (
        "empty.internal MX: no such record",
        "empty.internal A: no such record",
        "empty.internal AAAA: no such record",
    )


def test_mail_hosts_without_an_address_are_none(world: DomainWorld) -> None:
    world.dns.add("broken.internal", "MX", "10 mx1.broken.internal.", "20 192.0.2.1.")
    world.change("addresses", address="a@broken.internal")

    assert "broken.internal MX 10 mx1.broken.internal" in one(world.ask(), "MR803").evidence[0]


@pytest.mark.parametrize(("kind", "address"), [("A", "192.0.2.1"), ("AAAA", "2001:db8::1")])
def test_an_address_of_its_own_is_enough(world: DomainWorld, kind: str, address: str) -> None:
    world.dns.add("plain.internal", kind, address)
    world.change("addresses", address="a@plain.internal")

    assert codes(world.ask(), "domain") == []


@pytest.mark.parametrize("name", ["acme.internal", "mx.acme.internal"])
def test_a_failing_name_server_is_unknown_never_a_guess(world: DomainWorld, name: str) -> None:
    world.dns.failing.add(name)

    report = world.ask()

    assert codes(report, "domain") == [("MR091", "unknown")]
    (finding,) = [each for each in report.findings if each.stage == "domain"]
    assert "SERVFAIL" in " ".join(finding.evidence)
    assert report.primary == "MR501"


def test_what_is_unknown_does_not_hide_what_became_of_the_message(world: DomainWorld) -> None:
    world.dns.failing.add("*")
    world.sent(world.run())

    report = world.ask()

    assert report.verdict.startswith("Sent: the server accepted it")
    assert report.exit_code == 0


def test_a_waiting_message_is_waiting_though_dns_is_down(world: DomainWorld) -> None:
    world.dns.failing.add("*")
    run = world.run()
    world.settle(run, MessageState.DEFERRED, code=451, reply="later", stage="rcpt")
    world.move(run, RunStatus.WAITING)

    report = world.ask()

    assert report.verdict.startswith("Waiting: ")
    assert report.exit_code == 0


def test_with_no_story_at_all_an_unknown_domain_decides(world: DomainWorld) -> None:
    world.dns.failing.add("acme.internal")
    del world.definition["period"]

    report = world.ask()

    assert report.verdict == (
        "Not determinable: the name service did not say whether acme.internal takes mail"
    )
    assert report.exit_code == 5


def test_with_no_story_an_unknown_spf_record_does_not_decide(world: DomainWorld) -> None:
    world.dns.failing.add("shop.internal")
    del world.definition["period"]

    report = world.ask()

    assert ("MR091", "unknown") in codes(report, "sender")
    assert (report.primary, report.exit_code) == ("", 0)


def test_after_the_server_accepted_it_a_missing_domain_only_warns(world: DomainWorld) -> None:
    world.change("addresses", address="a@gone.internal")
    world.sent(world.run())

    report = world.ask()

    assert one(report, "MR801").status is Status.WARN
    assert (report.primary, report.exit_code) == ("MR508", 0)


def test_the_address_of_the_run_is_looked_at_beside_todays(world: DomainWorld) -> None:
    world.change("addresses", address="a@gone.internal")
    finished(world)
    world.change("addresses", address="a@acme.internal")

    report = world.ask()

    assert one(report, "MR801").subject == "gone.internal"
    assert "acme.internal" in {each.subject for each in report.findings}


def test_each_domain_is_asked_once_for_all_cases(world: DomainWorld) -> None:
    world.add("addresses", customer="C1", key="invoice", address="b@ACME.internal")
    world.add_invoice("I2", "INV-2")

    assert len(world.ask().cases) == 2
    assert world.dns.questions("acme.internal", "MX") == 1
    assert world.dns.questions("shop.internal", "TXT") == 1
    assert max(world.dns.asked.count(each) for each in world.dns.asked) == 1


def test_reserved_names_are_left_out_with_the_reason(world: DomainWorld) -> None:
    world.change("addresses", address="a@acme.test")
    world.sender["address"] = "billing@sender.test"

    report = world.ask()

    assert reasons(report, "domain") == [
        "acme.test is not looked up: a name for tests and examples (RFC 6761)"
    ]
    assert "sender.test is not looked up" in reasons(report, "sender")[0]
    assert world.dns.asked == []


def test_offline_asks_nothing(world: DomainWorld) -> None:
    from doctor_world import TODAY
    from msgrun.doctor import diagnose

    report = diagnose(world.workspace, "C1", today=TODAY, offline=True)

    assert reasons(report, "domain") == ["--offline: the name service was not asked"]
    assert reasons(report, "sender") == ["--offline: the name service was not asked"]
    assert world.dns.asked == []


def test_a_domain_in_other_letters_is_asked_in_ascii(world: DomainWorld) -> None:
    world.change("addresses", address="a@müller.internal")
    world.dns.add("xn--mller-kva.internal", "A", "192.0.2.1")

    assert codes(world.ask(), "domain") == []
    assert world.dns.questions("xn--mller-kva.internal", "MX") == 1


def test_a_malformed_address_has_no_domain(world: DomainWorld) -> None:
    world.change("addresses", address="a at acme")

    assert reasons(world.ask(), "domain") == ["no usable address"]
