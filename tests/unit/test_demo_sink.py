"""The demo's sink: a mail server on loopback that keeps what it gets."""

import os
import re
import signal
import smtplib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from msgrun.demo.sink import SIZE, Sink, running_sink

MESSAGE = b"Message-ID: <m1@acme.test>\r\nSubject: Invoice\r\n\r\nHello\r\n"


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    refuse = {"Gone@acme.test": "550 5.1.1 <gone@acme.test>: User unknown"}
    with running_sink(tmp_path / "mailbox", refuse=refuse) as running:
        yield running


class Raw:
    """A client that sends exactly the bytes it is given."""

    def __init__(self, sink: Sink) -> None:
        self.socket = socket.create_connection(("127.0.0.1", sink.port), timeout=10)
        self.file = self.socket.makefile("rb")
        self.reply()

    def say(self, data: bytes, replies: int = 1) -> list[str]:
        self.socket.sendall(data)
        return [self.reply() for _ in range(replies)]

    def reply(self) -> str:
        while (line := self.file.readline())[3:4] == b"-":
            pass
        return line.decode().rstrip()

    def close(self) -> None:
        self.file.close()
        self.socket.close()


@pytest.fixture
def raw(sink: Sink) -> Iterator[Raw]:
    client = Raw(sink)
    client.say(b"EHLO client.test\r\n")
    yield client
    client.close()


def send(sink: Sink, recipients: list[str], message: bytes = MESSAGE) -> None:
    with smtplib.SMTP("127.0.0.1", sink.port, timeout=10) as client:
        client.sendmail("billing@acme.test", recipients, message)


def test_an_accepted_message_is_kept_byte_for_byte_and_indexed(sink: Sink) -> None:
    send(sink, ["a@customer.test", "b@customer.test"])

    (entry,) = sink.received
    assert entry.message_id == "<m1@acme.test>"
    assert entry.sender == "billing@acme.test"
    assert entry.recipients == ("a@customer.test", "b@customer.test")
    assert entry.path == sink.directory / f"0001-{entry.queue_id}.eml"
    assert entry.path.read_bytes() == MESSAGE


def test_the_reply_to_the_dot_names_the_queue_id(sink: Sink, raw: Raw) -> None:
    raw.say(b"MAIL FROM:<a@acme.test>\r\nRCPT TO:<b@acme.test>\r\nDATA\r\n", replies=3)

    (reply,) = raw.say(MESSAGE + b".\r\n")

    assert reply == f"250 2.0.0 Ok: queued as {sink.received[0].queue_id}"
    assert re.fullmatch("[0-9A-F]{10}", sink.received[0].queue_id)


def test_dot_stuffing_is_undone_and_only_the_lone_dot_ends_the_message(
    sink: Sink, raw: Raw
) -> None:
    raw.say(b"MAIL FROM:<a@acme.test>\r\nRCPT TO:<b@acme.test>\r\nDATA\r\n", replies=3)

    raw.say(b"Subject: x\r\n\r\n..\r\n..two\r\nbare\n.\nlf\r\n.\r\n")

    assert sink.received[0].path.read_bytes() == b"Subject: x\r\n\r\n.\r\n.two\r\nbare\n.\nlf\r\n"


def test_the_extensions_are_offered(sink: Sink) -> None:
    with smtplib.SMTP("127.0.0.1", sink.port, timeout=10) as client:
        client.ehlo("client.test")

    assert set(client.esmtp_features) == {
        *("pipelining", "size", "8bitmime", "smtputf8", "enhancedstatuscodes")
    }


def test_a_refused_address_gets_its_reply_and_no_message(sink: Sink) -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
        send(sink, ["gone@ACME.test"])

    assert caught.value.recipients == {
        "gone@ACME.test": (550, b"5.1.1 <gone@acme.test>: User unknown")
    }
    assert sink.received == []


def test_the_other_recipients_of_a_refused_one_get_the_message(sink: Sink) -> None:
    send(sink, ["gone@acme.test", "b@customer.test"])

    assert sink.received[0].recipients == ("b@customer.test",)


def test_an_unfinished_message_is_dropped(sink: Sink, raw: Raw) -> None:
    raw.say(b"MAIL FROM:<a@acme.test>\r\nRCPT TO:<b@acme.test>\r\nDATA\r\n", replies=3)
    raw.socket.sendall(MESSAGE + b".")
    raw.close()

    send(sink, ["b@customer.test"])

    assert len(sink.received) == len(list(sink.directory.iterdir())) == 1


def test_several_messages_go_over_one_connection(sink: Sink, raw: Raw) -> None:
    group = b"MAIL FROM:<a@acme.test>\r\nRCPT TO:<b%d@acme.test>\r\nDATA\r\n"

    for number in (1, 2, 3):
        raw.say(group % number, replies=3)
        raw.say(MESSAGE + b".\r\n")

    assert [entry.recipients for entry in sink.received] == [
        ("b1@acme.test",),
        ("b2@acme.test",),
        ("b3@acme.test",),
    ]


