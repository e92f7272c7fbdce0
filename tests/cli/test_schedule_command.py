"""`msgrun schedule`: what it prints, its exit codes and JSON; what it installs."""

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.golden_text import same_as_golden
from cli.program import Program
from msgrun import database
from msgrun.demo.sink import Sink
from msgrun.errors import ExitCode

SCHEDULE = """
[schedules.first]
definition = "monthly"
cron = "0 7 1 * *"
timezone = "Europe/Amsterdam"
period = "previous-month"
"""

FAKE_CRONTAB = """\
#!/bin/sh
# Keeps one crontab in a file, as cron keeps a user's.
case "$1" in
  -l) if [ -f "$CRONTAB_FILE" ]; then cat "$CRONTAB_FILE";
      else echo "no crontab for me" >&2; exit 1; fi ;;
  -) cat > "$CRONTAB_FILE" ;;
esac
"""

At = Callable[[str], None]


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Iterator[At]:
    """Set the host's clock, for what is opened from then on; the host is in New York."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()

    def set_clock(text: str) -> None:
        moment = datetime.fromisoformat(f"{text}+00:00").astimezone(UTC)
        monkeypatch.setattr(database, "steady_clock", lambda: lambda: moment)

    yield set_clock
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def scheduled(msgrun: Program, at: At) -> Program:
    """The program with a schedule that is known since October."""
    msgrun.edit("[senders.billing]", f"{SCHEDULE}\n[senders.billing]")
    at("2026-10-20T12:00")
    assert msgrun("schedule", "run-due").code == ExitCode.DONE
    return msgrun


def test_list_before_and_after_the_slot(scheduled: Program, at: At) -> None:
    shown = scheduled("schedule", "list").out
    at("2026-11-01T06:30")
    shown += "\n" + scheduled("schedule", "list").out
    due = scheduled("schedule", "run-due")
    shown += "\n" + scheduled("schedule", "list").out

    assert due.code == ExitCode.INCOMPLETE
    same_as_golden("schedule_list", shown)
    same_as_golden("schedule_run_due", due.out)


def test_list_and_run_due_in_json(scheduled: Program, at: At) -> None:
    at("2026-11-01T06:00")
    (done,) = scheduled("schedule", "run-due", "--json").json["slots"]
    assert {**done, "run": None, "detail": None} == {
        "schedule": "first", "definition": "monthly", "slot": "2026-11-01T06:00:00Z",
        "did": "started", "run": None, "exit_code": 3, "detail": None,
    }  # fmt: skip
    assert (done["run"]["schedule"], done["run"]["slot"]) == ("first", "2026-11-01T06:00:00Z")
    assert scheduled("show", "--json").json["run"]["slot"] == "2026-11-01T06:00:00Z"

    (seen,) = scheduled("schedule", "list", "--json").json["schedules"]
    assert seen["next"] == {
        "slot": "2026-12-01T06:00:00Z",
        "schedule_time": "2026-12-01T07:00:00+01:00",
        "local_time": "2026-12-01T01:00:00-05:00",
    }
    assert seen["last"]["run"]["id"] == done["run"]["id"]
    assert (seen["last"]["state"], seen["last"]["missed"]) == ("ended", False)
    assert seen.keys() == {
        "schedule", "definition", "enabled", "cron", "timezone", "cluster", "period", "missed",
        "grace", "distributed", "paused_at", "paused_by", "looked_at", "last", "next",
    }  # fmt: skip


def test_nothing_due_and_a_clean_finish_print_nothing_for_cron_to_mail(
    scheduled: Program, at: At
) -> None:
    scheduled.edit('period = "2026-10"', 'period = "2026-10"\nbcc = []')
    scheduled.edit('cluster = "All"', 'cluster = "Europe"')
    file = scheduled.write("addresses-x.csv", "customer,key,address\nCU2,invoice,good@cu2.test\n")
    assert scheduled("import", "--replace", file).code == ExitCode.DONE
    at("2026-11-01T06:00")

    first, second = scheduled("schedule", "run-due"), scheduled("schedule", "run-due")

    assert scheduled.runs()[0]["status"] == "finished"
    assert [(done.code, done.out, done.err) for done in (first, second)] == [(0, "", "")] * 2


def test_a_slot_that_cannot_start_is_said_once_and_exits_as_start_would(
    scheduled: Program, at: At, unused_port: int, sink: Sink
) -> None:
    scheduled.edit(f"port = {sink.port}", f"port = {unused_port}")
    at("2026-11-01T06:00")
    first = scheduled("schedule", "run-due")
    at("2026-11-01T06:01")
    second = scheduled("schedule", "run-due")

    assert (first.code, second.code) == (ExitCode.PAUSED, ExitCode.PAUSED)
    assert "could not start: server 'default'" in first.out
    assert second.out == ""


def test_the_worst_exit_code_of_several_slots_wins(scheduled: Program, at: At) -> None:
    both = f"{SCHEDULE}\n{SCHEDULE.replace('first', 'second')}"
    scheduled.edit(SCHEDULE, both)
    scheduled.edit("[schedules.second]", '[schedules.second]\ncluster = "No"')
    at("2026-10-21T12:00")
    assert scheduled("schedule", "run-due").code == ExitCode.DONE
    at("2026-11-01T06:00")

    done = scheduled("schedule", "run-due", "--json")

    assert [each["exit_code"] for each in done.json["slots"]] == [3, ExitCode.NOT_FOUND]
    assert done.code == ExitCode.NOT_FOUND


def test_pause_and_resume(scheduled: Program, at: At) -> None:
    paused = scheduled("schedule", "pause", "first")
    assert "paused since" in paused.out
    at("2026-11-01T06:00")
    assert scheduled("schedule", "run-due", "--json").json["slots"] == []
    (resumed,) = scheduled("schedule", "resume", "first", "--json").json["schedules"]
    assert resumed["paused_at"] is None
    assert scheduled("schedule", "run-due", "--json").json["slots"] == []
    assert scheduled.runs() == []


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (("list", "frist"), ExitCode.NOT_FOUND, "did you mean"),
        (("run-due", "no"), ExitCode.NOT_FOUND, "no schedule is named 'no'"),
        (("pause", "no"), ExitCode.NOT_FOUND, "no schedule is named 'no'"),
        (("install",), ExitCode.USAGE, "--crontab or --systemd"),
        (("install", "--crontab", "--user"), ExitCode.USAGE, "--user is for --systemd"),
        (("install", "--systemd", "--write"), ExitCode.USAGE, "--systemd --user --write"),
        (("install", "--crontab", "--write"), ExitCode.USAGE, "give --yes"),
        (("install", "--crontab", "--remove"), ExitCode.USAGE, "--remove"),
    ],
)
def test_bad_input_says_what_to_do(
    scheduled: Program, command: tuple[str, ...], code: int, said: str
) -> None:
    done = scheduled("schedule", *command, "--json")

    assert done.code == code
    assert said in done.err
    assert done.json["error"]["message"]


def test_a_workspace_without_schedules_says_so(msgrun: Program) -> None:
    assert "there is no schedule" in msgrun("schedule", "list").out
    assert msgrun("schedule", "run-due").code == ExitCode.DONE


# Installing


@pytest.fixture
def cron(scheduled: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program `crontab` that keeps its lines in this file."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "crontab").write_text(FAKE_CRONTAB)
    (folder / "crontab").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("CRONTAB_FILE", str(tmp_path / "crontab"))
    return tmp_path / "crontab"


def known(text: str, folder: Path) -> str:
    import sys

    return text.replace(str(folder), "/srv/billing").replace(sys.executable, "/opt/bin/python")


def test_what_install_prints(scheduled: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("LOGNAME", "billing")
    for name, options in (
        ("crontab", ["--crontab"]),
        ("systemd", ["--systemd"]),
        ("systemd_user", ["--systemd", "--user"]),
    ):
        shown = scheduled("schedule", "install", *options)
        assert shown.code == ExitCode.DONE
        same_as_golden(f"schedule_install_{name}", known(shown.out, scheduled.folder))


def test_a_crontab_keeps_the_lines_of_others_and_is_written_once(
    scheduled: Program, cron: Path
) -> None:
    theirs = b"# mine\nMAILTO=me@acme.test\n0 3 * * * backup caf\xe9 50\\%\n"
    cron.write_bytes(theirs)

    install = ("schedule", "install", "--crontab", "--write", "--yes")
    first, once = scheduled(*install), cron.read_bytes()
    second = scheduled(*install, "--json")

    assert first.code == second.code == ExitCode.DONE
    assert "+* * * * * PATH=" in first.out
    assert once.startswith(theirs)
    assert once.count(b"schedule run-due") == 1
    assert (second.json["written"], cron.read_bytes()) == (False, once)
    assert scheduled(*install, "--remove").code == ExitCode.DONE
    assert cron.read_bytes() == theirs


def test_what_a_crontab_says_starts_what_is_due(scheduled: Program, cron: Path) -> None:
    import subprocess

    assert scheduled("schedule", "install", "--crontab", "--write", "--yes").code == ExitCode.DONE
    (line,) = [each for each in cron.read_text().splitlines() if "run-due" in each]
    called = line.removeprefix("* * * * * ").replace(r"\%", "%")

    done = subprocess.run(
        ["/bin/sh", "-c", f"{called} --json"], cwd="/", capture_output=True, text=True,
        timeout=60, check=False, env={"PYTHONPATH": os.pathsep.join(filter(None, _paths()))},
    )  # fmt: skip

    # By the real clock there may be a slot or none, but the program ran, on this workspace.
    assert json.loads(done.stdout)["schema"] == 1, done.stderr
    assert scheduled("schedule", "list", "--json").json["schedules"][0]["looked_at"] is not None


def _paths() -> list[str]:
    import msgrun

    return [str(Path(msgrun.__file__).parents[1])]


def test_a_crontab_that_cannot_be_read_is_not_written(scheduled: Program, cron: Path) -> None:
    program = cron.parent / "bin" / "crontab"
    program.write_text("#!/bin/sh\n[ $1 = - ] && cat > $CRONTAB_FILE\necho locked >&2\nexit 1\n")

    done = scheduled("schedule", "install", "--crontab", "--write", "--yes")

    assert (done.code, cron.exists()) == (ExitCode.ERROR, False)
    assert "crontab -l` failed: locked" in done.err


def test_units_of_ones_own_are_written_once(
    scheduled: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    install = ("schedule", "install", "--systemd", "--user", "--write", "--yes", "--json")

    first, second = scheduled(*install), scheduled(*install)

    folder = tmp_path / "settings" / "systemd" / "user"
    assert sorted(each.name for each in folder.iterdir()) == [
        "msgrun-billing.service", "msgrun-billing.timer",
    ]  # fmt: skip
    assert (first.json["written"], second.json["written"]) == (True, False)
    assert [Path(each["path"]).read_text() for each in first.json["files"]] == [
        each["text"] for each in first.json["files"]
    ]
