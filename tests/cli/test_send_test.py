"""`msgrun send-test`: one real message, to the operator and to nobody else."""

from email import message_from_bytes
from email.policy import default

import pytest

from cli.program import Program
from msgrun.demo.sink import Sink
from msgrun.errors import ExitCode

ME = "me@ops.test"


def test_the_operator_alone_gets_what_the_customer_would(msgrun: Program, sink: Sink) -> None:
    done = msgrun("send-test", "monthly", "--to", ME, "--customer", "CU1")

    (entry,) = sink.received
    data = entry.path.read_bytes()
    message = message_from_bytes(data, policy=default)
    assert done.code == ExitCode.DONE
    assert "accepted by default (127.0.0.1:" in done.out
    assert entry.recipients == (ME,)
    assert message["To"] == ME
    assert message["Subject"].startswith("[redirected] ")
    assert b"cu1.test" not in data


def test_no_run_is_written_and_the_invoice_stays_free(msgrun: Program, sink: Sink) -> None:
    msgrun("send-test", "--to", ME, "--customer", "CU1")

    assert msgrun("runs", "--json").json["runs"] == []
    assert msgrun("start", "--yes", "--customer", "CU1", "--json").json["counts"]["sent"] == 1
    assert len(sink.received) == 2


def test_what_was_sent_before_may_be_tested_again(msgrun: Program, sink: Sink) -> None:
    msgrun("start", "--yes", "--customer", "CU1")

    done = msgrun("send-test", "--to", ME, "--customer", "CU1", "--json")

    document = done.json
    assert (done.code, document["schema"], document["outcome"]) == (0, 1, "accepted")
    assert (document["customer"], document["to"], document["code"]) == ("CU1", ME, 250)
    assert document["queue_id"]
    assert len(sink.received) == 2


def test_a_refusal_is_told_with_its_meaning(msgrun: Program, sink: Sink) -> None:
    sink.refuse[ME] = "554 5.7.1 Relay access denied"

    done = msgrun("send-test", "--to", ME, "--customer", "CU1")

    assert done.code == ExitCode.INCOMPLETE
    assert "554 5.7.1 Relay access denied" in done.out
    assert "does not relay for us" in done.out
    assert sink.received == []


def test_a_server_that_is_down_exits_12(msgrun: Program, sink: Sink, unused_port: int) -> None:
    msgrun.edit(f"port = {sink.port}", f"port = {unused_port}")

    done = msgrun("send-test", "--to", ME, "--customer", "CU1")

    assert done.code == ExitCode.PAUSED
    assert "msgrun explain MR603" in done.out


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--to", "nobody"], ExitCode.USAGE, "--to 'nobody' is no mail address"),
        (["--to", ME, "--customer", "CU99"], ExitCode.NOT_FOUND, "no customer 'CU99'"),
        (["nothing", "--to", ME], ExitCode.NOT_FOUND, "nothing"),
        (["--to", ME, "--customer", "CU3"], ExitCode.DOCTOR_ERRORS, "MR105: 1"),
        ([], ExitCode.USAGE, "--to"),
    ],
)
def test_what_cannot_be_tested_is_said_and_nothing_leaves(
    msgrun: Program, sink: Sink, arguments: list[str], code: int, told: str
) -> None:
    done = msgrun("send-test", *arguments)

    assert done.code == code
    assert told in done.err
    assert sink.received == []
