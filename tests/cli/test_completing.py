"""What a shell is offered: what there is, and nothing at all when something is wrong."""

import pytest

from cli.program import Program


def completed(msgrun: Program, words: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what bash would offer behind `msgrun …`, in a program of its own."""
    monkeypatch.setenv("_MSGRUN_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"msgrun {words}")
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" "))))
    done = msgrun.outside()
    assert done.err == ""
    return done.out.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("pl", ["plan"]),
        ("start ", ["monthly"]),
        ("plan --cluster E", ["Europe"]),
        ("start --customer CU", ["CU1", "CU2", "CU3", "CU4", "CU5"]),
        ("doctor CU5", ["CU5"]),
        ("show ", ["last", "1"]),
    ],
)
def test_the_shell_is_offered_what_there_is(
    msgrun: Program, monkeypatch: pytest.MonkeyPatch, words: str, offered: list[str]
) -> None:
    msgrun("start", "--yes")

    assert completed(msgrun, words, monkeypatch) == offered


@pytest.mark.parametrize("words", ["start ", "show ", "start --customer C", "plan --cluster E"])
def test_without_a_usable_configuration_nothing_is_offered(
    msgrun: Program, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    msgrun.edit("[database]", "[databse]")

    assert completed(msgrun, words, monkeypatch) == []


def test_the_version_names_what_it_runs_on(msgrun: Program) -> None:
    lines = msgrun("--version").out.splitlines()

    names = [line.split()[0] for line in lines]
    assert names[:4] == ["msgrun", "Python", "SQLite", "SQLAlchemy"]
