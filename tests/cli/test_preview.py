"""`msgrun preview`: one message as it would leave, or why there is none; nothing is written."""

import os
import re
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest

from cli.golden_text import same_as_golden
from cli.program import Program
from msgrun.demo.sink import Sink
from msgrun.errors import ExitCode

CHANGING = re.compile(rb"^(?:Date|Message-ID): .*\r\n|msgrun-[0-9a-f]+", re.MULTILINE)
PDF = b"%PDF-1.4\n" + b"x" * 2000


@pytest.fixture
def attached(msgrun: Program) -> Program:
    """CU1 has two invoices with a document each, HTML alone, and a blind copy goes out."""
    msgrun.edit('text = "invoice.txt"\ncluster', 'html = "invoice.html"\nbcc = ["b@acme.test"]\n'
                'documents = ["pdf"]\ncluster')  # fmt: skip
    msgrun.write("invoice.html", "<style>p{}</style><p>Dear {{ customer.name }},</p><ul><li>one"
                 "<li><a href='https://acme.test/pay'>pay</a></ul>")  # fmt: skip
    (msgrun.folder / "a.pdf").write_bytes(PDF)
    listed = "i6,CU1,INV-6,Approved,2026-10-08\ni7,CU1,INV-7,Open,2026-10-08\n"
    invoices = msgrun.write("invoices-b.csv", f"id,customer,number,status,date\n{listed}")
    rows = "".join(f"{each},pdf,{each}.pdf,application/pdf,a.pdf\n" for each in ("i1", "i6"))
    documents = msgrun.write(
        "documents-b.csv", f"invoice,transformation,filename,media_type,path\n{rows}"
    )
    assert msgrun("import", invoices, documents).code == 0
    return msgrun


def test_the_message_is_shown_with_what_it_encloses(attached: Program) -> None:
    done = attached("preview", "monthly", "CU1")

    assert done.code == ExitCode.DONE
    same_as_golden("preview", done.out)


def test_the_bytes_are_those_that_the_run_sends(msgrun: Program, sink: Sink) -> None:
    msgrun("preview", "monthly", "CU1", "--out", "cu1.eml")
    msgrun("start", "--yes", "--customer", "CU1")

    (entry,) = sink.received
    shown = (msgrun.folder / "cu1.eml").read_bytes()
    sent = entry.path.read_bytes()
    assert b"Message-ID: " in shown
    assert CHANGING.sub(b"", shown) == CHANGING.sub(b"", sent)
    assert shown != sent


def test_an_invoice_by_id_or_number_picks_one_of_several_messages(attached: Program) -> None:
    for wanted in ("i6", "INV-6"):
        document = attached("preview", "monthly", "CU1", "--invoice", wanted, "--json").json
        assert document["headers"]["Subject"] == "Invoice INV-6"
    assert document["messages"] == 2
    assert document["others"] == [
        {"id": "i1", "number": "INV-1", "reason": None},
        {"id": "i7", "number": "INV-7", "reason": "MR123"},
    ]


def test_json_has_all_of_the_message(attached: Program) -> None:
    document = attached("preview", "monthly", "CU1", "--json").json

    assert set(document) == {
        *("schema", "definition", "customer", "period", "messages", "invoices", "others"),
        *("reason", "detail", "from", "to", "bcc", "headers", "attachments", "text"),
        *("text_from_html", "html", "message_id", "size", "sha256", "out"),
    }
    assert document["schema"] == 1
    assert (document["to"], document["bcc"]) == (["one@cu1.test"], ["b@acme.test"])
    (enclosed,) = document["attachments"]
    assert enclosed == {"filename": "i1.pdf", "media_type": "application/pdf", "size": len(PDF)}
    assert document["text_from_html"] is False, "it leaves with a text part of its own"
    assert "https://acme.test/pay" in document["text"]


def test_html_that_leaves_alone_is_shown_as_text(attached: Program) -> None:
    attached.edit('html = "invoice.html"', 'html = "invoice.html"\ntext_from_html = false')

    document = attached("preview", "monthly", "CU1", "--json").json

    assert document["text_from_html"] is True
    assert "https://acme.test/pay" in document["text"]


