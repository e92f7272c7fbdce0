"""`events`, `metrics` and `purge` as a person and a script use them."""

import os
import re
import sqlite3
import stat

import pytest

from cli.golden_text import same_as_golden
from cli.program import Program


def age(msgrun: Program) -> None:
    """Let every run have ended long ago."""
    with sqlite3.connect(msgrun.folder / "msgrun.db") as connection:
        connection.execute(
            "UPDATE msgrun_run SET created_at = ?, finished_at = ?",
            ("2024-01-02T03:04:05.000000Z", "2024-01-02T03:04:05.000000Z"),
        )
    connection.close()


def faceless(text: str) -> str:
    return re.sub(r" +\S+@\S+", " <user>", text)


def test_events_of_one_run_and_of_all(msgrun: Program) -> None:
    assert "nothing has happened yet" in msgrun("events").out
    msgrun("start", "--yes")

    same_as_golden("events", faceless(msgrun("events", "last").out))
    newest = msgrun("events", "--limit", "1", "--json").json_lines
    told = msgrun("events", "1", "--json").json_lines

    assert [each["kind"] for each in told] == ["planned", "running", "finished"]
    assert newest == told[-1:]
    assert set(told[0]) == {"event", "run", "definition", "at", "actor", "kind", "detail"}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("events", "9"), 10), (("events", "x"), 10), (("events", "--limit", "0"), 2)],
)
def test_events_of_what_is_not_there(
    msgrun: Program, arguments: tuple[str, ...], code: int
) -> None:
    assert msgrun(*arguments).code == code


def test_metrics(msgrun: Program) -> None:
    msgrun("start", "--yes")

    text = re.sub(r"(_seconds\S*) [0-9.]+", r"\1 <n>", msgrun("metrics").out)
    same_as_golden("metrics", re.sub(r'version="[^"]+"', 'version="<v>"', text))


def test_the_metrics_file_is_whole_readable_and_alone(msgrun: Program) -> None:
    folder = msgrun.folder / "collector"
    folder.mkdir()
    before = os.umask(0o077)
    try:
        for _ in range(2):
            assert msgrun("metrics", "--textfile", "collector/msgrun.prom").out == ""
    finally:
        os.umask(before)

    (file,) = folder.iterdir()
    assert file.name == "msgrun.prom"
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert file.read_text().endswith("# EOF\n")


def test_a_metrics_file_stays_when_the_database_cannot_be_read(msgrun: Program) -> None:
    msgrun("metrics", "--textfile", "msgrun.prom")
    before = (msgrun.folder / "msgrun.prom").read_text()
    (msgrun.folder / "msgrun.db").write_bytes(b"no database at all, but long enough" * 20)

    assert msgrun("metrics", "--textfile", "msgrun.prom").code == 1
    assert (msgrun.folder / "msgrun.prom").read_text() == before
    assert [each.name for each in msgrun.folder.glob(".msgrun.prom*")] == []


def test_metrics_into_a_folder_that_is_not_there(msgrun: Program) -> None:
    done = msgrun("metrics", "--textfile", "no/msgrun.prom")

    assert (done.code, "the folder no is not there" in done.err) == (2, True)


def test_purge_says_what_would_go_and_changes_nothing(msgrun: Program) -> None:
    msgrun("start", "--yes")
    age(msgrun)

    told = msgrun("purge", "--older-than", "400d")

    assert told.code == 0
    same_as_golden("purge_dry_run", told.out)
    assert "one@cu1.test" in msgrun("results").out


def test_purge_and_what_the_other_commands_say_then(msgrun: Program) -> None:
    msgrun("start", "--yes")
    age(msgrun)

    same_as_golden("purge", msgrun("purge", "--older-than", "400d", "--yes").out)
    same_as_golden("purge_again", msgrun("purge", "--older-than", "400d", "--yes").out)

    same_as_golden("purge_results", msgrun("results").out)
    assert "addresses, names and replies are gone" in msgrun("show").out
    assert "was purged" in msgrun("report", "--html", "-").out
    told = msgrun("doctor", "CU1", "--offline").out
    assert "an address that was purged" in told
    (line,) = (each for each in msgrun("results", "--json").json_lines if each["customer"] == "CU1")
    assert (line["to"], line["state"], "purged_at" in line) == ([], "sent", True)
    assert [each["kind"] for each in msgrun("events", "1", "--json").json_lines][-1] == "purged"


def test_purge_in_json(msgrun: Program) -> None:
    msgrun("start", "--yes")
    age(msgrun)

    looked = msgrun("purge", "--older-than", "2y", "--json").json
    done = msgrun("purge", "--customer", "CU5", "--customers", "remove", "--yes", "--json").json

    assert (looked["dry_run"], looked["messages"], looked["left"]) == (True, 5, [])
    assert looked["runs"] == [
        {"run": 1, "definition": "monthly", "finished_at": "2024-01-02T03:04:05Z", "messages": 5,
         "in_doubt": 0}
    ]  # fmt: skip
    assert (done["dry_run"], done["messages"], done["customers"]) == (False, 1, "remove")
    assert set(done) == {
        *("schema", "dry_run", "before", "customer", "customers", "messages", "in_doubt"),
        *("runs", "left"),
    }


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ((), 2, "give --older-than 400d"),
        (("--older-than", "400"), 2, "is no age"),
        (("--older-than", "0d"), 2, "is no age"),
        (("--older-than", "-1d"), 2, "is no age"),
        (("--older-than", "9999y"), 2, "is no age"),
        (("--older-than", "1d", "--yes", "--dry-run"), 2, "exclude each other"),
        (("--older-than", "1d", "--customers", "all"), 2, "--customers"),
        (("--customer", "CU99"), 10, "no message was ever for a customer 'CU99'"),
        (("--customer", ""), 2, "is empty"),
    ],
)
def test_what_cannot_be_purged(
    msgrun: Program, options: tuple[str, ...], code: int, words: str
) -> None:
    done = msgrun("purge", *options)

    assert done.code == code
    assert words in done.err
