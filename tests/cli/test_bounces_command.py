"""`msgrun bounces`: from mailboxes of every kind into the ledger, and out of the doctor."""

import mailbox
from pathlib import Path

import pytest

from cli.golden_text import same_as_golden
from cli.program import Program
from imap_server import imap_server
from msgrun.errors import ExitCode
from notices import notice


@pytest.fixture
def sent(msgrun: Program) -> Program:
    """A run whose messages are accepted or refused; CU1's was accepted."""
    msgrun("start", "--yes")
    return msgrun


def mail_for(sent: Program, customer: str = "CU1", address: str = "one@cu1.test") -> bytes:
    rows = sent("results", "--json").json_lines
    (found,) = [row["message_id"] for row in rows if row["customer"] == customer]
    return notice(found, [address])


def state_of(sent: Program, customer: str = "CU1") -> str:
    rows = sent("results", "--json").json_lines
    (found,) = [row["state"] for row in rows if row["customer"] == customer]
    return str(found)


def test_what_it_says(sent: Program) -> None:
    (sent.folder / "back.eml").write_bytes(mail_for(sent))

    done = sent("bounces", "back.eml")

    assert done.code == ExitCode.DONE
    same_as_golden("bounces", done.out)
    same_as_golden("bounces_again", sent("bounces", "back.eml").out)
    assert state_of(sent) == "bounced"


def test_the_document_has_each_recipient(sent: Program) -> None:
    (sent.folder / "back.eml").write_bytes(mail_for(sent))

    document = sent("bounces", "back.eml", "--dry-run", "--json").json

    assert (document["schema"], document["dry_run"], document["mails"]) == (1, True, 1)
    assert document["effects"]["bounced"] == 1
    (one,) = document["recipients"]
    assert one["customer"] == "CU1"
    assert (one["status"], one["hard"], one["invoices"]) == ("5.1.1", True, ["i1"])
    assert state_of(sent) == "sent", "a dry run writes nothing"


def test_the_doctor_says_that_it_came_back(sent: Program) -> None:
    (sent.folder / "back.eml").write_bytes(mail_for(sent))
    sent("bounces", "back.eml")

    told = sent("doctor", "CU1", "--offline")

    assert told.code == ExitCode.DOCTOR_ERRORS
    assert "MR509" in told.out
    assert "User unknown" in told.out
    counts = sent("show", "--json").json["counts"]
    assert (counts["bounced"], counts["sent"]) == (1, 2), "bounced is an of-which of sent"


def test_a_maildir_of_the_configuration_is_marked_as_read(sent: Program) -> None:
    box = mailbox.Maildir(sent.folder / "Maildir", create=True)
    box.add(mail_for(sent))
    box.add(b"Subject: hello\n\nWhere is my invoice?\n")
    with (sent.folder / "msgrun.toml").open("a") as file:
        file.write('\n[bounces]\nmaildir = "Maildir"\n')

    first, second = sent("bounces", "--json").json, sent("bounces", "--json").json

    assert (first["mails"], first["effects"]["bounced"]) == (2, 1)
    assert (second["mails"], second["notices"]) == (1, 0), "only what a person should read"
    assert len(list((sent.folder / "Maildir" / "cur").iterdir())) == 1


def test_a_maildir_that_is_named_is_left_as_it_is(sent: Program) -> None:
    box = mailbox.Maildir(sent.folder / "Maildir", create=True)
    box.add(mail_for(sent))
    before = sorted((sent.folder / "Maildir").rglob("*"))

    assert sent("bounces", "Maildir", "--json").json["effects"]["bounced"] == 1

    assert sorted((sent.folder / "Maildir").rglob("*")) == before


def test_an_mbox_is_read_whole(sent: Program) -> None:
    box = mailbox.mbox(sent.folder / "mbox", create=True)
    box.add(mail_for(sent))
    box.add(mail_for(sent, "CU2", "good@cu2.test"))
    box.close()

    effects = sent("bounces", "mbox", "--json").json["effects"]

    assert (effects["bounced"], effects["known"]) == (2, 0)
    assert state_of(sent, "CU2") == "bounced", "its other recipient was refused at once"


def test_an_imap_folder(sent: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAP_PASSWORD", "s3cret")
    with imap_server() as server:
        server.mails = {4: mail_for(sent), 9: b"Subject: hello\n\nWhere is my invoice?\n"}
        with (sent.folder / "msgrun.toml").open("a") as file:
            file.write(imap_section(server.port))
        first, second = sent("bounces", "--json").json, sent("bounces", "--json").json

    assert (first["mails"], first["effects"]["bounced"]) == (2, 1)
    assert server.seen == {4}
    assert second["mails"] == 1


def test_an_imap_folder_that_cannot_be_read(
    sent: Program, monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    monkeypatch.setenv("IMAP_PASSWORD", "wrong")
    toml = sent.folder / "msgrun.toml"
    before = toml.read_text()
    with imap_server() as server:
        toml.write_text(before + imap_section(server.port))
        refused = sent("bounces")
    toml.write_text(before + imap_section(unused_port))
    gone = sent("bounces")

    assert (refused.code, gone.code) == (ExitCode.ERROR, ExitCode.ERROR)
    assert "AUTHENTICATIONFAILED" in refused.err
    assert "wrong" not in refused.err.replace("wrong name or password", "")
    assert "Connection refused" in gone.err


def test_an_imap_folder_by_token(sent: Program) -> None:
    with imap_server() as server:
        server.mails = {4: mail_for(sent)}
        section = imap_section(server.port).replace(
            'password_env = "IMAP_PASSWORD"', 'token_file = "t"'
        )
        with (sent.folder / "msgrun.toml").open("a") as file:
            file.write(section)
        missing = sent("bounces")
        sent.write("t", "stale")
        refused = sent("bounces")
        sent.write("t", server.password)
        effects = sent("bounces", "--json").json["effects"]

    assert (missing.code, refused.code) == (ExitCode.ERROR, ExitCode.ERROR)
    assert "the token file" in missing.err
    assert "no such token" in refused.err
    assert effects["bounced"] == 1


def imap_section(port: int) -> str:
    return (
        f'\n[bounces.imap]\nhost = "127.0.0.1"\nport = {port}\nsecurity = "none"\n'
        'username = "bounces@acme.test"\npassword_env = "IMAP_PASSWORD"\ntimeout = 5\n'
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "there is no mailbox to read"),
        (["nothing.eml"], "there is no nothing.eml"),
        (["."], "is no Maildir"),
    ],
)
def test_what_cannot_be_read_is_said(sent: Program, arguments: list[str], told: str) -> None:
    done = sent("bounces", *arguments)

    assert done.code == ExitCode.USAGE
    assert told in done.err


def test_a_folder_in_a_maildir_that_nobody_may_read(sent: Program, tmp_path: Path) -> None:
    with (sent.folder / "msgrun.toml").open("a") as file:
        file.write(f'\n[bounces]\nmaildir = "{tmp_path / "none"}"\n')

    done = sent("bounces")

    assert done.code == ExitCode.ERROR
    assert "cannot be read" in done.err
