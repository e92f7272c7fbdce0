"""One planted fault for each finding: what the doctor says of it, on both databases."""

import socketserver
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from doctor_world import SENT_AT, World, one
from msgrun.database import Database
from msgrun.demo.sink import running_sink
from msgrun.doctor import Report, Status, diagnosis
from msgrun.errors import NotFoundError
from msgrun.ledger import workers
from msgrun.ledger.workers import definition_lock
from msgrun.states import MessageState, RunStatus


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(database, tmp_path)


def said(report: Report, code: str) -> str:
    return " | ".join(one(report, code).evidence)


class TestCustomer:
    def test_all_is_well_before_the_first_run_but_for_the_run(self, world: World) -> None:
        report = world.ask()

        assert (report.primary, report.exit_code) == ("MR501", 4)
        assert one(report, "MR501").remedy == "msgrun start monthly --cluster All --period 2026-10"
        assert [each.code for each in report.findings if each.status is Status.FAIL] == ["MR501"]

    def test_unknown_customer_names_the_nearest_and_exits_10(self, world: World) -> None:
        world.add("customers", code="CU4242", name="Bolt", suspended=False)
        world.add_invoice("I9", "INV-9", customer="CU4424")

        report = world.ask("CU4424")

        assert (report.primary, report.exit_code) == ("MR101", 10)
        assert "CU4242 Bolt" in said(report, "MR101")
        assert "INV-9" in said(report, "MR101")

    def test_several_customers_of_a_name_are_listed(self, world: World) -> None:
        world.add("customers", code="C2", name="Acme Inc", suspended=False)

        report = world.ask("acme")

        assert report.exit_code == 10
        assert report.verdict == "Which one? 2 customers match 'acme'"
        assert said(report, "MR101") == "C1 Acme GmbH | C2 Acme Inc"

    def test_part_of_a_name_is_enough_for_one_customer(self, world: World) -> None:
        assert world.ask("cme gm").customer == "C1"

    def test_suspended(self, world: World) -> None:
        world.change("customers", suspended=True)

        report = world.ask()

        assert report.primary == "MR102"
        assert report.verdict == "Not sent: the customer is suspended"

    def test_other_cluster_shows_both_paths_and_where_they_part(self, world: World) -> None:
        report = world.ask(cluster="US")

        assert report.primary == "MR103"
        assert said(report, "MR103") == (
            "is in All › Europe › DE | asked is All › US | they part below 'All'"
        )

    @pytest.mark.parametrize(
        ("parent", "shown"), [("DE", "loop: DE › Europe › DE"), ("Gone", "'Gone', the parent of")]
    )
    def test_broken_tree_refines_the_cluster(self, world: World, parent: str, shown: str) -> None:
        world.empty("clusters")
        world.add("clusters", name="All", parent=None)
        world.add("clusters", name="Europe", parent=parent)
        world.add("clusters", name="DE", parent="Europe")

        report = world.ask()

        assert report.primary == "MR104"
        assert one(report, "MR104").refines == "MR103"
        assert shown in said(report, "MR104")


class TestAddress:
    def test_no_address_under_the_key(self, world: World) -> None:
        world.change("addresses", key="legal")

        report = world.ask()

        assert report.primary == "MR105"
        assert "'legal' → a@acme.test; the definition wants 'invoice'" in said(report, "MR105")

    @pytest.mark.parametrize("key", ["invoices", "Invoice", "invoice ", "invоice"])
    def test_near_miss_key_is_quoted_and_refines_no_address(self, world: World, key: str) -> None:
        world.change("addresses", key=key)

        report = world.ask()

        assert report.verdict == "Not sent: no e-mail address under key 'invoice'"
        assert one(report, "MR106").refines == "MR105"
        assert one(report, "MR106").remedy == "rename the key to 'invoice'"
        assert f"has '{key}' → a@acme.test" in said(report, "MR106")

    def test_look_alike_letter_is_made_visible(self, world: World) -> None:
        world.change("addresses", key="invоice")

        assert r"'inv\u043eice'" in said(world.ask(), "MR106")

    def test_malformed_address(self, world: World) -> None:
        world.change("addresses", address="a.acme.test")

        assert world.ask().primary == "MR107"

    def test_several_addresses_in_one_field(self, world: World) -> None:
        world.change("addresses", address="a@acme.test; b@acme.test")

        report = world.ask()

        assert report.primary == "MR108"
        assert one(report, "MR108").refines == "MR107"

    def test_non_ascii_local_part_is_a_warning_as_long_as_nobody_asks(self, world: World) -> None:
        world.change("addresses", address="bjørn@acme.test")

        assert one(world.ask(), "MR109").status is Status.WARN

    def test_placeholder_and_typo_warn(self, world: World) -> None:
        world.add("addresses", customer="C1", key="invoice", address="noreply@acme.de")
        world.add("addresses", customer="C1", key="invoice", address="b@gmial.com")

        report = world.ask()

        assert one(report, "MR110").subject == "noreply@acme.de"
        assert "gmail.com" in said(report, "MR111")
        assert report.primary == "MR501"


