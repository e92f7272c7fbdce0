"""Stopping a process where it stands (SIGSTOP), and letting it go on."""

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable

from sqlalchemy import text

from gated_sink import until
from msgrun.database import Database

_TRIES = 50
_ELSEWHERE = """
    SELECT state FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
      AND backend_type = 'client backend'
"""


def freeze(process: "subprocess.Popen[str]", database: Database) -> None:
    """Freeze a process at a moment at which it holds no lock of the database.

    One that froze within a transaction keeps others from the rows, or from the whole SQLite
    file, until the database's own patience ends; that is another test's matter.
    """
    for _ in range(_TRIES):
        process.send_signal(signal.SIGSTOP)
        await_stop(process)
        if not holds_locks(database):
            return
        process.send_signal(signal.SIGCONT)
        time.sleep(0.003)  # any later moment will do
    raise AssertionError("it froze within a transaction every time")


def freeze_at_failpoint(
    begin: Callable[[], "subprocess.Popen[str]"], database: Database
) -> "subprocess.Popen[str]":
    """Return a process that froze at its failpoint, holding no lock of the database.

    Args:
        begin: launches it, from the beginning each time.
        database: which it writes to.
    """
    for _ in range(_TRIES):
        process = begin()
        await_stop(process)
        if not holds_locks(database):
            return process
        process.kill()  # its writer stood in a transaction for another message
        process.communicate()
    raise AssertionError("it froze within a transaction every time")


def await_stop(process: "subprocess.Popen[str]") -> None:
    """Wait until a process stands still."""

    def stopped() -> bool:
        found = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT | os.WNOHANG)
        assert found is None or found.si_code == os.CLD_STOPPED, "it ended before it was frozen"
        return found is not None

    until(stopped, what="the process does not stand still")


def thaw(process: "subprocess.Popen[str]") -> None:
    """Let a frozen process go on."""
    process.send_signal(signal.SIGCONT)


def holds_locks(database: Database) -> bool:
    """Tell whether somebody, standing still, keeps others from the database's rows or file."""
    if database.is_sqlite:
        probe = sqlite3.connect(database.path, timeout=0.05, isolation_level=None)
        try:
            probe.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            return True
        finally:
            probe.close()
        return False
    states: list[str] = []

    def settled() -> bool:
        with database.read() as connection, connection.begin():
            states[:] = connection.execute(text(_ELSEWHERE)).scalars()
        return "active" not in states

    until(settled, what="a statement does not end")
    return any(state.startswith("idle in transaction") for state in states)
