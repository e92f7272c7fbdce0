"""`msgrun resolve` as a person types it."""

import re

import pytest

from cli.golden_text import same_as_golden
from cli.program import Program
from msgrun.errors import ExitCode


@pytest.fixture
def doubtful(msgrun: Program) -> Program:
    """Return a workspace whose run was killed directly before a dot."""
    process = msgrun.open("start", "--yes", failpoint="intent.committed=kill")
    process.communicate(timeout=60)
    assert process.returncode == -9
    assert msgrun("stop").code == ExitCode.DONE
    return msgrun


def in_doubt(msgrun: Program) -> str:
    (message,) = msgrun("results", "--state", "in_doubt", "--json").json_lines
    return str(message["message"])


def test_resolve_says_what_became_of_it_and_what_comes_next(doubtful: Program) -> None:
    shown = doubtful("resolve", in_doubt(doubtful), "--resend", "--because", "not in the log")
    assert shown.code == ExitCode.DONE
    same_as_golden("resolve", shown.out)


def test_resolve_as_json(doubtful: Program) -> None:
    key = in_doubt(doubtful)
    document = doubtful("resolve", key, "--sent", "--json").json
    assert document == {
        "schema": 1,
        "resolved": [{"message": int(key), "run": 1, "customer": "CU1", "state": "sent"}],
    }


def test_the_run_says_how_doubt_is_settled(doubtful: Program) -> None:
    shown = doubtful("show").out
    assert "msgrun resolve MESSAGE --sent" in shown
    key = in_doubt(doubtful)
    assert f"msgrun resolve {key} --sent" in doubtful("doctor", "CU1", "--offline").out


@pytest.mark.parametrize("options", [(), ("--sent", "--resend")])
def test_one_of_the_two_answers_is_needed(doubtful: Program, options: tuple[str, ...]) -> None:
    done = doubtful("resolve", in_doubt(doubtful), *options)
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert re.search("--sent or --resend", done.err)


def test_a_message_that_is_not_there_exits_10(doubtful: Program) -> None:
    done = doubtful("resolve", "4711", "--sent", "--json")
    assert done.code == ExitCode.NOT_FOUND
    assert done.json["error"]["code"] == "not_found"


def test_what_is_not_in_doubt_exits_2_and_changes_nothing(doubtful: Program) -> None:
    key = in_doubt(doubtful)
    assert doubtful("resolve", key, "--sent").code == ExitCode.DONE
    done = doubtful("resolve", key, "--resend")
    assert done.code == ExitCode.USAGE
    assert "is sent, not in doubt" in done.err
