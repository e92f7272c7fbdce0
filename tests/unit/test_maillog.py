"""Lines of Postfix's log, in the forms that files and the journal give them."""

import gzip
import json
from pathlib import Path

import pytest

from msgrun.errors import UsageError
from msgrun.maillog import Delivered, Named, read_line, read_log

SENT = (
    "2026-11-03T07:00:02.123456+01:00 relay postfix/smtp[77]: 4F2A7C0B1: to=<a@customer.test>, "
    "relay=mx.customer.test[192.0.2.1]:25, delay=1.2, delays=0.1/0/0.5/0.6, dsn=2.0.0, "
    "status=sent (250 2.0.0 Ok: queued as 9XYZ77)"
)
NAMED = "Nov  3 07:00:01 relay postfix/cleanup[70]: 4F2A7C0B1: message-id=<u1.7@acme.test>"


def test_a_delivery() -> None:
    assert read_line(SENT) == Delivered(
        "4F2A7C0B1", "2026-11-03T07:00:02.123456+01:00", "a@customer.test",
        "mx.customer.test[192.0.2.1]:25", "2.0.0", "sent", "250 2.0.0 Ok: queued as 9XYZ77",
    )  # fmt: skip


def test_a_message_id() -> None:
    assert read_line(NAMED) == Named("4F2A7C0B1", "<u1.7@acme.test>")


@pytest.mark.parametrize(
    "lead",
    ["", "Nov  3 07:00:02 relay ", "2026-11-03T07:00:02+0100 relay ", "Nov 03 07:00:02 "],
)
@pytest.mark.parametrize("name", ["postfix/smtp", "postfix-out/lmtp", "smtp", "postfix/relay/smtp"])
def test_whatever_stands_before_it(lead: str, name: str) -> None:
    tried = "4F2A7C0B1: to=<a@b.test>, relay=none, delay=3, delays=1/1/1/0, dsn=4.4.1, "

    told = read_line(f"{lead}{name}[7]: {tried}status=deferred (connect to b.test: timed out)")

    assert isinstance(told, Delivered)
    assert (told.status, told.enhanced) == ("deferred", "4.4.1")
    assert told.said == "connect to b.test: timed out"


def test_the_journal_as_json() -> None:
    entry = {
        "SYSLOG_IDENTIFIER": "postfix/smtp",
        "SYSLOG_PID": "7",
        "MESSAGE": SENT.partition("]: ")[2],
    }

    told = read_line(json.dumps(entry))

    assert isinstance(told, Delivered)
    assert told.status == "sent"


def test_behind_a_local_filter_the_next_queue_id_is_followed() -> None:
    line = SENT.replace("mx.customer.test[192.0.2.1]:25", "127.0.0.1[127.0.0.1]:10024")

    told = read_line(line)

    assert isinstance(told, Delivered)
    assert told.next_id == "9XYZ77"
    assert isinstance(far := read_line(SENT), Delivered)
    assert far.next_id == "", "another host's queue ids are not ours"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Nov  3 07:00:01 relay sshd[7]: session opened",
        "Nov  3 07:00:01 relay postfix/qmgr[7]: 4F2A7C0B1: removed",
        "Nov  3 07:00:01 relay postfix/smtpd[7]: connect from localhost[127.0.0.1]",
        '{"MESSAGE": 7',
        "{}",
    ],
)
def test_lines_that_say_nothing_of_a_message(line: str) -> None:
    assert read_line(line) is None


def test_packed_logs_are_read(tmp_path: Path) -> None:
    file = tmp_path / "mail.log.2.gz"
    file.write_bytes(gzip.compress(f"{NAMED}\n{SENT}\n".encode()))

    assert [type(each) for each in read_log(file)] == [Named, Delivered]


def test_a_log_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        list(read_log(tmp_path / "none.log"))
