"""`[[doctor.suppress]]`: what is known does not count, and never makes the unsent look sent."""

import io
import json
from datetime import date, timedelta
from pathlib import Path

import pytest

from doctor_world import TODAY, World
from msgrun.config import SuppressionConfig, load_config
from msgrun.database import Database
from msgrun.doctor import Case, Finding, Report, Stage, Status, diagnose
from msgrun.doctor.findings import found
from msgrun.doctor.suppression import suppress
from msgrun.doctor.verdict import FailOn, cause_of, ending, sentence
from msgrun.ui.doctor import print_report, report_document
from msgrun.ui.text import Printer
from msgrun.workspace import Workspace

NOT_SENT = ("Not sent", "Nothing else is wrong", "Not determinable", "In doubt", "Waiting")


@pytest.fixture
def world(sqlite_database: Database, tmp_path: Path) -> World:
    return World(sqlite_database, tmp_path)


def rule(
    code: str, customer: str = "*", until: date | None = None, reason: str = "it is known"
) -> SuppressionConfig:
    return SuppressionConfig(code=code, customer=customer, reason=reason, until=until)


def printed(report: Report, *, verbose: bool = False) -> list[str]:
    stream = io.StringIO()
    print_report(Printer(stream), report, verbose=verbose)
    return stream.getvalue().splitlines()


def suspended(world: World) -> Report:
    world.change("customers", suspended=True)
    return world.ask()


def test_the_only_error_suppressed_decides_neither_verdict_nor_exit_code(world: World) -> None:
    report = suspended(world)
    assert (report.primary, report.exit_code) == ("MR102", 4)

    report = suppress(report, [rule("MR102")], TODAY)

    assert report.verdict == "Nothing else is wrong; 1 finding is suppressed"
    assert (report.primary, report.exit_code) == ("", 0)
    assert not report.cases[0].sent
    assert not any(each.code == "MR102" for each in report.findings)


def test_another_error_decides_in_its_place(world: World) -> None:
    world.change("invoices", status="Open")

    report = suppress(suspended(world), [rule("MR102")], TODAY)

    assert (report.primary, report.exit_code) == ("MR123", 4)
    assert report.verdict == "Not sent: invoice INV-1 is Open, not Approved"


@pytest.mark.parametrize(
    ("pattern", "hidden"),
    [("*", True), ("C1", True), ("C?", True), ("[CD]*", True), ("c1", False), ("C2", False)],
)
def test_the_pattern_of_customers_is_that_of_a_shell(
    world: World, pattern: str, hidden: bool
) -> None:
    report = suppress(suspended(world), [rule("MR102", pattern)], TODAY)

    assert bool(report.suppressed) is hidden
    assert (report.exit_code == 0) is hidden


@pytest.mark.parametrize("days", [-1, 0, 1])
def test_it_holds_up_to_its_last_day_and_then_says_that_it_is_over(world: World, days: int) -> None:
    until = TODAY + timedelta(days=days)

    report = suppress(suspended(world), [rule("MR102", until=until)], TODAY)

    over = days < 0
    assert report.exit_code == (4 if over else 0)
    line = f"! the suppression of MR102 for '*' expired on {until}: it is known"
    assert (line in printed(report)) is over
    assert [each["until"] for each in report_document(report)["expired_suppressions"]] == (
        [until.isoformat()] if over else []
    )


def test_an_expired_one_of_another_fault_is_not_mentioned(world: World) -> None:
    report = suppress(suspended(world), [rule("MR106", until=date(2020, 1, 1))], TODAY)

    assert report.expired == ()


def test_text_always_says_how_many_and_shows_them_with_v(world: World) -> None:
    until = date(2027, 1, 31)
    report = suppress(suspended(world), [rule("MR102", until=until, reason="in court")], TODAY)

    short, long = printed(report), printed(report, verbose=True)

    assert "1 suppressed" in short[-1]
    assert not any("MR102" in line for line in short)
    place = next(i for i, line in enumerate(long) if "MR102" in line)
    assert "✗" not in long[place]
    assert long[place + 1].strip() == "suppressed until 2027-01-31: in court"
    assert "1 suppressed" in long[-1]


