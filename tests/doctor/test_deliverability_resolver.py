"""Looking names up: four kinds of no are never mixed up, and every wait ends."""

import time

import pytest

from msgrun.deliverability.names import ascii_name, reserved
from msgrun.deliverability.resolver import Kind, Outcome, Resolver
from name_server import NameServer


def test_no_such_name_no_record_failure_and_silence_are_four_things(
    dns: NameServer, resolver: Resolver
) -> None:
    dns.add("there.internal", "A", "192.0.2.1")
    dns.failing.add("failing.internal")
    dns.silent.add("silent.internal")

    short = Resolver(dns.where, lambda most: min(most, 0.3))
    outcomes = [
        resolver.look_up("gone.internal", "MX").outcome,
        resolver.look_up("there.internal", "MX").outcome,
        resolver.look_up("failing.internal", "MX").outcome,
        short.look_up("silent.internal", "MX").outcome,
        resolver.look_up("there.internal", "A").outcome,
    ]

    assert outcomes == [
        Outcome.NO_DOMAIN, Outcome.NO_RECORD, Outcome.FAILED, Outcome.TIMEOUT, Outcome.FOUND,
    ]  # fmt: skip


def test_only_answers_say_something_of_the_name(dns: NameServer, resolver: Resolver) -> None:
    dns.failing.add("failing.internal")

    assert not resolver.look_up("failing.internal", "A").known
    assert not resolver.look_up("failing.internal", "A").void
    assert resolver.look_up("gone.internal", "A").void


@pytest.mark.parametrize(
    ("kind", "records"),
    [
        ("A", [f"192.0.2.{number}" for number in range(1, 6)]),
        ("TXT", [f'"text {number}"' for number in range(1, 6)]),
        ("PTR", [f"n{number}.internal." for number in range(1, 6)]),
    ],
)
def test_records_are_told_in_one_order_whichever_the_server_sends(
    dns: NameServer, kind: Kind, records: list[str]
) -> None:
    for number in range(5):  # each a rotation, as busy name servers answer
        turned = records[number:] + records[:number]
        dns.add(f"n{number}.internal", kind, *turned)
    resolver = Resolver(dns.where)

    told = {resolver.look_up(f"n{number}.internal", kind).records for number in range(5)}

    assert told == {tuple(each.strip('".') for each in records)}


def test_a_failing_name_server_is_quoted(dns: NameServer, resolver: Resolver) -> None:
    dns.failing.add("*")

    assert "SERVFAIL" in str(resolver.look_up("acme.internal", "MX"))


def test_each_name_and_type_is_asked_once(dns: NameServer, resolver: Resolver) -> None:
    for name in ("acme.internal", "ACME.internal.", "acme.internal"):
        resolver.look_up(name, "MX")

    assert dns.asked == [("acme.internal", "MX", "udp")]


def test_names_are_absolute_no_suffix_is_tried(dns: NameServer, resolver: Resolver) -> None:
    resolver.look_up("gone.internal", "A")

    assert {name for name, _, _ in dns.asked} == {"gone.internal"}


def test_a_cut_off_answer_is_asked_for_again_over_tcp(dns: NameServer, resolver: Resolver) -> None:
    dns.truncating = True
    dns.txt("long.internal", "v=spf1 " + "a" * 700)

    assert len(resolver.look_up("long.internal", "TXT").records[0]) == 707
    assert [transport for _, _, transport in dns.asked] == ["udp", "tcp"]


def test_an_alias_to_nowhere_is_told(dns: NameServer, resolver: Resolver) -> None:
    dns.add("alias.internal", "CNAME", "gone.elsewhere.")

    answer = resolver.look_up("alias.internal", "A")

    assert answer.outcome is Outcome.NO_DOMAIN
    assert "an alias of gone.elsewhere" in str(answer)


def test_a_silent_name_server_is_given_up_after_three_look_ups(dns: NameServer) -> None:
    dns.silent.add("*")
    resolver = Resolver(dns.where, lambda most: min(most, 0.1))

    answers = [resolver.look_up(f"n{number}.internal", "A") for number in range(50)]

    assert {answer.outcome for answer in answers} == {Outcome.TIMEOUT}
    assert {name for name, _, _ in dns.asked} <= {"n0.internal", "n1.internal", "n2.internal"}


def test_when_the_time_is_up_nothing_is_asked(dns: NameServer) -> None:
    resolver = Resolver(dns.where, lambda _most: 0.0)

    assert resolver.look_up("acme.internal", "A").outcome is Outcome.TIMEOUT
    assert dns.asked == []


def test_a_wait_is_bounded(dns: NameServer) -> None:
    dns.silent.add("*")
    began = time.monotonic()

    Resolver(dns.where, lambda most: min(most, 0.5)).look_up("acme.internal", "A")

    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "name",
    ["acme.test", "a.example", "x.invalid", "localhost", "a.localhost", "example.com",
     "mail.example.org", "intranet", "TEST", "acme.test."],
)  # fmt: skip
def test_names_of_tests_and_single_labels_are_never_looked_up(
    dns: NameServer, resolver: Resolver, name: str
) -> None:
    assert resolver.look_up(name, "A").outcome is Outcome.NOT_ASKED
    assert dns.asked == []


@pytest.mark.parametrize("name", ["acme.de", "test.acme.de", "examples.com", "myexample.com"])
def test_other_names_may_be_looked_up(name: str) -> None:
    assert reserved(name) == ""


def test_a_name_that_cannot_be_one_does_not_exist(dns: NameServer, resolver: Resolver) -> None:
    assert resolver.look_up(f"{'x' * 64}.internal", "A").outcome is Outcome.NO_DOMAIN
    assert resolver.look_up("a..internal", "A").outcome is Outcome.NO_DOMAIN
    assert dns.asked == []


@pytest.mark.parametrize(
    ("written", "asked"),
    [("Müller.DE", "xn--mller-kva.de"), ("straße.de", "xn--strae-oqa.de"), ("Acme.DE.", "acme.de")],
)
def test_domains_are_written_by_idna_2008(written: str, asked: str) -> None:
    assert ascii_name(written) == asked


@pytest.mark.parametrize("written", ["", ".", "a..b", "x" * 64 + ".de", "☃.\u202e"])
def test_what_is_no_domain_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="no domain name"):
        ascii_name(written)
