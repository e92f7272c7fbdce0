"""A run from the command line: sent, stopped, restarted, cancelled; JSON for scripts."""

import json
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cli.program import DATA, Program
from msgrun.demo.sink import Sink
from msgrun.errors import ExitCode

COUNTS = {
    "in_scope", "sent", "skipped", "rejected", "failed", "in_doubt", "pending", "deferred",
    "bounced",
}  # fmt: skip
RUN = {
    "id", "definition", "status", "cluster", "period", "created_at", "started_at", "finished_at",
    "schedule", "slot",
}  # fmt: skip
MESSAGE = {
    "message", "run", "customer", "invoices", "to", "state", "reason", "message_id", "code",
    "enhanced", "reply", "queue_id", "attempts", "sent_at",
}  # fmt: skip
Many = Callable[[int], Sequence[str]]


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.01)


def received(sink: Sink) -> list[str]:
    return sorted(each.message_id for each in sink.received)


def test_a_run_that_leaves_something_exits_3_and_its_document_balances(
    msgrun: Program, sink: Sink
) -> None:
    done = msgrun("start", "--yes", "--json")

    document = done.json
    assert done.code == ExitCode.INCOMPLETE
    assert document.keys() == {
        "schema", "run", "counts", "messages", "skipped", "in_scope_balances"
    }  # fmt: skip
    assert document["run"].keys() == RUN
    assert document["counts"].keys() == COUNTS
    assert document["messages"].keys() == COUNTS
    assert document["skipped"] == {"MR105": 1, "MR123": 1}
    assert document["in_scope_balances"] is True
    counts = document["counts"]
    assert (counts["in_scope"], counts["sent"], counts["rejected"]) == (5, 2, 1)
    assert document["run"]["created_at"].endswith("Z")
    assert len(sink.received) == 2
    assert "Plan of monthly" in done.err
    assert msgrun("show", "--json").json == document
    assert msgrun("watch", "--json").json == document


def test_a_run_that_sends_all_exits_0(msgrun: Program) -> None:
    assert msgrun("start", "--customer", "CU1", "--yes").code == ExitCode.DONE


def test_a_message_with_a_refused_recipient_exits_3(msgrun: Program) -> None:
    assert msgrun("start", "--customer", "CU2", "--yes").code == ExitCode.INCOMPLETE


def test_results_have_one_line_a_message_with_the_keys_of_the_contract(msgrun: Program) -> None:
    msgrun("start", "--yes")

    lines = msgrun("results", "--json").json_lines

    by_customer = {line["customer"]: line for line in lines}
    assert list(by_customer) == ["CU1", "CU2", "CU3", "CU4", "CU5"]
    assert all(line.keys() - {"refused"} == MESSAGE for line in lines)
    assert by_customer["CU1"]["invoices"] == [{"id": "i1", "number": "INV-1"}]
    assert by_customer["CU1"]["to"] == ["one@cu1.test"]
    assert by_customer["CU1"]["code"] == 250
    assert by_customer["CU1"]["queue_id"] in by_customer["CU1"]["reply"]
    assert by_customer["CU2"]["invoices"][0]["number"] == "Concept"
    assert [each["address"] for each in by_customer["CU2"]["refused"]] == ["bad@cu2.test"]
    assert by_customer["CU3"]["reason"] == "MR105"
    assert by_customer["CU5"]["state"] == "rejected"
    assert (by_customer["CU5"]["code"], by_customer["CU5"]["enhanced"]) == (550, "5.1.1")
    only = msgrun("results", "--state", "rejected", "--state", "skipped", "--json").json_lines
    assert [line["customer"] for line in only] == ["CU3", "CU4", "CU5"]


def test_a_result_shows_the_number_as_it_is_now(msgrun: Program) -> None:
    msgrun("start", "--yes")
    file = msgrun.write(
        "invoices-new.csv", "id,customer,number,status,date\ni2,CU2,INV-2,Closed,2026-10-04\n"
    )
    msgrun("import", file)

    assert "INV-2" in msgrun("results").out
    assert "Concept" not in msgrun("results").out


def test_data_that_looks_like_markup_is_printed_as_it_is(msgrun: Program) -> None:
    file = msgrun.write(
        "invoices-x.csv",
        "id,customer,number,status,date\ni1,CU1,[/red][contoso.com],Approved,2026-10-03\n",
    )
    msgrun("import", file)
    msgrun("start", "--yes")

    assert "[/red][contoso.com]" in msgrun("results").out


