"""`msgrun evidence`: the relay's log beside the ledger."""

import re

import pytest

from cli.golden_text import same_as_golden
from cli.program import Program
from msgrun.errors import ExitCode


def logged(msgrun: Program, status: str = "sent", said: str = "250 2.0.0 Ok") -> None:
    """Write a log in which CU1's message was passed on so; the others' are not in it."""
    rows = msgrun("results", "--json").json_lines
    (row,) = [each for each in rows if each["customer"] == "CU1"]
    queue_id = "4F2A7C0B1"
    msgrun.write(
        "mail.log",
        f"Nov  3 07:00:01 relay postfix/cleanup[7]: {queue_id}: message-id={row['message_id']}\n"
        f"Nov  3 07:00:02 relay postfix/smtp[8]: {queue_id}: to=<one@cu1.test>, "
        f"relay=mx.cu1.test[192.0.2.1]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, "
        f"status={status} ({said})\n",
    )


@pytest.fixture
def sent(msgrun: Program) -> Program:
    msgrun("start", "--yes")
    return msgrun


def test_what_did_not_arrive_is_listed(sent: Program) -> None:
    logged(sent, "bounced", "host mx.cu1.test[192.0.2.1] said: 550 5.1.1 unknown user")

    done = sent("evidence", "--maillog", "mail.log")

    assert done.code == ExitCode.INCOMPLETE
    same_as_golden("evidence", _without_ids(done.out))


def test_what_arrived_is_only_counted(sent: Program) -> None:
    logged(sent)

    done = sent("evidence", "--maillog", "mail.log")

    assert done.code == ExitCode.DONE
    assert "1  sent" in done.out
    assert "one@cu1.test" not in done.out
    assert "250 2.0.0 Ok" in sent("evidence", "--maillog", "mail.log", "--all").out


def test_the_document_has_each_delivery(sent: Program) -> None:
    logged(sent, "deferred", "connect timed out")

    done = sent("evidence", "last", "--maillog", "mail.log", "--customer", "CU1", "--json")

    (row,) = done.json_lines
    assert (row["schema"], row["verdict"], row["state"]) == (1, "deferred", "sent")
    assert row["deliveries"][0]["said"] == "connect timed out"


def test_a_doubt_is_settled_by_the_log(sent: Program) -> None:
    logged(sent)
    in_doubt(sent, "CU1")

    done = sent("evidence", "--maillog", "mail.log")

    assert "it left: `msgrun resolve 1 --sent` settles the doubt" in done.out


def in_doubt(msgrun: Program, customer: str) -> None:
    """Have the ledger forget the server's answer, as a crash after the dot does."""
    from sqlalchemy import update

    from msgrun.config import load_config
    from msgrun.workspace import Workspace

    database = Workspace.of(load_config(msgrun.folder / "msgrun.toml")).database
    message = database.tables.message
    with database.write() as connection:
        connection.execute(
            update(message)
            .where(message.c.customer == customer)
            .values(state="in_doubt", reason="MR507", queue_id=None)
        )


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--maillog", "none.log"], ExitCode.USAGE, "none.log cannot be read"),
        (["99", "--maillog", "mail.log"], ExitCode.NOT_FOUND, "99"),
        ([], ExitCode.USAGE, "--maillog"),
    ],
)
def test_what_cannot_be_read_is_said(
    sent: Program, arguments: list[str], code: int, told: str
) -> None:
    logged(sent)

    done = sent("evidence", *arguments)

    assert done.code == code
    assert told in done.err


def _without_ids(text: str) -> str:
    return re.sub(r"  [0-9A-F]{10}$", "  <queue id>", text, flags=re.MULTILINE)