class TestInvoice:
    def test_no_invoice_at_all(self, world: World) -> None:
        world.empty("invoices")

        assert world.ask().primary == "MR121"

    def test_other_period_lists_those_there_are(self, world: World) -> None:
        world.change("invoices", period_end="2026-09-30")

        report = world.ask()

        assert report.primary == "MR122"
        assert said(report, "MR122") == (
            "has invoices in 2026-09 (1); asked is 2026-10-01 to 2026-10-31, both included"
        )

    def test_wrong_status_names_number_and_wanted(self, world: World) -> None:
        world.change("invoices", status="Open")

        report = world.ask()

        assert report.verdict == "Not sent: invoice INV-1 is Open, not Approved"
        assert report.primary == "MR123"

    def test_concept_only_while_there_is_no_number(self, world: World) -> None:
        world.change("invoices", number=None)

        assert world.ask().cases[0].invoice == "Concept"

    def test_eligible_since_with_a_skipped_row_is_a_restart(self, world: World) -> None:
        world.change("invoices", status="Open")
        run = world.run()
        world.move(run, RunStatus.FINISHED)
        world.change("invoices", status="Approved")

        report = world.ask()

        assert report.primary == "MR124"
        assert one(report, "MR124").remedy == f"msgrun restart {run.id} --failed"
        assert "skipped it with MR123" in said(report, "MR124")

    def test_eligible_since_without_a_row_is_a_start(self, world: World) -> None:
        world.change("customers", cluster="Elsewhere")
        run = world.run()
        world.move(run, RunStatus.FINISHED)
        world.change("customers", cluster="DE")

        report = world.ask()

        assert report.primary == "MR124"
        assert one(report, "MR124").remedy == (
            "msgrun start monthly --cluster All --period 2026-10 --customer C1"
        )

    def test_sent_by_an_earlier_run(self, world: World) -> None:
        world.sent(world.run())
        again = world.run()
        world.move(again, RunStatus.FINISHED)

        report = world.ask()

        assert report.primary == "MR508"
        assert report.verdict == (
            "Sent: the server accepted it on 2026-11-01T07:00:03Z (queue id Q7)"
        )
        assert "Ok: queued as Q7" in said(report, "MR125")
        assert report.exit_code == 0

    def test_held_by_another_unfinished_run(self, world: World) -> None:
        first = world.run()
        world.move(first, RunStatus.STOPPING, RunStatus.STOPPED)
        second = world.run()
        world.move(second, RunStatus.FINISHED)

        report = world.ask()

        assert report.primary == "MR126"
        assert f"run {first.id} is stopped" in said(report, "MR126")

    def test_beyond_the_limit(self, world: World) -> None:
        world.add("customers", code="A0", name="First", cluster="DE", suspended=False)
        world.add("addresses", customer="A0", key="invoice", address="f@first.test")
        world.add_invoice("I0", "INV-0", customer="A0")
        run = world.run(limit=1)
        world.move(run, RunStatus.FINISHED)

        report = world.ask()

        assert report.primary == "MR127"
        assert (report.exit_code, one(report, "MR127").severity) == (0, "info")

    def test_cancelled_says_by_whom_and_when(self, world: World) -> None:
        run = world.run()
        world.settle(run, MessageState.SKIPPED, reason="MR128")
        world.move(run, RunStatus.STOPPING, RunStatus.STOPPED, RunStatus.CANCELLED)

        report = world.ask()

        assert report.primary == "MR128"
        assert "cancelled by " in said(report, "MR128")
        assert "@" in said(report, "MR128")


