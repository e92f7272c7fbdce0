"""`msgrun rehearse`: every message of a run as a file; nothing is sent, nothing is marked."""

import csv
import json
import os
import re
import signal
from email import message_from_bytes
from email.policy import default
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from billing_world import DEFINITION, World, bill, make_world
from cli.golden_text import same_as_golden
from cli.program import Program
from msgrun.control.rehearsal_folder import RehearsalFolder
from msgrun.control.rehearse import rehearse
from msgrun.database import Database
from msgrun.demo.sink import Sink
from msgrun.errors import ExitCode, MsgrunError
from msgrun.ui.rehearsal import Index
from msgrun.ui.text import Printer


def index_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "index.csv").open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def rows_of_page(folder: Path) -> list[Any]:
    page = (folder / "index.html").read_text("utf-8")
    (listed,) = re.findall(r"const rows = \[\n(.*?)\];", page, re.DOTALL)
    return [json.loads(line.removesuffix(",")) for line in listed.splitlines()]


def test_every_message_is_a_file_that_the_index_names(msgrun: Program, sink: Sink) -> None:
    done = msgrun("rehearse", "--into", "all")

    assert done.code == ExitCode.DONE
    same_as_golden("rehearse", done.out)
    rows = index_of(Path("all"))
    same_as_golden("rehearse_index", Path("all/index.csv").read_text("utf-8-sig"))
    assert [row["state"] for row in rows].count("composed") == 3
    for row in rows:
        if row["file"]:
            letter = message_from_bytes(Path("all", row["file"]).read_bytes(), policy=default)
            assert str(letter["To"]).replace(", ", "; ") == row["to"]
            assert letter["Subject"] == row["subject"]
    assert [row[2] for row in rows_of_page(Path("all"))] == [row["customer"] for row in rows]
    assert not Path("all/INCOMPLETE.txt").exists()
    assert sink.received == []
    assert msgrun("runs", "--json").json["runs"] == []


def test_what_was_sent_before_is_rehearsed_and_stays_sent(msgrun: Program, sink: Sink) -> None:
    msgrun("start", "--yes")
    before = len(sink.received)

    document = msgrun("rehearse", "--into", "again", "--json").json

    assert document["messages"]["pending"] == 3
    assert document["comparison"]["run"] == 1
    assert len(sink.received) == before
    assert msgrun("plan", "--json").json["skipped"]["MR125"] == 2


def test_json_has_the_figures_of_a_plan_and_the_comparison(msgrun: Program) -> None:
    done = msgrun("rehearse", "--into", "new/folder", "--json")

    assert set(done.json) == {
        *("schema", "definition", "folder", "complete", "counts", "messages", "skipped", "failed"),
        *("bytes", "comparison"),
    }
    assert (done.json["schema"], done.json["complete"], done.json["folder"]) == (
        1, True, "new/folder"
    )  # fmt: skip
    plan = msgrun("plan", "--json").json
    assert done.json["counts"] == plan["counts"]
    assert done.json["messages"] == plan["messages"]


def test_what_cannot_be_composed_is_in_the_index_with_its_finding(msgrun: Program) -> None:
    msgrun.edit('text = "invoice.txt"\ncluster', 'text = "other.txt"\ncluster')
    msgrun.write("other.txt", "{{ customer.nothing if customer.code == 'CU2' else 'Dear' }}")

    done = msgrun("rehearse", "--into", "some", "--json")

    assert done.code == ExitCode.INCOMPLETE
    assert done.json["failed"] == {"MR302": 1}
    assert done.json["complete"] is True
    (failed,) = [row for row in index_of(Path("some")) if row["state"] == "failed"]
    assert (failed["customer"], failed["finding"], failed["file"]) == ("CU2", "MR302", "")
    assert "nothing" in failed["detail"]


def test_names_of_files_are_harmless_and_data_is_no_script(msgrun: Program) -> None:
    file = msgrun.write("c.csv", "code,name,cluster\n../=É,</script><b>x,All\n")
    other = msgrun.write("addresses-c.csv", "customer,key,address\n../=É,invoice,a@c.test\n")
    Path(file).rename("customers-c.csv")
    invoice = msgrun.write("invoices-c.csv", "id,customer,number,status,date\n"
                           "../../x,../=É,/etc/passwd,Approved,2026-10-03\n")  # fmt: skip
    assert msgrun("import", "customers-c.csv", other, invoice).code == 0

    msgrun("rehearse", "--into", "safe", "--customer", "../=É")

    (row,) = index_of(Path("safe"))
    assert re.fullmatch(r"0001-1000/0001_[A-Za-z0-9@._+-]+\.eml", row["file"])
    assert "/" not in row["file"].removeprefix("0001-1000/")
    assert Path("safe", row["file"]).is_file()
    assert row["customer"] == "../=É"
    page = Path("safe/index.html").read_text("utf-8")
    assert "</script><b>" not in page
    assert rows_of_page(Path("safe"))[0][3] == "</script><b>x"