@pytest.mark.parametrize(
    ("commands", "last"),
    [
        (b"RCPT TO:<b@acme.test>\r\n", "503"),
        (b"DATA\r\n", "503"),
        (b"MAIL FROM:a@acme.test\r\n", "501"),
        (b"MAIL TO:<a@acme.test>\r\n", "501"),
        (b"MAIL FROM:<a@acme.test> SIZE=%d\r\n" % (SIZE + 1), "552"),
        (b"MAIL FROM:<a@acme.test>\r\nMAIL FROM:<a@acme.test>\r\n", "503"),
        (b"MAIL FROM:<a@acme.test>\r\nRCPT TO:<>\r\n", "501"),
        (b"MAIL FROM:<a@acme.test>\r\nRCPT TO:<a\x1b[31m@acme.test>\r\n", "501"),
        (b"MAIL FROM:<a@acme.test>\r\nRCPT TO:<b@acme.test>\r\nRSET\r\nDATA\r\n", "503"),
        ("MAIL FROM:<a@acme.test>\r\nRCPT TO:<bjørn@acme.test>\r\n".encode(), "553"),
        ("MAIL FROM:<a@acme.test> SMTPUTF8\r\nRCPT TO:<bjørn@acme.test>\r\n".encode(), "250"),
        (b"MAIL FROM:<>\r\n", "250"),
        (b"mail from:<a@acme.test> SIZE=100 BODY=8BITMIME\r\n", "250"),
        (b"EHLO\r\n", "501"),
        (b"\xff\xfe\r\n", "502"),
        (b"\r\n", "502"),
        (b"NOOP\r\n", "250"),
        (b"QUIT\r\n", "221"),
        (b"x" * 100_000, "500"),
    ],
)
def test_a_command_out_of_order_or_malformed_gets_its_own_reply(
    raw: Raw, commands: bytes, last: str
) -> None:
    replies = raw.say(commands, replies=commands.count(b"\r\n") or 1)

    assert replies[-1].startswith(last)


def test_a_message_over_the_size_limit_is_refused_at_the_dot(sink: Sink, raw: Raw) -> None:
    raw.say(b"MAIL FROM:<a@acme.test>\r\nRCPT TO:<b@acme.test>\r\nDATA\r\n", replies=3)
    line = b"x" * 59_998 + b"\r\n"

    (reply,) = raw.say(line * (SIZE // len(line) + 1) + b".\r\n")

    assert reply.startswith("552 5.3.4")
    assert sink.received == []


def test_mail_before_the_greeting_is_refused(sink: Sink) -> None:
    client = Raw(sink)

    (reply,) = client.say(b"MAIL FROM:<a@acme.test>\r\n")

    client.close()
    assert reply.startswith("503")


def test_a_sink_that_stops_in_mid_answer_keeps_nothing_and_returns(tmp_path: Path) -> None:
    with running_sink(tmp_path, delay=3600) as sink:
        client = Raw(sink)
        client.say(b"EHLO client.test\r\nMAIL FROM:<a@acme.test>\r\n", replies=2)
        client.say(b"RCPT TO:<b@acme.test>\r\nDATA\r\n", replies=2)
        client.socket.sendall(MESSAGE + b".\r\n")

    assert client.reply() == ""
    client.close()
    assert sink.received == []
    assert list(tmp_path.iterdir()) == []


def test_the_numbers_go_on_in_a_directory_that_holds_messages_already(tmp_path: Path) -> None:
    for _ in range(2):
        with running_sink(tmp_path) as sink:
            send(sink, ["b@customer.test"])

    assert sorted(path.name[:5] for path in tmp_path.iterdir()) == ["0001-", "0002-"]


def test_a_port_in_use_is_an_error_and_leaves_no_thread(sink: Sink, tmp_path: Path) -> None:
    threads = threading.active_count()

    with pytest.raises(OSError, match="in use"), running_sink(tmp_path, port=sink.port):
        pass

    assert threading.active_count() == threads


def test_the_sink_as_a_program_prints_each_message_and_ends_at_ctrl_c(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "msgrun.demo.sink", "--port", "0", "--directory", "mail"]
    program = subprocess.Popen(
        command,
        cwd=tmp_path,
        text=True,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert program.stdout is not None
    port = int(re.search(r"127\.0\.0\.1:(\d+)", program.stdout.readline())[1])
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
        client.sendmail("billing@acme.test", ["b@customer.test"], MESSAGE)

    line = program.stdout.readline()
    os.kill(program.pid, signal.SIGINT)
    rest, errors = program.communicate(timeout=20)

    assert re.fullmatch(
        rf"0001-[0-9A-F]{{10}}\.eml  {len(MESSAGE)} bytes  to b@customer\.test\n", line
    )
    assert (program.returncode, rest, errors) == (0, "1 messages in mail\n", "")