def test_nothing_is_written_or_sent_or_held(msgrun: Program, sink: Sink) -> None:
    msgrun("preview", "monthly", "CU1")

    assert sink.received == []
    assert msgrun("runs", "--json").json["runs"] == []
    assert msgrun("start", "--yes", "--json").json["messages"]["sent"] == 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["CU3"], "MR105"),
        (["CU4"], "MR123"),
        (["CU1", "--period", "2026-09"], "MR122"),
        (["CU1", "--cluster", "Americas"], "MR103"),
    ],
)
def test_who_would_get_nothing_is_told_why(
    msgrun: Program, arguments: list[str], reason: str
) -> None:
    done = msgrun("preview", "monthly", *arguments, "--out", "none.eml")

    assert done.code == ExitCode.INCOMPLETE
    assert f"no message: {reason} " in done.out
    assert f"msgrun doctor {arguments[0]}" in done.out
    assert msgrun("preview", "monthly", *arguments, "--json").json["reason"] == reason
    assert not (msgrun.folder / "none.eml").exists()


def test_what_cannot_be_composed_is_told_with_its_finding(attached: Program) -> None:
    (attached.folder / "a.pdf").unlink()

    done = attached("preview", "monthly", "CU1")

    assert done.code == ExitCode.INCOMPLETE
    assert "MR401" in done.out
    assert "there is no file" in done.out


def test_what_was_sent_is_shown_again_when_asked(msgrun: Program) -> None:
    msgrun("start", "--yes", "--customer", "CU1")

    first = msgrun("preview", "monthly", "CU1")
    again = msgrun("preview", "monthly", "CU1", "--resend")

    assert (first.code, again.code) == (ExitCode.INCOMPLETE, ExitCode.DONE)
    assert "MR125" in first.out
    assert "--resend" in first.out
    assert "Subject  Invoice INV-1" in again.out


def test_a_file_is_replaced_with_force_alone_and_is_its_owners(msgrun: Program) -> None:
    file = Path(msgrun.write("kept.eml", "mine"))

    refused = msgrun("preview", "monthly", "CU1", "--out", "kept.eml")
    assert refused.code == ExitCode.USAGE
    assert "--force" in refused.err
    assert file.read_text() == "mine"

    assert msgrun("preview", "monthly", "CU1", "--out", "kept.eml", "--force").code == 0
    assert message_from_bytes(file.read_bytes(), policy=default)["To"] == "one@cu1.test"
    msgrun("preview", "monthly", "CU1", "--out", "new.eml")
    assert Path("new.eml").stat().st_mode & 0o077 == 0


def test_a_dash_writes_the_bytes_alone_to_stdout(msgrun: Program) -> None:
    done = msgrun.outside("preview", "monthly", "CU1", "--out", "-")

    assert message_from_bytes(done.out.encode(), policy=default)["To"] == "one@cu1.test"
    assert done.out.startswith("From: ")


def test_open_hands_the_file_to_the_systems_program(
    msgrun: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    opener = Path(msgrun.write("xdg-open", '#!/bin/sh\ncp "$1" opened.eml\n'))
    opener.chmod(0o755)
    monkeypatch.setenv("PATH", f"{msgrun.folder}:{os.environ['PATH']}")
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.setattr("sys.platform", "linux")

    done = msgrun("preview", "monthly", "CU1", "--out", "a b;c.eml", "--open")

    assert "opened in the mail program: a b;c.eml" in done.out
    assert Path("opened.eml").read_bytes() == Path("a b;c.eml").read_bytes()


def test_where_nothing_can_open_it_the_path_is_told(
    msgrun: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    done = msgrun("preview", "monthly", "CU1", "--open")

    (file,) = re.findall(r"the message is in (\S+)", done.out)
    assert done.code == ExitCode.DONE
    assert Path(file).read_bytes().startswith(b"From: ")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["nothing", "CU1"], ExitCode.NOT_FOUND, "nothing"),
        (["monthly", "CU99"], ExitCode.NOT_FOUND, "no customer 'CU99'"),
        (["monthly", "CU1", "--invoice", "x"], ExitCode.NOT_FOUND, "there are INV-1"),
        (["monthly"], ExitCode.USAGE, "CUSTOMER"),
        (["monthly", "CU1", "--out", "no/such/folder.eml"], ExitCode.USAGE, "cannot be written"),
        (["monthly", "CU1", "--force"], ExitCode.USAGE, "give --out FILE"),
        (["monthly", "CU1", "--out", "-", "--json"], ExitCode.USAGE, "stdout"),
    ],
)
def test_what_cannot_be_shown_says_what_to_do(
    msgrun: Program, arguments: list[str], code: int, told: str
) -> None:
    done = msgrun("preview", *arguments)

    assert done.code == code
    assert told in done.err
