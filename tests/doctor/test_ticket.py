"""The ticket: short, plain, and with all that a mail administrator searches for."""

import io
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from doctor_world import SENT_AT, World
from msgrun import __version__
from msgrun.database import Database
from msgrun.doctor import Case, Report, Stage, Status
from msgrun.doctor.findings import found, skipped
from msgrun.doctor.record import Record
from msgrun.states import MessageState, RunStatus
from msgrun.ui.ticket import COLUMNS, LINES, ticket_lines, write_ticket

NOW = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)
ZONE = timezone(timedelta(hours=1))


@pytest.fixture
def world(sqlite_database: Database, tmp_path: Path) -> World:
    return World(sqlite_database, tmp_path)


def ticket(report: Report) -> str:
    stream = io.StringIO()
    write_ticket(report, stream, NOW, ZONE)
    return stream.getvalue()


def refused(world: World) -> Report:
    run = world.run()
    world.settle(
        run, MessageState.REJECTED, reason="MR506", stage="rcpt", code=550, enhanced="5.1.1",
        reply="<a@acme.test>: User unknown", attempts=2,
    )  # fmt: skip
    world.move(run, RunStatus.FINISHED)
    return world.ask()


def test_it_begins_with_version_customer_time_and_verdict(world: World) -> None:
    lines = ticket(refused(world)).splitlines()

    assert lines[0] == f"msgrun {__version__} doctor: C1 Acme GmbH"
    assert lines[1] == "asked:       2026-11-25T08:00:00Z (2026-11-25T09:00:00+01:00 local)"
    assert lines[2].startswith("verdict:     Not sent: the server refused it: 550 5.1.1")


def test_it_quotes_the_server_word_for_word_with_what_to_search_for(world: World) -> None:
    report = refused(world)

    text = ticket(report)

    record = report.cases[0].record
    assert "answer:      550 5.1.1 <a@acme.test>: User unknown (at RCPT)" in text
    assert f"Message-ID:  {record.message_id}" in text
    assert record.message_id.endswith("@sender.test>")
    assert f"message:     {record.message}, rejected, MR506" in text
    assert "run:         1, finished, started by " in text
    assert "tries:       2" in text
    assert "[FAIL] message MR506 Refused for good" in text
    assert "remedy:" in text
    assert text.splitlines()[-1] == "What MR506 means: msgrun explain MR506"


def test_of_an_accepted_message_it_has_queue_id_and_both_times(world: World) -> None:
    world.sent(world.run())

    text = ticket(world.ask())

    utc = SENT_AT.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert f"accepted:    {utc} (2026-11-01T08:00:03+01:00 local)" in text
    assert "queue id:    Q7" in text
    assert "answer:      250 2.0.0 Ok: queued as Q7 (at DOT)" in text


def test_what_was_stands_beside_what_is(world: World) -> None:
    world.sent(world.run())
    world.definition["recipient_key"] = "invoices"
    world.change("addresses", key="invoices", address="new@acme.test")

    text = ticket(world.ask())

    assert "recipient_key: run 1 had 'invoice'; msgrun.toml has 'invoices' now" in text


def test_marks_are_ascii_and_the_data_is_as_it_is(world: World) -> None:
    world.change("customers", name="Müller › [/red] 株式会社")

    text = ticket(world.ask())

    assert "Müller > [/red] 株式会社" in text
    others = {each for each in text if not each.isascii()} - set("Müller株式会社")
    assert others == set()
    assert "[ ok ]" in text


def test_nothing_of_the_data_steers_a_terminal(world: World) -> None:
    world.change("customers", name="Evil\x1b]0;title\x07\u202e\nverdict: all is well")

    text = ticket(world.ask())

    assert not set(text) & {"\x1b", "\x07", "\u202e"}
    assert not any(line.startswith("verdict: all") for line in text.splitlines())


def test_the_case_that_speaks_comes_first(world: World) -> None:
    world.sent(world.run())
    world.add_invoice("I2", "INV-2", status="Open")

    text = ticket(world.ask())

    assert text.index("invoice INV-2") < text.index("invoice INV-1,")


def test_several_customers_are_listed(world: World) -> None:
    world.add("customers", code="C2", name="Acme Inc", suspended=False)

    assert "  C2  Acme Inc" in ticket(world.ask("acme")).splitlines()


def test_what_is_too_much_is_counted_and_never_silently_left_out(world: World) -> None:
    for number in range(2, 30):
        world.add_invoice(f"I{number}", f"INV-{number}", status="Open")

    report = world.ask()
    lines = ticket(report).splitlines()

    assert len(lines) == LINES
    assert lines[-1].startswith("... ")
    assert lines[-1].endswith(" more lines: msgrun doctor C1 -v")


words = st.text(max_size=400) | st.text(alphabet="ab ", max_size=300) | st.just("x" * 500)


@settings(max_examples=60, deadline=None)
@given(st.lists(words, max_size=30), words, words)
def test_it_is_never_longer_nor_wider_than_a_support_case_takes(
    evidence: list[str], name: str, remedy: str
) -> None:
    finding = found("MR506", Stage.MESSAGE, *evidence, remedy=remedy)
    record = Record(run=1, by=name, message=2, answer=remedy, to=(name, name), queue_id=name)
    case = Case(
        name, "MR506", name, name, name, 1, name, (finding, skipped(Stage.SMTP, name)),
        record=record,
    )  # fmt: skip
    report = Report("C1", name, remedy, "MR506", case.findings, (case,) * 3)

    lines = ticket_lines(report, NOW, ZONE)

    assert len(lines) <= LINES
    assert max(map(cell_len, lines)) <= COLUMNS
    assert all("\n" not in line and "\r" not in line for line in lines)


def test_words_are_not_broken_where_they_fit() -> None:
    told = " ".join(f"word{number:04}" for number in range(60))
    report = Report("C1", "", told, "MR506", (found("MR506", Stage.MESSAGE, told),))

    text = " ".join(ticket(report).split())

    assert all(f"word{number:04}" in text.split() for number in range(60))


def test_every_status_can_be_told_apart() -> None:
    findings = tuple(
        found("MR091", stage, status.value, status=status)
        for stage, status in zip(Stage, Status, strict=False)
    )
    lines = ticket(Report(None, "", "x", "", findings)).splitlines()

    marks = {line[:6] for line in lines if line.startswith("[")}
    assert marks == {"[ ok ]", "[FAIL]", "[warn]", "[skip]", "[ ?? ]"}