def test_a_folder_in_use_is_left_alone_unless_a_rehearsal_made_it(msgrun: Program) -> None:
    Path("mine").mkdir()
    Path("mine/letter.txt").write_text("dear")
    for further in ((), ("--force",)):
        done = msgrun("rehearse", "--into", "mine", *further)
        assert (done.code, "is not empty" in done.err) == (ExitCode.USAGE, True)
    assert [each.name for each in Path("mine").iterdir()] == ["letter.txt"]

    msgrun("rehearse", "--into", "made")
    assert "--force" in msgrun("rehearse", "--into", "made").err
    Path("made/0001-1000/notes.txt").write_text("mine too")
    refused = msgrun("rehearse", "--into", "made", "--force")
    assert (refused.code, "notes.txt" in refused.err) == (ExitCode.USAGE, True)
    Path("made/0001-1000/notes.txt").unlink()

    again = msgrun("rehearse", "--into", "made", "--force", "--customer", "CU1")
    assert again.code == ExitCode.DONE
    assert len(list(Path("made").rglob("*.eml"))) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--into", "x", "--customer", "CU99"], ExitCode.NOT_FOUND, "CU99"),
        (["--into", "msgrun.toml"], ExitCode.USAGE, "is no folder"),
        (["--into", "x", "--period", "2025-01"], ExitCode.DOCTOR_ERRORS, "MR205"),
        ([], ExitCode.USAGE, "--into"),
    ],
)
def test_a_rehearsal_that_cannot_begin_leaves_no_folder(
    msgrun: Program, arguments: list[str], code: int, told: str
) -> None:
    done = msgrun("rehearse", *arguments)

    assert done.code == code
    assert told in done.err
    assert not Path("x").exists()


def test_an_interrupted_rehearsal_says_that_it_is_incomplete(
    sqlite_database: Database, tmp_path: Path
) -> None:
    world = make_world(sqlite_database, tmp_path, 1, customers=400)
    folder = tmp_path / "part"

    with Index(folder, Printer(StringIO())) as index:

        def hear(told: Any, batch: Any) -> None:
            if told.messages.pending == len(batch):
                os.kill(os.getpid(), signal.SIGINT)
            index.hear(told, batch)

        told = rehearse(
            world.workspace, DEFINITION, world.selection(), RehearsalFolder(folder, force=False),
            hear, processes=1,
        )  # fmt: skip
        index.end(told)

    assert (told.complete, told.interrupted) == (False, ExitCode.INTERRUPTED)
    assert 0 < told.messages.pending < 400
    assert len(list(folder.rglob("*.eml"))) == told.messages.pending == len(index_of(folder))
    assert "not complete" in (folder / "INCOMPLETE.txt").read_text()
    assert '"complete": false' in (folder / "index.html").read_text("utf-8")


@pytest.mark.parametrize("collate", [False, True])
@pytest.mark.parametrize("processes", [1, 2])
def test_messages_are_numbered_as_the_run_does_and_compose_alike(
    database: Database, tmp_path: Path, sink: Sink, collate: bool, processes: int
) -> None:
    world = make_world(database, tmp_path, sink.port, customers=7, collate=collate)
    for number, status in (("2a", "Open"), ("2b", "Approved")):
        world.add("invoices", id=f"i{number}", customer="C002", number=number, status=status,
                  date="2026-10-05")  # fmt: skip
        world.add("documents", invoice=f"i{number}", transformation="pdf", filename="x.pdf",
                  media_type="application/pdf", path=f"{bill(2)}.pdf")  # fmt: skip
    world.change("customers", {"code": "C005"}, suspended=True)
    seen: list[Any] = []
    folder = RehearsalFolder(tmp_path / "r", force=False)

    told = rehearse(world.workspace, DEFINITION, world.selection(), folder,
                    lambda _told, batch: seen.extend(batch), processes)  # fmt: skip

    assert told.complete
    assert world.count("run") == world.count("message") == 0
    world.start()
    assert [(each.number, each.customer, each.state == "skipped") for each in seen] == [
        (number, message.customer, message.state == "skipped")
        for number, message in enumerate(world.messages(), 1)
    ]
    sizes = sorted(len(entry.path.read_bytes()) for entry in sink.received)
    assert sorted(each.size for each in seen if each.size) == sizes


def test_a_source_that_breaks_leaves_an_incomplete_folder(
    sqlite_database: Database, tmp_path: Path
) -> None:
    world: World = make_world(sqlite_database, tmp_path, 1, customers=400)
    folder = RehearsalFolder(tmp_path / "r", force=False)

    def hear(told: Any, batch: Any) -> None:
        if told.messages.pending == len(batch):
            world.change("customers", {"code": "C400"}, meta="[")

    with pytest.raises(MsgrunError, match="MR006"):
        rehearse(world.workspace, DEFINITION, world.selection(), folder, hear)

    assert (tmp_path / "r" / "INCOMPLETE.txt").is_file()
    assert list((tmp_path / "r").rglob("*.eml"))
