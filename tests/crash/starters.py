"""Starts the program many times in one instant: this process has imported it, and forks.

A new interpreter needs a quarter of a second before it comes to `msgrun`, and twenty of
them come to it one after the other. Here each child is a fork that waits at a barrier, then runs
the program's own entry point. Nothing but imported modules is shared: no connection,
lock, thread or event loop exists before the fork.

Usage: starters.py, then on its input a line {"config", "output", "count"} for each round.
Prints {"number", "code"} whenever a child has ended; its output is in the folder `output`.
"""

import importlib
import json
import os
import pkgutil
import sys
import threading
from pathlib import Path

import msgrun
from msgrun.cli.app import run

_ENTRY_POINTS = {"msgrun.__main__", "msgrun.migrations.env"}
_ALSO = ("psycopg", "filelock", "email_validator", "sqlalchemy.dialects.postgresql.psycopg")


def warm_up() -> None:
    """Import all that a start imports."""
    for module in pkgutil.walk_packages(msgrun.__path__, "msgrun."):
        if module.name not in _ENTRY_POINTS and ".versions" not in module.name:
            importlib.import_module(module.name)
    for name in _ALSO:
        importlib.import_module(name)
    assert threading.active_count() == 1, "a fork would lose a thread"


def start_all(config: str, output: Path, count: int) -> None:
    """Fork so many children, let them go together, and say how each ends."""
    waiting, barrier = os.pipe()
    numbers = {}
    for number in range(count):
        pid = os.fork()
        if pid == 0:
            os.close(barrier)
            _start(config, output / str(number), waiting)
        numbers[pid] = number
    os.close(waiting)
    os.close(barrier)  # every child reads the end of the pipe
    while numbers:
        pid, status = os.wait()
        told = {"number": numbers.pop(pid), "code": os.waitstatus_to_exitcode(status)}
        print(json.dumps(told), flush=True)


def _start(config: str, output: Path, barrier: int) -> None:
    """Be the program, once the barrier falls; never return."""
    code = 70
    try:
        for stream, suffix in ((1, ".out"), (2, ".err")):
            file = os.open(output.with_suffix(suffix), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, stream)
        os.read(barrier, 1)
        code = run(["--config", config, "start", "--yes"])
        sys.stdout.flush()
    finally:
        os._exit(code)


def main() -> None:
    """Serve rounds until the input ends."""
    warm_up()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        wanted = json.loads(line)
        start_all(wanted["config"], Path(wanted["output"]), wanted["count"])


if __name__ == "__main__":
    main()
