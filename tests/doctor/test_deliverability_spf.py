"""SPF as receivers evaluate it (RFC 7208)."""

from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msgrun.deliverability.resolver import Answer, Kind, Outcome, Resolver
from msgrun.deliverability.spf import LOOK_UPS, Result, evaluate, survey
from msgrun.deliverability.spf_record import (
    Asker,
    RecordError,
    expand,
    merged,
    parse,
    spf_records,
    with_address,
)
from name_server import NameServer

IP = ip_address("192.0.2.10")
IP6 = ip_address("2001:db8::10")
SENDER = "billing@shop.internal"


@pytest.fixture
def zone(dns: NameServer) -> NameServer:
    dns.zone(
        """
        shop.internal            A    192.0.2.10
        shop.internal            MX   10 mx.shop.internal.
        mx.shop.internal         A    192.0.2.20
        mx.shop.internal         AAAA 2001:db8::20
        10.2.0.192.in-addr.arpa  PTR  out.shop.internal.
        out.shop.internal        A    192.0.2.10
        10.billing.allow.internal A   127.0.0.2
        """
    )
    dns.txt("relay.internal", "v=spf1 ip4:192.0.2.0/28 -all")
    dns.txt("other.internal", "v=spf1 ip4:198.51.100.1 -all")
    dns.txt("soft.internal", "v=spf1 ~all")
    return dns


@pytest.mark.parametrize(
    ("record", "ip", "result", "decided"),
    [
        ("v=spf1 ip4:192.0.2.10 -all", IP, "pass", "'ip4:192.0.2.10'"),
        ("v=spf1 ip4:192.0.2.0/24 -all", IP, "pass", "'ip4:192.0.2.0/24'"),
        ("v=spf1 ip4:192.0.2.11 -all", IP, "fail", "'-all'"),
        ("v=spf1 ip6:2001:db8::/32 -all", IP6, "pass", "'ip6:2001:db8::/32'"),
        ("v=spf1 ip6:2001:db8::/32 ~all", IP, "softfail", "'~all'"),
        ("v=spf1 a -all", IP, "pass", "'a'"),
        ("v=spf1 a:mx.shop.internal -all", IP, "fail", "'-all'"),
        ("v=spf1 a:mx.shop.internal/27 -all", IP, "pass", "'a:mx.shop.internal/27'"),
        ("v=spf1 a:mx.shop.internal//64 -all", IP6, "pass", "'a:mx.shop.internal//64'"),
        ("v=spf1 mx -all", ip_address("192.0.2.20"), "pass", "'mx'"),
        ("v=spf1 mx/24 -all", IP, "pass", "'mx/24'"),
        ("v=spf1 ptr -all", IP, "pass", "'ptr'"),
        ("v=spf1 ptr:elsewhere.internal -all", IP, "fail", "'-all'"),
        ("v=spf1 exists:10.%{l}.allow.internal -all", IP, "pass", "'exists:"),
        ("v=spf1 exists:11.%{l}.allow.internal -all", IP, "fail", "'-all'"),
        ("v=spf1 include:relay.internal -all", IP, "pass", "'include:relay.internal'"),
        ("v=spf1 include:other.internal ?all", IP, "neutral", "'?all'"),
        ("v=spf1 -include:relay.internal +all", IP, "fail", "'-include:relay.internal'"),
        ("v=spf1 redirect=relay.internal", IP, "pass", "'ip4:192.0.2.0/28' in the record of rel"),
        ("v=spf1 redirect=other.internal", IP, "fail", "'-all' in the record of other"),
        ("v=spf1 ~all redirect=relay.internal", IP, "softfail", "'~all'"),
        ("v=spf1", IP, "neutral", "nothing in the record"),
        ("V=SPF1 IP4:192.0.2.10 -ALL", IP, "pass", "'IP4:192.0.2.10'"),
        ("v=spf1 include:gone.internal -all", IP, "permerror", "gone.internal has no SPF record"),
        ("v=spf1 redirect=gone.internal", IP, "permerror", "gone.internal has no SPF record"),
        ("v=spf1 ip4:192.0.2.10 ipv4:1.2.3.4 -all", IP, "permerror", "'ipv4:1.2.3.4'"),
        ("v=spf1 include:soft.internal ip4:192.0.2.10", IP, "pass", "'ip4:"),
    ],
)
def test_the_mechanism_that_decides_is_named(
    zone: NameServer, resolver: Resolver, record: str, ip: object, result: str, decided: str
) -> None:
    zone.txt("shop.internal", record)

    verdict = evaluate(resolver, "shop.internal", ip, SENDER)

    assert verdict.result == result
    assert decided in verdict.reason