def test_plan_says_the_same_as_the_run_that_follows_and_writes_nothing(msgrun: Program) -> None:
    planned = msgrun("plan", "--json")
    dry = msgrun("start", "--dry-run", "--json")

    assert planned.code == 0
    assert planned.json == dry.json
    assert planned.json["run"] is None
    assert planned.json["in_scope_balances"] is True
    assert msgrun.runs() == []
    started = msgrun("start", "--yes", "--json").json
    assert started["skipped"] == planned.json["skipped"]
    assert started["counts"]["in_scope"] == planned.json["counts"]["in_scope"]
    for figure in ("in_scope", "skipped"):
        assert started["messages"][figure] == planned.json["messages"][figure]
    assert (
        started["counts"]["sent"] + started["counts"]["rejected"]
        == (planned.json["counts"]["pending"])
    )


def test_the_same_invoice_is_not_sent_again_without_resend(msgrun: Program, sink: Sink) -> None:
    msgrun("start", "--customer", "CU1", "--yes")
    again = msgrun("start", "--customer", "CU1", "--yes", "--json")
    assert again.json["skipped"] == {"MR125": 1}
    assert len(sink.received) == 1

    msgrun("start", "--customer", "CU1", "--yes", "--resend")
    assert len(sink.received) == 2


def test_once_is_quiet_when_the_run_has_finished(msgrun: Program, sink: Sink) -> None:
    first = msgrun("start", "--once")
    again = msgrun("start", "--once")

    assert first.code == ExitCode.INCOMPLETE
    assert (again.code, again.out, again.err) == (ExitCode.DONE, "", "")
    assert len(msgrun.runs()) == 1
    assert len(sink.received) == 2


def test_a_redirected_run_goes_to_one_address_only(msgrun: Program, sink: Sink) -> None:
    done = msgrun("start", "--redirect-to", "me@acme.test", "--yes")

    assert done.code == ExitCode.DONE
    assert {each.recipients for each in sink.received} == {("me@acme.test",)}
    assert "ALL REDIRECTED to me@acme.test" in done.out


def test_a_stopped_run_sends_the_rest_only_when_it_is_restarted(
    msgrun: Program, sink: Sink, many: Many
) -> None:
    many(12)
    sink.delay = 0.2
    with msgrun.open("start", "--yes", "--json") as process:
        wait_for(lambda: len(sink.received) >= 2)
        watching = msgrun.open("watch", "--json")
        moving = msgrun("results", "--state", "pending", "--json").json_lines
        stopped = msgrun("stop")
        _, told = process.communicate(timeout=30)
    with watching:
        seen, _ = watching.communicate(timeout=30)

    assert stopped.code == ExitCode.DONE
    assert process.returncode == ExitCode.INCOMPLETE
    assert "stopped" in told
    document = msgrun("show", "--json").json
    assert document["run"]["status"] == "stopped"
    assert document["in_scope_balances"] is True
    assert json.loads(seen) == document
    assert document["counts"]["sent"] == len(sink.received) < 12
    left = msgrun("results", "--state", "pending", "--json").json_lines
    assert {line["reason"] for line in moving} == {"MR505"}
    assert {line["reason"] for line in left} == {"MR502"}

    sink.delay = 0
    again = msgrun("restart", "--yes")

    assert again.code == ExitCode.DONE
    assert f"{len(left)} never tried" in again.out
    assert len(set(received(sink))) == len(sink.received) == 12


def test_watch_follows_a_run_to_its_end(msgrun: Program, sink: Sink, many: Many) -> None:
    many(20)
    sink.delay = 2  # twenty seconds for the command below to begin
    with msgrun.open("start", "--yes") as process:
        wait_for(lambda: len(sink.received) >= 1)
        with msgrun.open("watch") as watching:
            assert watching.stdout is not None
            first = watching.stdout.readline()
            sink.delay = 0
            sink.refuse["one@cu1.test"] = "451 4.2.0 later"
            rest, _ = watching.communicate(timeout=30)
        process.communicate(timeout=30)

    assert first.startswith("run 1 · monthly · ")
    assert "deferred  CU1  N-n020  one@cu1.test  MR505  451 4.2.0 later" in rest
    assert "run 1 waiting: " in rest
    assert "Run 1 · monthly · waiting" in rest
    assert watching.returncode == ExitCode.INCOMPLETE