class TestDefinition:
    def test_disabled(self, world: World) -> None:
        world.definition["enabled"] = False

        assert world.ask().primary == "MR201"

    def test_unknown_name_exits_10_with_the_nearest(self, world: World) -> None:
        with pytest.raises(NotFoundError, match="MR201") as caught:
            world.ask(definition="montly")

        assert "monthly" in caught.value.hint

    def test_unknown_run_exits_10(self, world: World) -> None:
        with pytest.raises(NotFoundError):
            world.ask(run="77")

    def test_unknown_from_key(self, world: World) -> None:
        world.definition["from_key"] = "biling"

        assert one(world.ask(), "MR202").stage == "definition"

    def test_bad_sender_address(self, world: World) -> None:
        world.sender["address"] = "billing at sender"

        assert one(world.ask(), "MR203").stage == "definition"

    def test_key_that_no_customer_has_counts_those_there_are(self, world: World) -> None:
        world.definition["recipient_key"] = "post"

        report = world.ask()

        assert "'invoice' (1)" in said(report, "MR204")
        assert {"MR105", "MR204"} <= {each.code for each in report.findings}

    def test_template_syntax(self, world: World) -> None:
        (world.folder / "monthly.txt").write_text("{% if %}")

        assert one(world.ask(), "MR301").stage == "template"

    def test_template_file_that_is_gone(self, world: World) -> None:
        (world.folder / "monthly.txt").unlink()

        assert one(world.ask(), "MR301").stage == "template"

    def test_undefined_variable_for_this_customer(self, world: World) -> None:
        world.definition["subject"] = "{{ customer.meta.contract }}"

        report = world.ask()

        assert "contract" in said(report, "MR302")
        assert report.primary == "MR302"

    def test_missing_document_row(self, world: World) -> None:
        world.empty("documents")

        report = world.ask()

        assert report.primary == "MR401"
        assert "INV-1 has no 'pdf' document" in said(report, "MR401")

    def test_document_file_that_is_not_there(self, world: World) -> None:
        world.change("documents", content=None, path="gone.pdf")

        assert world.ask().primary == "MR401"

    def test_document_that_is_no_pdf(self, world: World) -> None:
        world.change("documents", content=b"<html>")

        assert world.ask().primary == "MR403"

    def test_document_outside_the_folder(self, world: World) -> None:
        world.change("documents", content=None, path="../secret.pdf")

        assert world.ask().primary == "MR407"