def test_a_domain_without_a_record_has_none(zone: NameServer, resolver: Resolver) -> None:
    zone.txt("shop.internal", "v=spf10 -all", "some other text", "v=spf2.0/pra -all")

    assert evaluate(resolver, "shop.internal", IP, SENDER).result is Result.NONE
    assert evaluate(resolver, "gone.internal", IP, SENDER).result is Result.NONE


def test_two_records_are_an_error(zone: NameServer, resolver: Resolver) -> None:
    zone.txt("shop.internal", "v=spf1 ip4:192.0.2.10 -all", "v=spf1 -all")

    assert evaluate(resolver, "shop.internal", IP, SENDER).result is Result.PERMERROR


@pytest.mark.parametrize("how", ["silent", "failing"])
def test_what_the_name_service_does_not_say_is_unknown_never_none(
    zone: NameServer, how: str
) -> None:
    getattr(zone, how).add("relay.internal")
    zone.txt("shop.internal", "v=spf1 include:relay.internal ip4:192.0.2.10 -all")
    resolver = Resolver(zone.where, lambda most: min(most, 0.3))

    verdict = evaluate(resolver, "shop.internal", IP, SENDER)

    assert (verdict.result, verdict.complete) == (Result.UNKNOWN, False)
    assert "relay.internal" in verdict.reason


@pytest.mark.parametrize("macro", ["%{h}", "%{p}"])
def test_a_macro_whose_value_is_not_known_is_unknown(
    zone: NameServer, resolver: Resolver, macro: str
) -> None:
    zone.txt("shop.internal", f"v=spf1 exists:{macro}.internal -all")

    assert evaluate(resolver, "shop.internal", IP, SENDER).result is Result.UNKNOWN


def test_ten_look_ups_are_allowed_and_eleven_are_not(zone: NameServer, resolver: Resolver) -> None:
    zone.txt("ten.internal", "v=spf1 " + "a:shop.internal " * 10 + "ip4:192.0.2.99 -all")
    zone.txt("eleven.internal", "v=spf1 " + "a:mx.shop.internal " * 11 + "ip4:192.0.2.10 -all")

    assert survey(resolver, "ten.internal", SENDER).look_ups == 10
    eleven = evaluate(resolver, "eleven.internal", IP, SENDER)
    assert (eleven.result, eleven.limit) == (Result.PERMERROR, True)
    assert survey(resolver, "eleven.internal", SENDER).look_ups == 11


def test_a_redirect_counts_as_a_look_up(zone: NameServer, resolver: Resolver) -> None:
    zone.txt("shop.internal", "v=spf1 redirect=relay.internal")

    assert evaluate(resolver, "shop.internal", IP, SENDER).look_ups == 1
    assert survey(resolver, "shop.internal", SENDER).look_ups == 1


def test_a_match_before_the_limit_passes(zone: NameServer, resolver: Resolver) -> None:
    zone.txt("shop.internal", "v=spf1 ip4:192.0.2.10 " + "a:mx.shop.internal " * 11 + "-all")

    assert evaluate(resolver, "shop.internal", IP, SENDER).result is Result.PASS


def test_a_loop_ends_and_is_told(zone: NameServer, resolver: Resolver) -> None:
    zone.txt("one.internal", "v=spf1 include:two.internal -all")
    zone.txt("two.internal", "v=spf1 redirect=one.internal")

    for verdict in (evaluate(resolver, "one.internal", IP, SENDER),
                    survey(resolver, "one.internal", SENDER)):  # fmt: skip
        assert (verdict.result, verdict.limit) == (Result.PERMERROR, True)
        assert "one.internal → two.internal → one.internal" in verdict.reason


def test_three_empty_answers_are_one_too_many(zone: NameServer, resolver: Resolver) -> None:
    zone.txt("void.internal", "v=spf1 a:n1.internal mx:n2.internal exists:n3.internal +all")
    zone.txt("two.internal", "v=spf1 a:n1.internal mx:n2.internal +all")

    verdict = evaluate(resolver, "void.internal", IP, SENDER)
    assert (verdict.result, verdict.limit) == (Result.PERMERROR, True)
    assert survey(resolver, "void.internal", SENDER).voids == 3
    assert evaluate(resolver, "two.internal", IP, SENDER).result is Result.PASS


def test_more_than_ten_mail_hosts_are_too_many(zone: NameServer, resolver: Resolver) -> None:
    zone.add("many.internal", "MX", *(f"10 mx{number}.shop.internal." for number in range(11)))
    zone.txt("shop.internal", "v=spf1 mx:many.internal -all")

    assert evaluate(resolver, "shop.internal", IP, SENDER).limit