def test_json_lists_them_apart_with_reason_and_until(world: World) -> None:
    report = suppress(suspended(world), [rule("MR102", until=date(2027, 1, 31))], TODAY)

    document = json.loads(json.dumps(report_document(report)))

    (only,) = document["suppressed"]
    assert (only["code"], only["reason"], only["until"]) == ("MR102", "it is known", "2027-01-31")
    assert only["stage"] == "customer"
    assert "MR102" not in [each["code"] for each in document["findings"]]
    assert document["cases"][0]["suppressed"] == [only]


def test_the_configuration_is_what_suppresses(world: World) -> None:
    world.change("customers", suspended=True)
    file = world.workspace.config.path
    text = file.read_text()

    def ask(more: str) -> Report:
        file.write_text(text + more)
        workspace = Workspace.of(load_config(file, environ={}))
        return diagnose(workspace, "C1", today=TODAY, offline=True)

    report = ask('\n[[doctor.suppress]]\ncode = "MR102"\ncustomer = "C*"\nreason = "known"\n')

    assert ask("").exit_code == 4
    assert report.exit_code == 0
    assert [each.reason for each in report.suppressed] == ["known"]


def test_an_accepted_message_stays_sent_beside_what_is_suppressed(world: World) -> None:
    world.sent(world.run())
    world.change("addresses", address="new@acme.test")
    report = world.ask()
    assert "MR510" in {each.code for each in report.findings}

    report = suppress(report, [rule("MR510")], TODAY)

    assert report.primary == "MR508"
    assert report.verdict.startswith("Sent: ")


def test_several_cases_are_not_called_sent_when_one_was_not(world: World) -> None:
    world.sent(world.run())
    world.add_invoice("I2", "INV-2", status="Open")

    report = suppress(world.ask(), [rule("MR123")], TODAY)

    assert report.verdict == "Nothing else is wrong; 1 finding is suppressed (1 of 2 were sent)"
    assert [case.sent for case in report.cases] == [True, False]


def test_without_a_customer_only_a_rule_for_all_fits(world: World) -> None:
    world.definition["recipient_key"] = "post"
    report = world.ask(None)

    assert suppress(report, [rule("MR204", "C*")], TODAY).exit_code == 4
    hidden = suppress(report, [rule("MR204")], TODAY)
    assert (hidden.exit_code, hidden.primary) == (0, "")
    assert hidden.verdict == "Nothing else is wrong; 1 finding is suppressed"


def test_an_unknown_customer_stays_unknown(world: World) -> None:
    report = world.ask("nobody")
    rules = [rule("MR102"), rule("MR110")]

    assert suppress(report, rules, TODAY) == report


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("code", ["MR102", "MR126", "MR505", "MR502", "MR603", "MR091", "MR511"])
def test_no_suppression_makes_the_unsent_look_sent(code: str, status: Status) -> None:
    other = found("MR110", Stage.ADDRESS, status=Status.WARN)
    for findings in ([found(code, Stage.RUN, status=status)], [other, finding(code, status)]):
        case = case_of(tuple(findings))
        report = Report("C1", "", case.verdict, case.primary, case.findings, (case,))

        hidden = suppress(report, [rule(code), rule("MR110")], TODAY)

        assert hidden.verdict.startswith(NOT_SENT)
        assert "suppressed" in hidden.verdict
        assert not hidden.cases[0].sent


def finding(code: str, status: Status) -> Finding:
    return found(code, Stage.MESSAGE, status=status)


def case_of(findings: tuple[Finding, ...]) -> Case:
    cause = cause_of(findings)
    primary = cause.code if cause else ""
    return Case(sentence(cause), primary, "INV-1", "I1", "monthly", 1, "2026-10", findings)


@pytest.mark.parametrize("weight", list(FailOn))
def test_what_is_suppressed_does_not_fail_on_warn_either(world: World, weight: FailOn) -> None:
    world.change("addresses", address="noreply@acme.com")
    report = suppress(world.ask(), [rule("MR501")], TODAY)
    assert {each.status for each in report.findings} >= {Status.WARN}

    assert ending(report, weight) == (4 if weight is FailOn.WARN else 0)
    assert ending(suppress(report, [rule("MR110")], TODAY), weight) == 0


def test_no_rule_leaves_the_report_untouched(world: World) -> None:
    report = suspended(world)

    assert suppress(report, [], TODAY) == report
    assert suppress(report, [rule("MR110")], TODAY) == report
