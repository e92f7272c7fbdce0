"""A second opinion on the verdicts: Postfix's own test server, `smtp-sink`, told to fail.

It listens on 127.0.0.1 only, and writes down what it was sent.
"""

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from campaign import Tally
from msgrun.model import Stage, Verdict
from msgrun.transport.smtp import SmtpTransport
from smtp.letters import BODY, Asked, envelope, letter, noticed, settings

SEARCH_PATH: Final = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"
PROGRAM: Final = shutil.which("smtp-sink", path=SEARCH_PATH)
MISSING: Final = "smtp-sink is not installed; .ci/install-postfix installs it"
IMPATIENT: Final = 0.3

S, V = Stage, Verdict
# The sink's options, then what has to come of a message, and how often the intent was asked.
CASES: Final = {
    # -f: a 5xx.
    "5xx at the banner": ("-f CONNECT", V.SERVER_FAULT, S.BANNER, "MR605", 0),
    "5xx at EHLO": ("-f EHLO", V.SERVER_FAULT, S.EHLO, "MR605", 0),
    "5xx at MAIL": ("-f MAIL", V.REJECTED, S.MAIL, "MR616", 0),
    "5xx at RCPT": ("-f RCPT", V.REJECTED, S.RCPT, "MR617", 0),
    "5xx at DATA": ("-f DATA", V.REJECTED, S.DATA, "MR506", 0),
    "5xx at the dot": ("-f .", V.REJECTED, S.DOT, "MR506", 1),
    "5xx at QUIT": ("-f QUIT", V.ACCEPTED, S.DOT, "", 1),
    "5xx at RCPT, then at RSET": ("-f RCPT,RSET", V.REJECTED, S.RCPT, "MR617", 0),
    # -r: a 4xx.
    "4xx at the banner": ("-r CONNECT", V.SERVER_FAULT, S.BANNER, "MR605", 0),
    "4xx at EHLO": ("-r EHLO", V.SERVER_FAULT, S.EHLO, "MR605", 0),
    "4xx at MAIL": ("-r MAIL", V.DEFERRED, S.MAIL, "MR505", 0),
    "4xx at RCPT": ("-r RCPT", V.DEFERRED, S.RCPT, "MR505", 0),
    "4xx at DATA": ("-r DATA", V.DEFERRED, S.DATA, "MR505", 0),
    "4xx at the dot": ("-r .", V.DEFERRED, S.DOT, "MR505", 1),
    # -q: the connection is closed.
    "closed before the banner": ("-q CONNECT", V.SERVER_FAULT, S.BANNER, "MR605", 0),
    "closed at EHLO": ("-q EHLO", V.SERVER_FAULT, S.EHLO, "MR603", 0),
    "closed at MAIL": ("-q MAIL", V.SERVER_FAULT, S.MAIL, "MR603", 0),
    "closed at RCPT": ("-q RCPT", V.SERVER_FAULT, S.RCPT, "MR603", 0),
    "closed at DATA": ("-q DATA", V.SERVER_FAULT, S.DATA, "MR603", 0),
    "closed at the dot": ("-q .", V.IN_DOUBT, S.DOT, "MR507", 1),
    "closed at QUIT": ("-q QUIT", V.ACCEPTED, S.DOT, "", 1),
    # -Q: 421, and the connection is closed.
    "421 at the banner": ("-Q CONNECT", V.SERVER_FAULT, S.BANNER, "MR605", 0),
    "421 at EHLO": ("-Q EHLO", V.SERVER_FAULT, S.EHLO, "MR605", 0),
    "421 at MAIL": ("-Q MAIL", V.SERVER_FAULT, S.MAIL, "MR603", 0),
    "421 at RCPT": ("-Q RCPT", V.SERVER_FAULT, S.RCPT, "MR603", 0),
    "421 at DATA": ("-Q DATA", V.SERVER_FAULT, S.DATA, "MR603", 0),
    "421 at the dot": ("-Q .", V.DEFERRED, S.DOT, "MR505", 1),
    # -W: an answer later than anyone waits.
    "late banner": ("-W CONNECT:2", V.SERVER_FAULT, S.BANNER, "MR605", 0),
    "late EHLO": ("-W EHLO:2", V.SERVER_FAULT, S.EHLO, "MR603", 0),
    "late MAIL": ("-p -W MAIL:2", V.SERVER_FAULT, S.MAIL, "MR603", 0),
    "late RCPT": ("-p -W RCPT:2", V.SERVER_FAULT, S.RCPT, "MR603", 0),
    "late DATA": ("-p -w 2", V.SERVER_FAULT, S.DATA, "MR603", 0),
    "late dot": ("-W .:2", V.IN_DOUBT, S.DOT, "MR507", 1),
    "late QUIT": ("-W QUIT:2", V.ACCEPTED, S.DOT, "", 1),
    # What else a server may be like.
    "as usual": ("", V.ACCEPTED, S.DOT, "", 1),
    "no pipelining": ("-p", V.ACCEPTED, S.DOT, "", 1),
    "no 8BITMIME": ("-8", V.ACCEPTED, S.DOT, "", 1),
    "no enhanced status codes": ("-E", V.ACCEPTED, S.DOT, "", 1),
    "no ESMTP": ("-e", V.SERVER_FAULT, S.EHLO, "MR605", 0),
    "quota at RCPT": (
        "-f RCPT -B 550_5.4.5_Daily_user_sending_limit_exceeded",
        V.SERVER_FAULT, S.RCPT, "MR618", 0,
    ),
    "throttling at the dot": (
        "-r . -b 454_Throttling_failure", V.SERVER_FAULT, S.DOT, "MR618", 1,
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def installed() -> None:
    """Skip for want of smtp-sink; in CI, where it is installed before, that is a failure."""
    if PROGRAM is None and os.environ.get("CI") == "true":
        pytest.fail(MISSING)
    if PROGRAM is None:
        pytest.skip(MISSING)


@dataclass(frozen=True)
class Sink:
    """A running smtp-sink and the folder that it writes messages to."""

    port: int
    folder: Path

    def written(self) -> list[bytes]:
        """Return what it was sent, with the envelope as headers and line feeds for line ends."""
        found = []
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):  # it removes what was broken off
                found.append(path.read_bytes())
        return found


@contextmanager
def running_sink(options: str) -> Iterator[Sink]:
    """Run a smtp-sink with these options; an underscore in them stands for a space."""
    assert PROGRAM is not None
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    given = [option.replace("_", " ") for option in options.split()]
    # It writes as nobody, to whom pytest's own folders are closed.
    folder = Path(tempfile.mkdtemp(prefix="sink"))
    folder.chmod(0o777)
    if os.geteuid() == 0:
        given += ["-u", "nobody"]
    with subprocess.Popen([PROGRAM, *given, "-d", f"{folder}/", f"127.0.0.1:{port}", "10"]) as sink:
        try:
            until_it_listens(sink, port)
            yield Sink(port, folder)
        finally:
            sink.kill()
            shutil.rmtree(folder)


def until_it_listens(sink: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        assert sink.poll() is None, "smtp-sink has ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("case", CASES)
async def test_another_server_s_faults_have_the_same_verdicts(case: str, tally: Tally) -> None:
    options, verdict, stage, finding, times = CASES[case]
    with running_sink(options) as sink:
        patience = IMPATIENT if case.startswith("late") else 10
        transport = SmtpTransport(settings(sink.port, timeout=patience, dot_timeout=patience))
        asked = Asked()
        outcome = await transport.send(envelope(), letter(), asked)
        async with asyncio.timeout(10):
            await transport.close()
        written = sink.written()
    assert (outcome.verdict, outcome.stage, outcome.finding) == (verdict, stage, finding), outcome
    assert asked.times == times
    if verdict is V.ACCEPTED:
        assert [b"<one@acme.test>" in message for message in written] == [True]
        assert written[0].rstrip(b"\n").endswith(BODY.replace(b"\r\n", b"\n").rstrip(b"\n"))
    tally.add(
        "SMTP faults of an independent server (smtp-sink)",
        tried=1,
        messages=1,
        doubts=int(verdict is V.IN_DOUBT),
        note="the same class as from the scripted server",
    )


async def test_a_refusal_before_the_dot_that_is_not_read_to_its_end_is_definite() -> None:
    with running_sink("-A 0") as sink:
        transport = SmtpTransport(settings(sink.port))
        asked = Asked(meanwhile=lambda: noticed(transport))
        outcome = await transport.send(envelope(), letter(), asked)
        await transport.close()
    assert (outcome.verdict, outcome.stage) == (V.REJECTED, S.DATA)
    assert outcome.reply is not None
    assert outcome.reply.code == 550


async def test_one_connection_carries_message_after_message_to_another_server() -> None:
    with running_sink("") as sink:
        transport = SmtpTransport(settings(sink.port))
        sent = [letter(f"<{number}@acme.test>") for number in range(20)]
        outcomes = [await transport.send(envelope(), each, Asked()) for each in sent]
        await transport.close()
        written = b"".join(sink.written())
    assert {outcome.verdict for outcome in outcomes} == {V.ACCEPTED}
    assert [written.count(each.message_id.encode()) for each in sent] == [1] * 20