@pytest.mark.parametrize(
    "record",
    ["v=spf1 all:x", "v=spf1 include", "v=spf1 include:", "v=spf1 ip4:300.1.1.1", "v=spf1 a/33",
     "v=spf1 ip4:2001:db8::1", "v=spf1 ip6:192.0.2.1", "v=spf1 a:%{z}.de", "v=spf1 a:%x.de",
     "v=spf1 exp=a exp=b", "v=spf1 redirect=", "v=spf1 ü", "v=spf1 -all; a", "v=spf1 a:%{c}.de",
     "v=spf1 ptr/24", "v=spf1 redirect=a.de redirect=b.de"],
)  # fmt: skip
def test_what_breaks_the_grammar_is_refused(record: str) -> None:
    with pytest.raises(RecordError):
        parse(record)


def test_unknown_modifiers_are_ignored() -> None:
    terms, redirect = parse("v=spf1 moo=cow a exp=why.%{d} -all")

    assert ([term.name for term in terms], redirect) == (["a", "all"], "")


@pytest.mark.parametrize(
    ("spec", "filled"),
    [  # RFC 7208, 7.4
        ("%{s}", "strong-bad@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d1}", "com"),
        ("%{d2r}", "example.email"),
        ("%{l-}", "strong.bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("a%%%_b%-", "a% b%20"),
    ],
)
def test_macros_are_filled_in_as_the_rfc_shows(spec: str, filled: str) -> None:
    asker = Asker(ip_address("192.0.2.3"), "strong-bad@email.example.com")

    assert expand(spec, "email.example.com", asker) == filled


def test_an_ipv6_macro_is_written_in_nibbles() -> None:
    asker = Asker(ip_address("2001:db8::cb01"), "a@example.com")

    assert expand("%{ir}.%{v}", "example.com", asker) == (
        "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6"
    )


def test_an_address_is_added_once_in_front() -> None:
    record = with_address("v=spf1 mx -all", [IP, IP6])

    assert record == "v=spf1 ip4:192.0.2.10 ip6:2001:db8::10 mx -all"
    assert with_address(record, [IP]) == record


def test_records_are_merged_into_one_with_the_mildest_end() -> None:
    one = merged(["v=spf1 mx include:a.de -all", "v=spf1 mx ip4:192.0.2.1 ~all",
                  "v=spf1 redirect=b.de"])  # fmt: skip

    assert one == "v=spf1 mx include:a.de ip4:192.0.2.1 include:b.de ~all"
    assert len(spf_records([one])) == 1
    parse(one)


class Graph(Resolver):
    """Answers TXT questions from a graph of includes."""

    def __init__(self, edges: dict[int, list[int]]) -> None:
        super().__init__()
        self._edges = edges

    def look_up(self, name: str, kind: Kind) -> Answer:
        number = int(name.removeprefix("n").removesuffix(".internal"))
        terms = " ".join(f"include:n{each}.internal" for each in self._edges.get(number, []))
        return Answer(name, kind, Outcome.FOUND, (f"v=spf1 {terms} -all",))


def includes(edges: dict[int, list[int]], node: int, above: tuple[int, ...], cap: int) -> int:
    """Count the includes below a node by hand; raises at a loop, stops at `cap`."""
    if node in above:
        raise RecursionError
    total = 0
    for each in edges.get(node, []):
        total += 1
        if total > cap:
            return total
        total += includes(edges, each, (*above, node), cap - total)
        if total > cap:
            return total
    return total


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.integers(0, 7), st.lists(st.integers(0, 7), max_size=4), max_size=8))
def test_any_graph_of_includes_ends_and_is_counted_right(edges: dict[int, list[int]]) -> None:
    resolver = Graph(edges)
    try:
        expected = includes(edges, 0, (), LOOK_UPS)
    except RecursionError:
        expected = None

    verdict = evaluate(resolver, "n0.internal", IP, SENDER)
    surveyed = survey(resolver, "n0.internal", SENDER)

    assert surveyed.look_ups <= 61
    if expected is None:
        assert verdict.limit
        assert "a loop" in verdict.reason
    elif expected > LOOK_UPS:
        assert verdict.limit
        assert verdict.look_ups == LOOK_UPS + 1
        assert surveyed.limit or surveyed.look_ups > LOOK_UPS
    else:
        assert (verdict.result, verdict.look_ups) == (Result.FAIL, expected)
        assert surveyed.look_ups == expected
