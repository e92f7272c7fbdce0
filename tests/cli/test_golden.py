"""What each command prints, word for word; `UPDATE_GOLDEN=1 pytest` writes the files anew."""

import re
from collections.abc import Callable, Sequence

import pytest

from cli.golden_text import same_as_golden
from cli.program import Program
from msgrun.demo.sink import Sink


def test_import(bare: Program) -> None:
    bare("import", "customers.csv")
    same_as_golden("import", bare("import", "customers.csv", "clusters.csv").out)


def test_plan(msgrun: Program) -> None:
    same_as_golden("plan", msgrun("plan").out)


def test_plan_of_a_redirected_and_limited_run(msgrun: Program) -> None:
    msgrun.edit("connections = 1", "connections = 1\nrate_per_minute = 2")
    options = ("--redirect-to", "me@acme.test", "--limit", "2", "--resend", "--bcc", "b@acme.test")
    selection = ("--period", "all", "--cluster", "Europe", "--no-children", "--customer", "CU1")
    same_as_golden("plan_options", msgrun("plan", "monthly", *selection, *options).out)


def test_start(msgrun: Program) -> None:
    same_as_golden("start", msgrun("start", "--yes").out)


def test_show_results_and_runs(msgrun: Program) -> None:
    msgrun("start", "--yes")

    same_as_golden("show", msgrun("show").out)
    same_as_golden("results", msgrun("results").out)
    same_as_golden("results_none", msgrun("results", "--state", "in_doubt").out)
    same_as_golden("runs", re.sub(r"\S+@\S+", "<user>", msgrun("runs").out))


def test_restart_says_first_what_it_sends(msgrun: Program) -> None:
    msgrun("start", "--yes")
    msgrun.write(
        "addresses-new.csv",
        "customer,key,address\nCU5,invoice,right@cu5.test\nCU3,invoice,three@cu3.test\n",
    )
    msgrun("import", "addresses-new.csv")

    same_as_golden("restart_dry_run", msgrun("restart", "--failed", "--dry-run").out)
    same_as_golden("restart_nothing", msgrun("restart", "--yes").out)


def test_restart_names_changed_addresses_and_new_exclusions(msgrun: Program, sink: Sink) -> None:
    sink.refuse["good@cu2.test"] = "451 4.2.0 later"
    sink.refuse["one@cu1.test"] = "451 4.2.0 later"
    msgrun("start", "--yes", "--no-wait")
    file = msgrun.write(
        "invoices-new.csv",
        "id,customer,number,status,date\ni1,CU1,INV-1,Open,2026-10-03\n",
    )
    other = msgrun.write("addresses-x.csv", "customer,key,address\nCU2,invoice,new@cu2.test\n")
    msgrun("import", file, other)

    same_as_golden("restart_changes", msgrun("restart", "--yes", "--no-wait").out)


def test_stop_and_cancel(msgrun: Program, sink: Sink, many: Callable[[int], Sequence[str]]) -> None:
    many(2)
    sink.refuse["one@cu1.test"] = "451 4.2.0 later"
    msgrun("start", "--yes", "--no-wait")

    same_as_golden("stop", msgrun("stop").out)
    same_as_golden("cancel", msgrun("cancel").out)


def test_watch_of_a_run_at_rest(msgrun: Program) -> None:
    msgrun("start", "--yes")

    same_as_golden("watch", msgrun("watch").out)


@pytest.mark.parametrize("word", ["MR105", "in_doubt", "paused"])
def test_explain(bare: Program, word: str) -> None:
    same_as_golden(f"explain_{word}", bare("explain", word).out)


def test_init(bare: Program) -> None:
    same_as_golden("init", bare("init", "fresh").out)


def test_db(bare: Program) -> None:
    same_as_golden("db", bare("db", "upgrade").out + bare("db", "current").out)


def test_csv(msgrun: Program) -> None:
    msgrun("start", "--yes")
    msgrun("results", "--csv", "out.csv")

    text = (msgrun.folder / "out.csv").read_text(encoding="utf-8-sig")
    text = re.sub(r"<[0-9a-f]{32}\.", "<<uid>.", text)
    same_as_golden("csv", re.sub(r"[0-9A-F]{10}", "<id>", text))