def test_watch_ends_when_the_worker_is_dead(msgrun: Program, sink: Sink, many: Many) -> None:
    many(20)
    sink.delay = 0.2
    with msgrun.open("start", "--yes") as process:
        wait_for(lambda: len(sink.received) >= 1)
        process.kill()
    done = msgrun("watch")

    assert "nobody works on run 1: `msgrun restart 1` goes on with it" in done.out
    assert done.code == ExitCode.INCOMPLETE


def test_results_that_nobody_reads_on_do_not_hold_up_a_writer(
    msgrun: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "".join(f"x{each:03},CU4,N-{each},Open,2026-10-03\n" for each in range(400))
    msgrun.write("invoices-x.csv", f"id,customer,number,status,date\n{rows}")
    msgrun("import", "invoices-x.csv")
    msgrun("start", "--yes")
    monkeypatch.setattr("msgrun.database.BUSY_SECONDS", 0.2)
    with msgrun.open("results", "--json") as reading:
        assert reading.stdout is not None
        reading.stdout.readline()
        imported = msgrun("import", "customers.csv")
        reading.stdout.read()

    assert imported.code == ExitCode.DONE
    assert reading.returncode == ExitCode.DONE


def test_postgresql_wants_db_upgrade_and_then_works(
    msgrun: Program, sink: Sink, empty_postgresql_url: str
) -> None:
    msgrun.edit("sqlite:///msgrun.db", empty_postgresql_url)
    first = msgrun("plan")
    assert first.code == ExitCode.ERROR
    assert "msgrun db upgrade" in first.err

    assert msgrun("db", "upgrade").code == ExitCode.DONE
    assert msgrun("import", *(f"{relation}.csv" for relation in DATA)).code == ExitCode.DONE
    assert msgrun("plan", "--json").json["counts"]["pending"] == 3
    assert msgrun("start", "--yes").code == ExitCode.INCOMPLETE

    assert msgrun("watch", "--json").json["counts"]["sent"] == len(sink.received) == 2
    assert len(msgrun("results", "--json").json_lines) == 5


def test_ctrl_c_stops_like_stop_and_exits_130(msgrun: Program, sink: Sink, many: Many) -> None:
    many(12)
    sink.delay = 0.2
    with msgrun.open("start", "--yes") as process:
        wait_for(lambda: len(sink.received) >= 2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)

    assert process.returncode == ExitCode.INTERRUPTED
    assert "Traceback" not in out + err
    assert msgrun.runs()[0]["status"] == "stopped"
    assert len(sink.received) < 12


def test_a_second_start_while_one_runs_exits_11(msgrun: Program, sink: Sink, many: Many) -> None:
    many(12)
    sink.delay = 0.2
    with msgrun.open("start", "--yes") as process:
        wait_for(lambda: len(sink.received) >= 1)
        second = msgrun("start", "--yes")
        again = msgrun("restart", "--yes")
        msgrun("stop")
        process.communicate(timeout=30)

    assert second.code == again.code == ExitCode.ALREADY_RUNNING
    assert "hint: " in second.err
    assert len(msgrun.runs()) == 1


def test_a_run_goes_on_when_nobody_reads_its_output(
    msgrun: Program, sink: Sink, many: Many
) -> None:
    many(12)
    sink.delay = 0.05
    with msgrun.open("start", "--yes") as process:
        wait_for(lambda: len(sink.received) >= 1)
        assert process.stdout is not None
        process.stdout.close()
        process.wait(timeout=30)

    assert process.returncode == ExitCode.DONE
    assert len(sink.received) == 12


def test_deferred_messages_wait_for_a_restart_where_nobody_waits(
    msgrun: Program, sink: Sink
) -> None:
    sink.refuse["one@cu1.test"] = "451 4.2.0 later"
    started = msgrun("start", "--customer", "CU1", "--yes", "--json")
    assert started.code == ExitCode.INCOMPLETE
    assert started.json["run"]["status"] == "waiting"
    assert "451 4.2.0 later" in started.err

    del sink.refuse["one@cu1.test"]
    shown = msgrun("restart", "--dry-run", "--yes")
    assert shown.code == ExitCode.DONE
    assert "1 deferred, 0 never tried" in shown.out
    assert msgrun.runs()[0]["status"] == "waiting"
    assert sink.received == []

    assert msgrun("restart", "--yes").code == ExitCode.DONE
    assert len(sink.received) == 1


def test_a_dry_restart_exits_0_also_when_nothing_is_left(msgrun: Program) -> None:
    msgrun("start", "--yes")

    shown = msgrun("restart", "--dry-run")

    assert "nothing left to send" in shown.out
    assert shown.code == ExitCode.DONE


def test_restart_failed_sends_what_was_repaired(msgrun: Program, sink: Sink) -> None:
    msgrun("start", "--yes")
    del sink.refuse["unknown@cu5.test"]

    assert msgrun("restart", "--failed", "--dry-run").code == ExitCode.DONE
    assert len(sink.received) == 2
    document = msgrun("restart", "--failed", "--yes", "--json").json

    assert document["counts"]["rejected"] == 0
    assert document["counts"]["sent"] == 3
    assert document["in_scope_balances"] is True


def test_cancel_frees_what_was_not_sent(msgrun: Program, sink: Sink) -> None:
    sink.refuse["one@cu1.test"] = "451 4.2.0 later"
    msgrun("start", "--customer", "CU1", "--yes")

    cancelled = msgrun("cancel", "--json")

    assert cancelled.code == ExitCode.DONE
    assert cancelled.json["run"]["status"] == "cancelled"
    assert cancelled.json["skipped"] == {"MR128": 1}
    assert msgrun("restart", "--yes").code == ExitCode.USAGE
    del sink.refuse["one@cu1.test"]
    assert msgrun("start", "--customer", "CU1", "--yes").code == ExitCode.DONE


def test_runs_lists_the_newest_first(msgrun: Program) -> None:
    msgrun("start", "--customer", "CU1", "--yes")
    msgrun("start", "--customer", "CU2", "--yes")

    assert [run["id"] for run in msgrun.runs()] == [2, 1]
    assert all(run.keys() == RUN for run in msgrun.runs())
    assert len(msgrun("runs", "--limit", "1", "--json").json["runs"]) == 1


def test_csv_cells_cannot_be_formulas(msgrun: Program, tmp_path: Path) -> None:
    file = msgrun.write(
        "invoices-x.csv",
        "id,customer,number,status,date\ni1,CU1,=1+1,Approved,2026-10-03\n"
        "-5,CU1,-7,Approved,2026-10-03\n",
    )
    msgrun("import", file)
    msgrun("start", "--yes")

    assert msgrun("results", "--csv", "out.csv").code == 0

    text = (msgrun.folder / "out.csv").read_text(encoding="utf-8-sig")
    assert ",'=1+1," in text
    assert ",-5,-7," in text
    assert msgrun("results", "--csv", "no/such/folder.csv").code == ExitCode.USAGE


def test_explain_as_json(bare: Program) -> None:
    document = bare("explain", "105", "--json").json

    assert document.keys() == {"schema", "word", "kind", "title", "severity", "text", "remedy"}
    assert document["word"] == "MR105"


def test_import_as_json(bare: Program) -> None:
    document = bare("import", "customers.csv", "--json").json

    assert document == {
        "schema": 1,
        "imported": {"customers": {"inserted": 5, "updated": 0, "deleted": 0}},
    }


def test_results_of_a_redirected_run_say_where_the_mail_really_went(msgrun: Program) -> None:
    msgrun("start", "--yes", "--redirect-to", "me@operator.test")

    rows = [json.loads(line) for line in msgrun("results", "--json").out.splitlines()]

    sent = [row for row in rows if row["state"] == "sent"]
    assert {tuple(row["to"]) for row in sent} == {("me@operator.test",)}
    assert all(row["redirected_from"] for row in sent)


def test_a_plan_that_selects_nobody_shows_its_figures_and_exits_4(msgrun: Program) -> None:
    planned = msgrun("plan", "--period", "1999-01", "--json")

    assert json.loads(planned.out)["counts"]["in_scope"] == 0
    assert planned.code == ExitCode.DOCTOR_ERRORS
    assert "MR205" in planned.err


def test_a_plan_names_the_blind_copies_of_the_definition_too(msgrun: Program) -> None:
    msgrun.edit('cluster = "All"', 'bcc = ["a@acme.test"]\ncluster = "All"')
    shown = msgrun("plan", "--bcc", "b@acme.test").out
    assert "a@acme.test, b@acme.test" in shown
