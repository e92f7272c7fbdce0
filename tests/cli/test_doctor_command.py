"""The doctor as a command: its exit codes, formats and looks."""

import time

import pytest

from cli.program import Program
from silent_server import silent


def test_the_command_itself_ends_in_time(msgrun: Program) -> None:
    """In a process of its own, its end included."""
    with silent() as port:
        config = (msgrun.folder / "msgrun.toml").read_text()
        old = next(line for line in config.splitlines() if line.startswith("port"))
        msgrun.edit(old, f"port = {port}\ntimeout = 30")
        before = time.monotonic()
        base = msgrun.outside("doctor", "CU1", "--offline")
        start_up = time.monotonic() - before
        before = time.monotonic()

        done = msgrun.outside("doctor", "CU1", "--timeout", "1")

        spent = time.monotonic() - before
    assert base.code == 4  # not started yet
    assert "MR091" in done.out
    assert done.code == 4
    assert spent < start_up + 2


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "soon", "3601"])
def test_a_time_that_is_none_is_a_usage_error(msgrun: Program, seconds: str) -> None:
    assert msgrun("doctor", "--timeout", seconds).code == 2
