"""`msgrun doctor --all` on the command line: JSON Lines, the CSV file, what excludes what."""

import csv
from pathlib import Path

import pytest

from cli.program import Program
from msgrun.errors import ExitCode


def test_json_lines_go_from_the_scope_to_the_verdict(msgrun: Program) -> None:
    done = msgrun("doctor", "--all", "--offline", "--json")

    lines = done.json_lines
    assert done.code == ExitCode.DOCTOR_ERRORS
    assert (lines[0]["schema"], lines[0]["kind"], lines[-1]["kind"]) == (1, "scope", "verdict")
    assert lines[-1]["exit_code"] == done.code
    rules = {line["code"]: line["invoices"] for line in lines if line["kind"] == "rule"}
    assert rules == {"MR105": 1, "MR123": 1, None: 3}


def test_text_names_the_rules_and_data_is_no_markup(msgrun: Program) -> None:
    done = msgrun("doctor", "--all", "--offline")

    assert "MR105  No address under the key" in done.out
    assert "Müller [/red] GmbH" in done.out


def test_after_a_run_the_answers_are_counted(msgrun: Program) -> None:
    msgrun("start", "--yes")

    lines = msgrun("doctor", "--all", "--run", "last", "--json").json_lines

    states = {(line["state"], line["code"]): line["messages"] for line in lines
              if line["kind"] == "state"}  # fmt: skip
    assert states[("rejected", "MR506")] == 1
    assert "pass" in {line["status"] for line in lines if line["kind"] == "server"}


def test_the_csv_file_has_a_row_for_each_without_a_message(msgrun: Program) -> None:
    done = msgrun("doctor", "--all", "--offline", "--csv", "missing.csv")

    with (msgrun.folder / "missing.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["customer"], row["code"]) for row in rows} == {("CU3", "MR105"), ("CU4", "MR123")}
    assert "2 rows written to missing.csv" in done.err


def test_a_csv_file_that_is_there_is_not_written_over(msgrun: Program) -> None:
    (msgrun.folder / "mine.csv").write_text("precious")

    done = msgrun("doctor", "--all", "--offline", "--csv", "mine.csv")

    assert done.code == ExitCode.USAGE
    assert "is there already" in done.err
    assert (msgrun.folder / "mine.csv").read_text() == "precious"


def test_after_an_error_no_half_csv_file_is_left(msgrun: Program) -> None:
    done = msgrun("doctor", "--all", "--offline", "--period", "Octember", "--csv", "half.csv")

    assert done.code == ExitCode.USAGE
    assert not Path(msgrun.folder / "half.csv").exists()


@pytest.mark.parametrize(
    "arguments", [("CU1", "--all"), ("CU1", "--csv", "x.csv"), ("--csv", "x.csv")]
)
def test_what_does_not_go_together_exits_2(msgrun: Program, arguments: tuple[str, ...]) -> None:
    done = msgrun("doctor", *arguments)

    assert done.code == ExitCode.USAGE
    assert "hint: " in done.err
    assert not (msgrun.folder / "x.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(("--cluster", "Europa"), "did you mean 'Europe'?"), (("--definition", "montly"), "monthly"),
     (("--run", "7"), "no run 7")],
)  # fmt: skip
def test_what_is_not_there_exits_10(msgrun: Program, arguments: tuple[str, ...], told: str) -> None:
    done = msgrun("doctor", "--all", "--offline", *arguments)

    assert done.code == ExitCode.NOT_FOUND
    assert told in done.err


def test_faults_in_the_settings_are_told_as_one_fault(msgrun: Program) -> None:
    msgrun.edit("recipient_key", "recipent_key")

    done = msgrun("doctor", "--all", "--json")

    assert done.code == ExitCode.USAGE
    assert done.json_lines[1]["code"] == "MR005"
