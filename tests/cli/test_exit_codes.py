"""Scripts rely on the exit codes; a command that fails writes nothing and says what to do."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from cli.program import Program
from msgrun.demo.sink import Sink
from msgrun.errors import ExitCode


def test_help_names_every_command(bare: Program) -> None:
    shown = bare.outside("--help")

    assert shown.code == 0
    for command in ("init", "import", "plan", "start", "stop", "restart", "cancel", "runs", "show",
                    "results", "watch", "explain", "db", "demo"):  # fmt: skip
        assert f"\n  {command} " in shown.out


def test_starting_the_program_stays_light() -> None:
    code = (
        "import sys; from msgrun.cli.app import run; run(['--help']); "
        "heavy = {'sqlalchemy', 'pydantic', 'aiosmtplib', 'jinja2'} & set(sys.modules); "
        "sys.exit(' '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "command",
    ["init", "import", "plan", "start", "stop", "restart", "cancel", "runs", "show", "results",
     "watch", "explain", "doctor"],
)  # fmt: skip
def test_the_help_of_each_command_has_an_example(bare: Program, command: str) -> None:
    shown = bare(command, "--help")

    assert shown.code == 0
    assert f"msgrun {command}" in shown.out.partition("\n  Example")[2]


def test_the_version_is_said(bare: Program) -> None:
    assert bare("--version").out.startswith("msgrun ")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("start", "--foo"),
        ("start", "monthly", "--limit", "0", "--yes"),
        ("start", "monthly"),
        ("start", "monthly", "--period", "Octember", "--yes"),
        ("start", "monthly", "--redirect-to", "nobody", "--yes"),
        ("start", "monthly", "--bcc", "a@b@c.test", "--yes"),
        ("restart",),
        ("results", "--state", "lost"),
        ("import",),
        ("import", "bills.csv"),
        ("init",),
    ],
)
def test_a_wrong_command_line_exits_2_and_writes_nothing(
    msgrun: Program, arguments: tuple[str, ...]
) -> None:
    done = msgrun(*arguments)

    assert done.code == ExitCode.USAGE
    assert msgrun.runs() == []
    if arguments:
        assert done.err.startswith("error: ")
        assert "hint: " in done.err
        assert done.out == ""


def test_the_missing_yes_is_said_before_any_work(tmp_path: Path, bare: Program) -> None:
    (bare.folder / "msgrun.toml").unlink()

    done = bare("start", "monthly")

    assert done.code == ExitCode.USAGE
    assert "--yes" in done.err
    assert "msgrun.toml" not in done.err


def test_a_mistyped_key_exits_2_and_is_named_with_the_right_one(msgrun: Program) -> None:
    msgrun.edit("recipient_key", "recipent_key")

    done = msgrun("plan")

    assert done.code == ExitCode.USAGE
    assert "recipent_key" in done.err
    assert "recipient_key" in done.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("start", "montly", "--yes"), "did you mean 'monthly'?"),
        (("start", "old", "--yes"), "disabled"),
        (("start", "monthly", "--cluster", "Europa", "--yes"), "did you mean 'Europe'?"),
        (("start", "monthly", "--customer", "CU9", "--yes"), "CU9"),
        (("show", "7"), "no run 7"),
        (("show", "99999999999999999999"), "is no run"),
        (("results", "last"), "no run yet"),
        (("stop", "x"), "'x' is no run"),
        (("restart", "--yes"), "no run yet"),
        (("cancel",), "no run yet"),
        (("watch",), "no run yet"),
        (("explain", "defered"), "did you mean 'deferred'?"),
        (("explain", "MR999"), "MR999"),
    ],
)
def test_what_is_not_there_exits_10(msgrun: Program, arguments: tuple[str, ...], told: str) -> None:
    done = msgrun(*arguments)

    assert done.code == ExitCode.NOT_FOUND
    assert told in done.err
    assert msgrun.runs() == []


def test_several_definitions_are_listed_when_none_is_named(msgrun: Program) -> None:
    msgrun.edit("enabled = false", 'statuses = ["Approved"]')

    done = msgrun("plan")

    assert done.code == ExitCode.USAGE
    assert "monthly, old" in done.err


def test_a_server_that_is_down_exits_12_and_nothing_is_written(
    msgrun: Program, sink: Sink, unused_port: int
) -> None:
    msgrun.edit(f"port = {sink.port}", f"port = {unused_port}")

    done = msgrun("start", "--yes")

    assert done.code == ExitCode.PAUSED
    assert f"127.0.0.1:{unused_port}" in done.err
    assert "hint: " in done.err
    assert msgrun.runs() == []


def test_an_error_of_the_whole_run_exits_4_and_nothing_is_written(msgrun: Program) -> None:
    msgrun.edit('recipient_key = "invoice"\nstatuses', 'recipient_key = "bill"\nstatuses')

    done = msgrun("start", "--yes")

    assert done.code == ExitCode.DOCTOR_ERRORS
    assert "MR204" in done.err
    assert msgrun.runs() == []


def test_a_locked_database_exits_1_and_says_so(
    msgrun: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("msgrun.database.BUSY_SECONDS", 0.1)
    holder = sqlite3.connect(msgrun.folder / "msgrun.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        done = msgrun("import", "customers.csv")
    finally:
        holder.close()

    assert done.code == ExitCode.ERROR
    assert "locked" in done.err
    assert "close it" in done.err


def test_an_unforeseen_error_is_one_line_and_debug_shows_where(
    msgrun: Program, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("far\x1b[31m out\nsecond line")

    monkeypatch.setattr("msgrun.ledger.runs.list_runs", broken)
    done = msgrun("runs")

    assert done.code == ExitCode.ERROR
    assert done.err.splitlines()[0] == "error: internal error: ZeroDivisionError: far out"
    assert "--debug" in done.err

    from msgrun.cli.app import run

    assert run(["--debug", "runs"]) == ExitCode.ERROR
    assert "Traceback" in capsys.readouterr().err


def test_with_json_an_error_is_a_document(msgrun: Program) -> None:
    for arguments, code in (
        (("show", "7", "--json"), "not_found"),
        (("start", "--foo", "--json"), "usage"),
        (("start", "--json"), "usage"),
    ):
        document = msgrun(*arguments).json

        assert document.keys() == {"schema", "error"}
        assert document["schema"] == 1
        assert document["error"].keys() == {"code", "message", "hint"}
        assert document["error"]["code"] == code


def test_an_interrupt_exits_130_quietly(msgrun: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("msgrun.ledger.runs.list_runs", interrupted)

    done = msgrun("runs")

    assert (done.code, done.out, done.err.strip()) == (ExitCode.INTERRUPTED, "", "")


def test_a_reader_that_is_gone_is_no_error(msgrun: Program) -> None:
    msgrun("start", "--yes")
    with msgrun.open("results", "--json") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        told = process.stderr.read()
        process.wait(timeout=30)

    assert (process.returncode, told) == (0, "")


def test_a_bad_row_exits_2_with_file_and_line_and_nothing_is_imported(msgrun: Program) -> None:
    file = msgrun.write(
        "invoices-bad.csv",
        "id,customer,number,status,date\nn1,CU1,,Approved,2026-10-01\nn2,,,Approved,2026-10-01\n",
    )

    done = msgrun("import", file)

    assert done.code == ExitCode.USAGE
    assert "invoices-bad.csv" in done.err
    assert "invoices-bad.csv:3:" in done.err
    assert msgrun("plan", "--json").json["counts"]["in_scope"] == 5


def test_init_makes_a_workspace_in_which_plan_works(bare: Program) -> None:
    made = bare("init", "fresh")
    fresh = bare.folder / "fresh"
    bare(
        "--config", "fresh/msgrun.toml", "import", "customers.csv", "addresses.csv", "invoices.csv"
    )
    planned = bare("--config", "fresh/msgrun.toml", "plan", "--period", "2026-10")

    assert made.code == 0
    assert {file.name for file in fresh.iterdir()} >= {"msgrun.toml", "templates", "msgrun.db"}
    # Documents are wanted and there are none.
    assert planned.code == ExitCode.DOCTOR_ERRORS
    assert "MR401" in planned.err


def test_init_overwrites_nothing(bare: Program) -> None:
    mine = bare.folder / "mine" / "templates"
    mine.mkdir(parents=True)
    (mine / "monthly.html").write_text("mine", encoding="utf-8")

    done = bare("init", "mine")

    assert done.code == ExitCode.USAGE
    assert "monthly.html" in done.err
    assert (mine / "monthly.html").read_text(encoding="utf-8") == "mine"
    assert [each.name for each in (bare.folder / "mine").iterdir()] == ["templates"]
