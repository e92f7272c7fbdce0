"""`doctor --all`: the recipients' domains, each asked about once for all its customers."""

from pathlib import Path

import pytest

from doctor_world import TODAY
from domain_world import DomainWorld
from msgrun.demo.sink import running_sink
from msgrun.doctor import Status
from msgrun.doctor.domains import look_up_domains
from msgrun.doctor.funnel import Funnel, examine
from msgrun.doctor.names import Names


@pytest.fixture
def everybody(world: DomainWorld) -> DomainWorld:
    """C1 at acme.internal, three at a domain that is not there, one who falls at a rule before."""
    add(world, *(f"D{number}@gone.internal" for number in range(3)))
    add(world, "S@never.internal", suspended=True)
    return world


def add(world: DomainWorld, *addresses: str, suspended: bool = False) -> None:
    for address in addresses:
        code = address.partition("@")[0]
        world.add("customers", code=code, name=code, cluster="DE", suspended=suspended)
        world.add("addresses", customer=code, key="invoice", address=address)
        world.add_invoice(f"I-{code}", "N", customer=code)


def ask(world: DomainWorld, folder: Path, *, offline: bool = False) -> Funnel:
    with running_sink(folder / "mail") as sink:
        world.server["port"] = sink.port
        return examine(world.workspace, today=TODAY, offline=offline)


def test_each_domain_is_asked_about_once_and_only_for_those_whom_no_rule_stops(
    everybody: DomainWorld, tmp_path: Path
) -> None:
    funnel = ask(everybody, tmp_path)

    (domains,) = funnel.domains
    gone, reached = domains.findings
    assert (domains.distinct, reached.evidence) == (2, ("1 domain takes mail",))
    assert (gone.code, gone.subject, gone.evidence[-1]) == (
        "MR801",
        "gone.internal",
        "3 customers there",
    )
    assert everybody.dns.questions("gone.internal", "MX") == 1
    assert everybody.dns.questions("never.internal", "MX") == 0
    assert funnel.exit_code == 4


def test_offline_asks_neither_mail_nor_name_server(everybody: DomainWorld, tmp_path: Path) -> None:
    funnel = ask(everybody, tmp_path, offline=True)

    assert [each.status for each in funnel.servers] == [Status.SKIPPED]
    assert funnel.domains == ()
    assert everybody.dns.questions("gone.internal", "MX") == 0


def test_many_domains_with_one_fault_are_summed_up(everybody: DomainWorld) -> None:
    names = Names(everybody.dns.where, offline=False)

    findings = look_up_domains(names, ((f"n{number}.internal", 1) for number in range(23)))

    assert [each.code for each in findings] == ["MR801"] * 21
    assert findings[-1].evidence == ("and 3 more domains",)


def test_reserved_names_are_left_out_in_one_line(everybody: DomainWorld) -> None:
    names = Names(everybody.dns.where, offline=False)

    (finding,) = look_up_domains(names, [("a.test", 1), ("b.test", 1)])

    assert finding.status is Status.SKIPPED
    assert finding.evidence == (
        "a.test is not looked up: a name for tests and examples (RFC 6761); 1 more likewise",
    )
