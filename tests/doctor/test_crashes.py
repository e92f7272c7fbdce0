"""A check that crashes costs its own finding and nothing else."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from doctor_world import World
from msgrun.cli.app import run
from msgrun.database import Database
from msgrun.doctor import Finding, Report, Stage, Status, diagnosis, dialogue, readiness
from msgrun.doctor.composing import Composing
from msgrun.states import RunStatus

PLANTED = "a planted bug"


def crash(*_: object, **__: object) -> Any:
    raise ZeroDivisionError(PLANTED)


CHECKS: dict[Stage, tuple[object, str]] = {
    Stage.CUSTOMER: (diagnosis, "check_customer"),
    Stage.CLUSTER: (diagnosis, "check_cluster"),
    Stage.ADDRESS: (diagnosis, "check_address"),
    Stage.INVOICE: (diagnosis, "check_invoice"),
    Stage.DEFINITION: (Composing, "check_definition"),
    Stage.TEMPLATE: (Composing, "check_template"),
    Stage.DOCUMENTS: (Composing, "check_documents"),
    Stage.RUN: (diagnosis, "check_run"),
    Stage.MESSAGE: (diagnosis, "check_message"),
    Stage.SMTP: (dialogue, "probe"),
    Stage.DOMAIN: (diagnosis, "check_domains"),
    Stage.SENDER: (diagnosis, "check_sender_domain"),
}


@pytest.fixture
def world(sqlite_database: Database, tmp_path: Path) -> World:
    return World(sqlite_database, tmp_path)


def all_wrong(world: World) -> None:
    """Let every stage but the run's have something to say."""
    world.change("customers", suspended=True)
    world.change("addresses", key="invoices")
    world.change("invoices", status="Open")
    world.definition["subject"] = "{{ nothing }}"
    world.empty("documents")


def sent_and_changed(world: World) -> None:
    """Let the message be sent, and the data be wrong since."""
    world.sent(world.run())
    world.change("invoices", status="Open")
    world.change("addresses", address="new@acme.test")


def refused(world: World) -> None:
    run = world.run()
    world.move(run, RunStatus.PAUSED, reason="MR603", detail="connection refused")


def told(report: Report, without: Stage) -> list[Finding]:
    """Return the findings of all other stages; how long the server took is no matter."""
    return [
        replace(each, evidence=()) if each.stage is Stage.SMTP else each
        for each in report.findings
        if each.stage is not without
    ]


@pytest.mark.parametrize("plant", [all_wrong, sent_and_changed, refused])
@pytest.mark.parametrize("stage", CHECKS)
def test_a_crash_in_one_check_leaves_every_other_finding_as_it_is(
    world: World,
    stage: Stage,
    plant: Callable[[World], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(world)
    whole = world.ask(offline=False)
    monkeypatch.setattr(*CHECKS[stage], crash)

    report = world.ask(offline=False)

    (own,) = [each for each in report.findings if each.stage is stage]
    assert (own.code, own.status) == ("MR090", Status.CRASHED)
    assert own.evidence == (f"ZeroDivisionError: {PLANTED}",)
    assert told(report, stage) == told(whole, stage)
    assert {each.stage for each in told(whole, stage)} == {Stage.ENVIRONMENT, *CHECKS} - {stage}


@pytest.mark.parametrize("check", ["_definition", "_funnel", "_server"])
def test_a_crash_without_a_customer_leaves_the_rest_and_is_not_called_ready(
    world: World, check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = world.ask(None)
    monkeypatch.setattr(readiness, check, crash)

    report = world.ask(None)

    (own,) = [each for each in report.findings if each.code == "MR090"]
    assert {*report.findings} - {own} < {*whole.findings}
    assert (report.primary, report.exit_code) == ("MR090", 5)


def test_a_message_that_was_sent_is_not_called_unsent_by_a_crash(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent_and_changed(world)
    monkeypatch.setattr(diagnosis, "check_message", crash)

    report = world.ask()

    assert report.verdict == "Not determinable: a check itself crashed"
    assert report.exit_code == 5


def test_a_crash_while_the_data_is_read_leaves_what_needs_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "read_subject", crash)

    report = world.ask(offline=False)

    assert report.verdict == "Not determinable: a check itself crashed"
    assert {"environment", "definition", "template", "smtp"} <= {e.stage for e in report.stages}


def test_with_debug_the_traceback_is_on_stderr_and_only_then(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.workspace  # noqa: B018 - writes msgrun.toml
    config = ("--config", str(world.folder / "msgrun.toml"))
    monkeypatch.setattr(diagnosis, "check_cluster", crash)

    assert run([*config, "doctor", "C1", "--offline"]) in {4, 5}
    quiet = capsys.readouterr()
    run([*config, "--debug", "doctor", "C1", "--offline", "--json"])
    told = capsys.readouterr()

    assert "Traceback" not in quiet.out + quiet.err
    assert f"ZeroDivisionError: {PLANTED}" in quiet.out
    assert "Traceback" not in told.out
    assert told.err.startswith("Traceback (most recent call last):")
    assert f'File "{__file__}"' in told.err
    assert told.err.count("Traceback") == 1
    assert sys.exc_info()[0] is None