class TestRunAndMessage:
    def test_stopped_run_says_who_when_and_how_many(self, world: World) -> None:
        run = world.run()
        world.move(run, RunStatus.STOPPING, RunStatus.STOPPED)

        report = world.ask()

        assert report.primary == "MR502"
        assert f"run {run.id} was stopped by " in said(report, "MR502")
        assert "1 in scope: 1 pending" in said(report, "MR502")
        assert one(report, "MR502").remedy == f"msgrun restart {run.id}"

    def test_paused_run_shows_the_last_error(self, world: World) -> None:
        run = world.run()
        world.move(run, RunStatus.PAUSED, reason="MR603", detail="connection refused")

        assert "last error: MR603 connection refused" in said(world.ask(), "MR502")

    def test_stopped_run_is_no_fault_of_a_message_that_was_sent(self, world: World) -> None:
        run = world.run()
        world.settle(run, MessageState.SENT, sent_at=SENT_AT, code=250, reply="ok")
        world.move(run, RunStatus.STOPPING, RunStatus.STOPPED)

        report = world.ask()

        assert report.primary == "MR508"
        assert "MR502" not in {each.code for each in report.findings}

    def test_waits_its_turn_while_a_worker_lives(self, world: World) -> None:
        run = world.run()
        with definition_lock(world.database, "monthly"):
            with world.database.write() as connection:
                now = world.database.now(connection)
                workers.register(connection, world.database.tables, run.id, now)

            report = world.ask()

        assert report.verdict == "Waiting: its turn has not come"
        assert (report.primary, one(report, "MR505").remedy) == ("MR505", "wait")

    def test_run_of_other_customers_says_so(self, world: World) -> None:
        world.add("customers", code="C2", name="Bolt", cluster="DE", suspended=False)
        run = world.run(customers=("C2",))

        report = world.ask(run=str(run.id))

        assert report.primary == "MR501"
        assert said(report, "MR501") == f"run {run.id} covered only C2"

    def test_run_that_was_named_is_asked_with_its_own_definition(self, world: World) -> None:
        run = world.run()
        world.definition["recipient_key"] = "post"

        report = world.ask(run=str(run.id))

        assert "MR105" not in {each.code for each in report.findings}

    def test_running_without_a_worker(self, world: World) -> None:
        world.run()

        report = world.ask()

        assert report.primary == "MR503"
        assert "no process has ever worked on it" in said(report, "MR503")

    def test_deferred_shows_tries_next_try_and_reply(self, world: World) -> None:
        run = world.run()
        world.settle(
            run, MessageState.DEFERRED, reason="MR505", attempts=3, code=451, enhanced="4.7.1",
            reply="greylisted", stage="rcpt", due_at=SENT_AT + timedelta(hours=1),
        )  # fmt: skip
        world.move(run, RunStatus.WAITING)

        report = world.ask()

        assert report.verdict == "Waiting: the server deferred it: 451 4.7.1 greylisted"
        assert "3 tries, the next 2026-11-01T08:00:03Z" in said(report, "MR505")
        assert report.exit_code == 0

    def test_refusal_is_quoted_word_for_word_with_its_meaning(self, world: World) -> None:
        run = world.run()
        world.settle(
            run, MessageState.REJECTED, reason="MR506", stage="rcpt", code=550,
            enhanced="5.1.1", reply="User unknown",
        )  # fmt: skip
        world.move(run, RunStatus.FINISHED)

        report = world.ask()

        assert report.primary == "MR506"
        assert "at RCPT: 550 5.1.1 User unknown | There is no such mailbox" in said(report, "MR506")
        assert f"msgrun restart {run.id} --failed" in one(report, "MR506").remedy

    def test_in_doubt_names_the_message_id_and_where_to_look(self, world: World) -> None:
        run = world.run()
        world.settle(run, MessageState.IN_DOUBT, reason="MR507")
        world.move(run, RunStatus.FINISHED)

        report = world.ask()

        assert report.verdict.startswith("In doubt: ")
        assert "@sender.test>" in said(report, "MR507")
        assert "server's log" in one(report, "MR507").remedy

    def test_sent_names_time_reply_and_queue_id(self, world: World) -> None:
        world.sent(world.run())

        report = world.ask()

        assert report.primary == "MR508"
        assert "250 2.0.0 Ok: queued as Q7 | queue id Q7" in said(report, "MR508")
        assert report.exit_code == 0

    def test_what_changed_after_sending_is_no_failure(self, world: World) -> None:
        world.sent(world.run())
        world.change("invoices", status="Closed")

        report = world.ask()

        assert one(report, "MR123").status is Status.WARN
        assert (report.primary, report.exit_code) == ("MR508", 0)

    def test_sent_to_another_address_than_todays(self, world: World) -> None:
        world.sent(world.run())
        world.change("addresses", address="new@acme.test")

        assert said(world.ask(), "MR510") == "sent to a@acme.test; today's is new@acme.test"

    def test_redirected_run_did_not_reach_the_customer(self, world: World) -> None:
        run = world.run(redirect_to="me@sender.test")
        world.sent(run)

        report = world.ask()
        named = world.ask(run=str(run.id))

        assert report.primary == "MR501"
        assert "me@sender.test" in said(report, "MR511")
        assert named.primary == "MR511"

    @pytest.mark.parametrize("code", ["MR302", "MR512"])
    def test_failed_row_gives_its_reason_and_detail(self, world: World, code: str) -> None:
        run = world.run()
        world.settle(run, MessageState.FAILED, reason=code, detail="seen at that time")
        world.move(run, RunStatus.FINISHED)

        report = world.ask()

        assert report.primary == code
        assert "seen at that time" in said(report, code)

    def test_deadline_passed(self, world: World) -> None:
        run = world.run()
        world.settle(run, MessageState.REJECTED, reason="MR513", attempts=9, code=452, reply="full")
        world.move(run, RunStatus.FINISHED)

        assert "9 tries; the last answer: 452 full" in said(world.ask(), "MR513")

    def test_a_newer_period_without_a_run_comes_first(self, world: World) -> None:
        world.add_invoice("I0", "INV-0", period_end="2026-09-30")
        world.sent(world.run(period="2026-09"))

        report = world.ask()

        assert [case.primary for case in report.cases] == ["MR501", "MR508"]
        assert report.primary == "MR501"

    def test_each_invoice_is_a_case(self, world: World) -> None:
        world.sent(world.run())
        world.add_invoice("I2", "INV-2", status="Open")

        report = world.ask()

        assert [(case.invoice, case.primary) for case in report.cases] == [
            ("INV-1", "MR508"),
            ("INV-2", "MR123"),
        ]
        assert report.primary == "MR123"
        assert report.verdict.endswith("(1 of 2 were sent)")

    def test_what_was_is_shown_beside_what_is(self, world: World) -> None:
        world.definition["recipient_key"] = "invoices"
        run = world.run()
        world.move(run, RunStatus.FINISHED)
        world.definition["recipient_key"] = "invoice"

        report = world.ask()

        evidence = [text for each in report.findings for text in each.evidence]
        assert (
            f"recipient_key: run {run.id} had 'invoices'; msgrun.toml has 'invoice' now" in evidence
        )
        assert report.primary == "MR124"

    def test_one_repair_does_not_reveal_the_next_fault(self, world: World) -> None:
        world.change("addresses", key="invoices")
        world.change("invoices", status="Open")
        world.empty("documents")
        world.definition["subject"] = "{{ nothing }}"

        codes = [each.code for each in world.ask().findings if each.status is Status.FAIL]

        assert codes == ["MR106", "MR123", "MR204", "MR302", "MR401"]

    def test_definitions_that_touch_the_customer_are_walked(self, world: World) -> None:
        world.further["other"] = {**world.definition, "cluster": "US"}
        world.further["twin"] = dict(world.definition)

        report = world.ask()

        assert [case.definition for case in report.cases] == ["monthly", "twin"]

    def test_without_a_period_the_run_is_left_out_with_that_reason(self, world: World) -> None:
        del world.definition["period"]

        stages = {each.stage: each.status for each in world.ask().stages}

        assert stages["run"] == stages["invoice"] == "skipped"


