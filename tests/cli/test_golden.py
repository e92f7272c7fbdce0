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


def bill_november(msgrun: Program) -> None:
    """After a run of October: one customer is new, one gone quiet, one moved, one far off."""
    assert msgrun("start", "--yes").code
    files = {
        "customers-n": "code,name,cluster\nCU6,New,Europe\n",
        "addresses-n": "customer,key,address\nCU6,invoice,six@cu6.test\n",
        "invoices-n": "id,customer,number,status,date,currency,total\n"
        "n1,CU1,N-1,Approved,2026-11-03,EUR,99000\nn6,CU6,N-6,Approved,2026-11-03,EUR,10\n",
    }
    names = [msgrun.write(f"{relation}.csv", text) for relation, text in files.items()]
    moved = msgrun.write("addresses-m.csv", "customer,key,address\nCU1,invoice,two@cu1.test\n")
    assert msgrun("import", *names, moved).code == 0


def test_plan_beside_the_last_run(msgrun: Program) -> None:
    bill_november(msgrun)

    same_as_golden("plan_beside", msgrun("plan", "--period", "2026-11").out)
    same_as_golden("plan_compare", msgrun("plan", "--period", "2026-11", "--compare").out)


def test_plan_json_has_the_comparison_beside_its_other_keys(msgrun: Program) -> None:
    assert msgrun("plan", "--json").json["comparison"] is None
    bill_november(msgrun)

    short = msgrun("plan", "--period", "2026-11", "--json").json["comparison"]
    whole = msgrun("plan", "--period", "2026-11", "--compare", "--json").json["comparison"]

    assert (
        set(short)
        == set(whole)
        == {
            *(
                "run",
                "runs",
                "period",
                "created_at",
                "messages",
                "totals",
                "invoices_gone",
                "reasons",
            ),
            *("new", "missing", "addresses", "amounts", "attachments", "sizes"),
        }
    )
    assert (short["amounts"], short["new"], short["reasons"]) == (
        None, whole["new"], {"MR122": 1}
    )  # fmt: skip
    assert whole["messages"] == {"before": 2, "now": 2, "far": False}
    assert whole["totals"] == {"EUR": {"before": "1260.5", "now": "99010", "far": True}}
    assert whole["amounts"] == {
        "count": 1,
        "examples": [
            {"customer": "CU1", "before": "EUR 1,250.50", "now": "EUR 99,000.00", "reason": None}
        ],
    }
