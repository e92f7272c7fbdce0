"""The report as a person and as a script see it."""

import io
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from doctor_world import World
from msgrun.cli.doctor import doctor
from msgrun.cli.opening import Invocation
from msgrun.database import Database
from msgrun.states import RunStatus
from msgrun.ui.doctor import print_report, report_document
from msgrun.ui.text import Printer


@pytest.fixture
def world(sqlite_database: Database, tmp_path: Path) -> World:
    return World(sqlite_database, tmp_path)


def text(world: World, *, verbose: bool = False) -> str:
    stream = io.StringIO()
    print_report(Printer(stream), world.ask(), verbose=verbose)
    return stream.getvalue()


def test_text_says_the_verdict_first_and_the_remedy_with_the_fault(world: World) -> None:
    world.change("addresses", key="invoices")
    run = world.run()
    world.move(run, RunStatus.FINISHED)

    lines = text(world).splitlines()

    assert lines[0] == "C1 Acme GmbH · run 1 · monthly · 2026-10"
    assert lines[1] == "Not sent: no e-mail address under key 'invoice'"
    assert lines[2:7] == [
        "  ✓ customer     active",
        "  ✓ cluster      All › Europe › DE",
        "  ✗ address      MR106  has 'invoices' → a@acme.test; the definition wants 'invoice'",
        "                 remedy: rename the key to 'invoice'",
        "  ✓ invoice      INV-1 Approved",
    ]
    assert "  – message      run 1 skipped it: MR105" in lines
    assert lines[-1].startswith("2 errors · ")
    assert lines[-1].endswith(" passed (-v shows them) · msgrun explain MR106")


def test_data_is_printed_as_text_without_markup_or_control(world: World) -> None:
    world.change("customers", name="[red]Evil[/red]\x1b]0;title\x07\u202e")

    printed = text(world, verbose=True)

    assert "[red]Evil[/red]" in printed
    assert not set(printed) & {"\x1b", "\x07", "\u202e"}


def test_json_has_the_keys_of_the_contract(world: World) -> None:
    world.change("addresses", key="invoices")

    document = json.loads(json.dumps(report_document(world.ask())))

    assert (document["schema"], document["customer"], document["primary"]) == (1, "C1", "MR106")
    (finding,) = [each for each in document["findings"] if each["code"] == "MR106"]
    assert finding["refines"] == "MR105"
    assert set(finding) >= {
        "code", "title", "severity", "status", "evidence", "remedy", "subject",
    }  # fmt: skip
    assert {"stage": "address", "status": "fail", "code": "MR106"} in document["stages"]
    assert document["cases"][0]["definition"] == "monthly"


def invoke(folder: Path, *arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(doctor)
    invocation = Invocation(config=folder / "msgrun.toml")
    result = CliRunner().invoke(app, list(arguments), obj=invocation)
    return result.exit_code, result.stdout


def test_the_command_ends_with_the_reports_exit_code(world: World) -> None:
    world.change("customers", suspended=True)
    world.workspace  # noqa: B018 - writes msgrun.toml

    code, printed = invoke(world.folder, "C1", "--offline", "--json", "--period", "2026-10")

    assert code == 4
    assert json.loads(printed)["primary"] == "MR102"


def test_an_unknown_customer_exits_10(world: World) -> None:
    world.workspace  # noqa: B018 - writes msgrun.toml

    code, printed = invoke(world.folder, "C2", "--offline", "--json")

    assert code == 10
    assert json.loads(printed)["findings"][0]["code"] == "MR101"


def test_an_unknown_setting_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "msgrun.toml").write_text('[database]\nurl = "sqlite:///b.db"\nulr = "x"\n')

    code, printed = invoke(tmp_path, "C1", "--json")

    document = json.loads(printed)
    assert (code, document["primary"]) == (2, "MR005")
    assert "ulr" in " ".join(document["findings"][0]["evidence"])


def test_an_unreachable_database_is_a_finding_beside_the_others(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text("hello")
    (tmp_path / "msgrun.toml").write_text(
        '[database]\nurl = "sqlite:///gone/b.db"\n'
        '[senders.a]\naddress = "a@sender.test"\n'
        '[definitions.m]\nfrom_key = "a"\nrecipient_key = "invoice"\n'
        'subject = "x"\ntext = "m.txt"\n'
    )

    code, printed = invoke(tmp_path, "C1", "--json", "--offline")

    document = json.loads(printed)
    assert (code, document["primary"]) == (4, "MR001")
    assert [each["stage"] for each in document["stages"]] == [
        "environment", "definition", "template", "smtp", "sender",
    ]  # fmt: skip