class TestEnvironment:
    def test_broken_mapping_is_a_finding_and_the_rest_is_still_checked(self, world: World) -> None:
        world.change("invoices", period_end="31.10.2026")

        report = world.ask()

        assert (report.primary, report.exit_code) == ("MR006", 4)
        assert "31.10.2026" in said(report, "MR006")
        assert {"definition", "template", "smtp"} <= {each.stage for each in report.stages}

    def test_a_crashed_check_does_not_hide_the_others(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def crash(*_: object) -> list[Any]:
            raise ZeroDivisionError("a planted bug")

        monkeypatch.setattr(diagnosis, "check_cluster", crash)
        world.sent(world.run())

        report = world.ask()

        assert said(report, "MR090") == "ZeroDivisionError: a planted bug"
        assert report.primary == "MR508"
        assert len(report.stages) == 13


class TestServer:
    def test_a_working_server_is_told_compactly(self, world: World, tmp_path: Path) -> None:
        with running_sink(tmp_path / "sink") as sink:
            world.server["port"] = sink.port
            world.sent(world.run())

            report = world.ask(offline=False)

        (smtp,) = [each for each in report.findings if each.stage == "smtp"]
        assert smtp.status is Status.PASS
        assert smtp.evidence[0].startswith(f"127.0.0.1:{sink.port} no TLS, ")
        assert sink.received == []

    def test_refused_connection(self, world: World) -> None:
        report = world.ask(offline=False)

        assert one(report, "MR603").status is Status.FAIL

    def test_a_fault_of_the_server_is_shown_after_a_sent_message(self, world: World) -> None:
        world.sent(world.run())

        report = world.ask(offline=False)

        assert (report.primary, report.exit_code) == ("MR508", 4)
        assert one(report, "MR603").status is Status.FAIL

    def test_host_not_set(self, world: World) -> None:
        world.server["host"] = ""

        assert one(world.ask(), "MR601").stage == "smtp"

    def test_password_not_set(self, world: World) -> None:
        world.server |= {"username": "billing", "password_env": "NOT_SET"}

        assert "NOT_SET" in said(world.ask(), "MR601")

    @pytest.mark.parametrize(
        ("server", "answers", "code"),
        [
            ({}, {"banner": "HTTP/1.1 400 Bad Request"}, "MR605"),
            ({"security": "starttls"}, {}, "MR607"),
            ({"username": "u", "password_file": "secret"}, {}, "MR614"),
            ({}, {"mail": "553 5.7.1 Sender address rejected: not owned by user"}, "MR616"),
        ],
    )
    def test_how_far_the_server_lets_us_come(
        self, world: World, server: dict[str, Any], answers: dict[str, str], code: str
    ) -> None:
        (world.folder / "secret").write_text("s3cret")
        with scripted(answers) as port:
            world.server |= {"port": port, **server}

            report = world.ask(offline=False)

        assert one(report, code).status is Status.FAIL
        assert "s3cret" not in str(report)

    def test_smtputf8_not_offered_fails_the_address(self, world: World) -> None:
        world.change("addresses", address="bjørn@acme.test")
        with scripted({}) as port:
            world.server["port"] = port

            report = world.ask(offline=False)

        assert report.primary == "MR109"

    def test_message_larger_than_the_server_takes(self, world: World) -> None:
        with scripted({"ehlo": "250-test.example\r\n250 SIZE 100"}) as port:
            world.server["port"] = port

            report = world.ask(offline=False)

        assert report.primary == "MR405"

    def test_a_server_too_slow_to_tell_is_unknown(self, world: World) -> None:
        with scripted({}, delay=0.35) as port:
            world.server |= {"port": port, "timeout": 0.5}

            report = world.ask(None, offline=False)

        assert one(report, "MR091").status is Status.UNKNOWN
        assert (report.primary, report.exit_code) == ("MR091", 5)


class TestWithoutCustomer:
    def test_ready(self, world: World) -> None:
        report = world.ask(None)

        assert report.verdict == "Ready: 1 definition, 1 server"
        assert report.exit_code == 0

    def test_key_that_nobody_has(self, world: World) -> None:
        world.definition["recipient_key"] = "post"

        report = world.ask(None)

        assert (report.primary, report.exit_code) == ("MR204", 4)

    def test_selecting_nobody_shows_the_funnel(self, world: World) -> None:
        world.change("invoices", status="Open")

        assert "MR123: 1" in said(world.ask(None), "MR205")

    def test_sample_that_cannot_be_filled_in(self, world: World) -> None:
        world.definition["subject"] = "{{ customer.meta.contract }}"

        assert world.ask(None).primary == "MR302"

    def test_every_definition_is_looked_at(self, world: World) -> None:
        world.further["broken"] = {**world.definition, "from_key": "nobody"}
        world.further["off"] = {**world.definition, "enabled": False}

        report = world.ask(None)

        assert one(report, "MR202").subject == "broken"
        assert one(report, "MR201").status is Status.WARN


@contextmanager
def scripted(answers: Mapping[str, str], delay: float = 0.0) -> Iterator[int]:
    """Run a mail server without any extension, in a thread; give its port."""
    usual = {"ehlo": "250 test.example", "mail": "250 ok", "rset": "250 ok", "quit": "221 bye"}
    answers = {"banner": "220 test.example ESMTP", **usual, **answers}

    class Dialogue(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            command = "banner"
            with suppress(OSError):  # the client may hang up at any time
                while command:
                    time.sleep(delay)
                    self.wfile.write(f"{answers.get(command, '502 what?')}\r\n".encode())
                    command = self.rfile.readline().decode()[:4].lower()

        def finish(self) -> None:
            with suppress(OSError):
                super().finish()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Dialogue) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def test_nothing_is_written_by_asking(world: World) -> None:
    run = world.run()
    before = world.states()

    world.ask()
    world.ask(run=str(run.id))

    assert world.states() == before


def test_a_report_can_be_made_again(world: World) -> None:
    report = world.ask()

    assert replace(report) == world.ask()
