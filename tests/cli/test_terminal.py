"""On a terminal a person is asked, and sees the run; no is no."""

import os
import pty
import re
import select
import subprocess
import time

import pytest

from cli.program import Program
from msgrun.demo.sink import Sink
from msgrun.errors import ExitCode


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, msgrun: Program, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        self._process = msgrun.open(*arguments, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self.screen = ""

    def read_until(self, words: str) -> None:
        until = time.monotonic() + 20
        while words not in self.screen:
            assert time.monotonic() < until, self.screen
            assert self._read(), self.screen

    def _read(self) -> bool:
        if not select.select([self._ours], [], [], 20)[0]:
            return False
        try:
            part = os.read(self._ours, 65536)
        except OSError:
            return False
        self.screen += part.decode(errors="replace")
        return bool(part)

    def type(self, line: str) -> None:
        os.write(self._ours, line.encode())

    def end(self) -> int:
        while self._read():
            pass
        code = self._process.wait(timeout=30)
        os.close(self._ours)
        assert "Traceback" not in self.screen
        return code


@pytest.mark.parametrize("answer", ["n\n", "\n", "\x04"])
def test_no_sends_nothing_and_writes_nothing(msgrun: Program, sink: Sink, answer: str) -> None:
    terminal = Terminal(msgrun, "start")
    terminal.read_until("Send 3 messages? [y/N]")
    terminal.type(answer)

    assert terminal.end() == ExitCode.DONE
    assert "nothing sent, nothing written" in terminal.screen
    assert msgrun.runs() == []
    assert sink.received == []


def test_ctrl_c_at_the_question_exits_130_and_writes_nothing(msgrun: Program) -> None:
    terminal = Terminal(msgrun, "start")
    terminal.read_until("[y/N]")
    terminal._process.send_signal(subprocess.signal.SIGINT)  # type: ignore[attr-defined]

    assert terminal.end() == ExitCode.INTERRUPTED
    assert msgrun.runs() == []


def test_yes_sends_and_the_live_view_shows_it(msgrun: Program, sink: Sink) -> None:
    sink.delay = 0.3
    terminal = Terminal(msgrun, "start")
    terminal.read_until("[y/N]")
    terminal.type("y\n")

    assert terminal.end() == ExitCode.INCOMPLETE
    assert len(sink.received) == 2
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.screen)
    assert "1 of 3" in shown
    assert "unknown@cu5.test" in shown
    assert "Run 1 · monthly · finished" in shown


def test_a_definition_is_asked_for_when_there_are_several(msgrun: Program) -> None:
    msgrun.edit("enabled = false", 'statuses = ["Approved"]')
    terminal = Terminal(msgrun, "plan")
    terminal.read_until("Which definition (monthly, old)?")
    terminal.type("monthly\n")

    assert terminal.end() == ExitCode.DONE
    assert "Plan of " in terminal.screen


def test_cancel_asks(msgrun: Program, sink: Sink) -> None:
    sink.refuse["one@cu1.test"] = "451 4.2.0 later"
    msgrun("start", "--customer", "CU1", "--yes")
    terminal = Terminal(msgrun, "cancel")
    terminal.read_until("Give up 1 unsent")
    terminal.type("n\n")

    assert terminal.end() == ExitCode.DONE
    assert msgrun.runs()[0]["status"] == "waiting"
