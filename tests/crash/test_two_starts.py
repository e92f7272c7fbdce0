"""Many starts of one definition at once: one runs, the others exit 11 and write nothing.

Most rounds fork from a process that has imported the program already (`starters.py`), since twenty
new interpreters on few cores come one after the other; a few rounds use new ones all the same.
"""

import json
import os
import queue
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from oracle import hold_against_sink

from billing_world import World, address, make_world
from campaign import Tally
from gated_sink import GatedSink, gated_sink, until
from ledger_rows import count_rows, empty_ledger
from msgrun.database import Database
from msgrun.errors import ExitCode
from msgrun.states import MessageState, RunStatus

STARTS = 20
CUSTOMERS = 3
ONE_RUN = {"run": 1, "run_revision": 1, "message": CUSTOMERS, "message_invoice": CUSTOMERS,
           "worker": 1, "event": 2, "attempt": 0, "server": 0,
           "schedule": 0, "slot": 0, "news": 0}  # fmt: skip
"""What a run writes until its first answer; its events are "planned" and "running"."""


def test_one_of_twenty_starts_runs_and_the_others_write_nothing(
    database: Database, tmp_path: Path, tally: Tally
) -> None:
    campaign(database, tmp_path, tally, forked=2)


def test_one_of_twenty_started_programs_runs_and_the_others_write_nothing(
    sqlite_database: Database, tmp_path: Path, tally: Tally
) -> None:
    campaign(sqlite_database, tmp_path, tally, programs=1)


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_one_of_twenty_starts_runs_two_hundred_times(
    database: Database, tmp_path: Path, tally: Tally
) -> None:
    campaign(database, tmp_path, tally, forked=200, programs=5)


def campaign(
    database: Database, folder: Path, tally: Tally, *, forked: int = 0, programs: int = 0
) -> None:
    """Start many at once, so many times each way, and look what the others left behind."""
    with gated_sink(folder / "mail") as sink:
        world = make_world(database, folder, sink.port, customers=CUSTOMERS)
        # The winner waits for its answers until the last of the others has ended.
        world.reconfigure("dot_timeout = 10", "dot_timeout = 120")
        world.reconfigure("\ntimeout = 5", "\ntimeout = 60")
        if forked:
            with _forker() as start_all:
                for _ in range(forked):
                    one_round(world, sink, start_all)
        for _ in range(programs):
            one_round(world, sink, _programs)
    tally.add(
        f"{STARTS} starts at once",
        tried=forked + programs,
        messages=CUSTOMERS * (forked + programs),
        note="one runs, the others exit 11 and write nothing",
    )


class Starts:
    """The starts of one round, as they end."""

    def __init__(self) -> None:
        self.ended: queue.SimpleQueue[tuple[int, str, str]] = queue.SimpleQueue()

    def next(self) -> tuple[int, str, str]:
        """Return code, stdout and stderr of the next one to end."""
        return self.ended.get(timeout=90)


def one_round(world: World, sink: GatedSink, start_all: Callable[[World], Starts]) -> None:
    """Start many at once while no answer is given; only then let the winner end."""
    empty_ledger(world)
    sink.forget()
    sink.hold()
    starts = start_all(world)
    for code, out, told in [starts.next() for _ in range(STARTS - 1)]:
        assert (code, told[:7]) == (ExitCode.ALREADY_RUNNING, "error: "), told + out
    until(sink.seen, what="the winner sent nothing")
    assert count_rows(world) == ONE_RUN
    sink.let_go()
    code, _, told = starts.next()
    assert (code, told) == (ExitCode.DONE, "")
    assert hold_against_sink(world, sink) == {MessageState.SENT: CUSTOMERS}
    came = Counter(each.recipients[0] for each in sink.received)
    assert came == dict.fromkeys(map(address, range(1, CUSTOMERS + 1)), 1)
    assert [run.status for run in world.runs()] == [RunStatus.FINISHED]
    assert count_rows(world) == ONE_RUN | {"event": 3}


@contextmanager
def _forker() -> Iterator[Callable[[World], Starts]]:
    """Run `starters.py`; hand out what makes it start many at once."""
    script = Path(__file__).with_name("starters.py")
    process = subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    source, orders = process.stdout, process.stdin

    def listen() -> None:
        for line in source:
            lines.put(line)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    assert json.loads(lines.get(timeout=90)) == {"ready": True}

    def start_all(world: World) -> Starts:
        output = world.folder / "output"
        output.mkdir(exist_ok=True)
        order = {"config": str(world.folder / "msgrun.toml"), "output": str(output),
                 "count": STARTS}  # fmt: skip
        orders.write(json.dumps(order) + "\n")
        orders.flush()
        return _Forked(lines, output)

    try:
        yield start_all
    finally:
        orders.close()
        process.wait(timeout=90)
        listener.join(timeout=90)
        source.close()


class _Forked(Starts):
    def __init__(self, lines: "queue.SimpleQueue[str]", output: Path) -> None:
        super().__init__()
        self._lines, self._output = lines, output

    def next(self) -> tuple[int, str, str]:
        told: dict[str, Any] = json.loads(self._lines.get(timeout=90))
        name = self._output / str(told["number"])
        return (
            told["code"],
            name.with_suffix(".out").read_text("utf-8"),
            name.with_suffix(".err").read_text("utf-8"),
        )


def _programs(world: World) -> Starts:
    """Start many new interpreters."""
    starts = Starts()
    command = [sys.executable, "-m", "msgrun", "start", "--yes"]

    def follow(process: "subprocess.Popen[str]") -> None:
        out, told = process.communicate(timeout=90)
        starts.ended.put((process.returncode, out, told))

    for _ in range(STARTS):
        process = subprocess.Popen(
            command, cwd=world.folder, env=os.environ, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        threading.Thread(target=follow, args=(process,), daemon=True).start()
    return starts
