"""How fast are several workers on one run of a real PostgreSQL, all on this machine?

Usage: python benchmarks/workers.py [--workers N,N] [--messages N] [--connections N]
[--document BYTES] [--snapshot] [--folder DIR].
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from billing import PDF_BYTES, write_billing, write_config
from counting_sink import TICKS, Sink, counting_sink
from guarantees import postgresql_bench
from sqlalchemy import Connection, Engine, NullPool, create_engine, text
from surroundings import machine, postgresql, scratch_folder

PATIENCE = 300.0  # seconds that one run may take
LOOK_SECONDS = 0.1
FROM, TO = 0.2, 0.9  # of the acceptances: workers neither begin nor leave between them


@dataclass(frozen=True)
class Figure:
    """One run by several workers.

    Attributes:
        rate: messages a second between the 20th and the 90th of 100 acceptances.
        shares: how many messages each worker had accepted.
        sessions: of PostgreSQL at once, at most, the benchmark's own not counted.
        others: cores that other programs used meanwhile.
        cpu: milliseconds of CPU time a message, by what used it.
    """

    workers: int
    rate: float
    shares: list[int]
    sessions: int
    others: float
    cpu: dict[str, float]

    def line(self) -> str:
        """Return it as a line for people."""
        used = ", ".join(f"{name} {spent:.2f}" for name, spent in self.cpu.items())
        return (
            f"{self.workers} workers: {self.rate:7.1f} messages/s; CPU ms a message: {used}; other "
            f"programs {self.others:.2f} cores; {self.sessions} sessions of PostgreSQL; "
            f"shares {' '.join(map(str, self.shares))}"
        )


@dataclass(frozen=True)
class Yard:
    """What all runs of this benchmark share."""

    folder: Path
    billing: Path
    sink: Sink
    messages: int
    connections: int

    def workspace(self, name: str, url: str) -> Path:
        """Make a folder as one host has it: a configuration, and room for its journal."""
        place = self.folder / name
        place.mkdir()
        write_config(place, self.billing, url, self.sink.port, self.connections)
        return place


def cpu_of(pids: Iterator[int] | list[int]) -> float:
    """Return the seconds of CPU time that processes have used; those that are gone, none."""
    used = 0
    for pid in pids:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(") ")[2].split()
        except OSError:
            continue
        used += int(stat[11]) + int(stat[12])
    return used / TICKS


def cpu_of_machine() -> float:
    """Return the seconds of CPU time that everything on this machine has used."""
    first = Path("/proc/stat").read_text("ascii").splitlines()[0].split()
    user, nice, system, _idle, _wait, interrupts, soft, stolen = map(int, first[1:9])
    return (user + nice + system + interrupts + soft + stolen) / TICKS


def family(pid: int) -> list[int]:
    """Return a process and all that it and its children have started."""
    found = [pid]
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = listed.read_text("ascii").split()
        except OSError:  # the thread has ended
            continue
        for child in children:
            found += family(int(child))
    return found


class Meter:
    """CPU time by what uses it, from its making on."""

    def __init__(self, workers: list[int], database: int, sink: Sink) -> None:
        self._workers, self._database, self._sink = workers, database, sink
        self._seen: dict[str, dict[int, float]] = {"msgrun": {}, "composing": {}, "database": {}}
        self._before = self._look()
        self._machine, self._began = cpu_of_machine(), time.perf_counter()

    def _look(self) -> dict[str, float]:
        groups = {
            "msgrun": self._workers,
            "composing": [each for one in self._workers for each in family(one)[1:]],
            "database": family(self._database),
        }
        for name, pids in groups.items():
            for pid in pids:
                self._seen[name][pid] = max(cpu_of([pid]), self._seen[name].get(pid, 0.0))
        return {name: sum(seen.values()) for name, seen in self._seen.items()} | {
            "sink": self._sink.cpu()
        }

    def look(self) -> None:
        """Note what there is: a process that has ended says nothing any more."""
        self._look()

    def read(self) -> tuple[dict[str, float], float]:
        """Return the seconds since its making, and the cores that others used meanwhile."""
        spent = {name: used - self._before[name] for name, used in self._look().items()}
        elapsed = time.perf_counter() - self._began
        whole = cpu_of_machine() - self._machine
        mine = sum(spent.values()) + 0.0
        return spent, max(0.0, (whole - mine) / elapsed)


def measure(yard: Yard, url: str, number: int, *, snapshot: bool = False) -> Figure:
    """Have `number` workers drain one run.

    Args:
        snapshot: whether somebody holds an old snapshot of the database open meanwhile.

    Raises:
        SystemExit: the run does not finish, or not every message has arrived.
    """
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with ExitStack() as stack:
        places = [yard.workspace(f"{number}w{each}", url) for each in range(number)]
        before = yard.sink.messages()
        crew = [stack.enter_context(worker(place)) for place in places]
        looking = stack.enter_context(engine.connect())
        wait_for(looking, "SELECT count(*) FROM msgrun.worker WHERE ended_at IS NULL", number)
        if snapshot:
            stack.enter_context(old_snapshot(url))
        postmaster = parent_of(int(ask(looking, "SELECT pg_backend_pid()")))
        meter = Meter([each.pid for each in crew], postmaster, yard.sink)
        hand_over(places[0])
        sessions = until_finished(looking, meter)
        spent, others = meter.read()
        arrived = yard.sink.wait_for_messages(before + yard.messages) - before
        if arrived != yard.messages:
            sys.exit(f"{arrived} of {yard.messages} messages arrived: the figures say nothing")
        rate = rate_of(looking)
    shares = [share_of(place) for place in places]
    cpu = {name: seconds / yard.messages * 1e3 for name, seconds in spent.items()}
    engine.dispose()
    return Figure(number, rate, shares, sessions, others, cpu)


@contextmanager
def worker(place: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """Run `msgrun worker` for the time of the block."""
    command = [sys.executable, "-m", "msgrun", "worker", "--poll", "0.1", "--json"]
    with (place / "output").open("wb") as output, (place / "errors").open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603 - as just made
            command, cwd=place, stdin=subprocess.DEVNULL, stdout=output, stderr=errors
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def old_snapshot(url: str) -> Iterator[None]:
    """Hold a snapshot open, as a dump or a forgotten transaction does."""
    engine: Engine = create_engine(url, poolclass=NullPool, isolation_level="REPEATABLE READ")
    with engine.connect() as connection:
        ask(connection, "SELECT count(*) FROM msgrun.run")
        yield


def hand_over(place: Path) -> None:
    """Plan the run and leave it to the workers."""
    command = [sys.executable, "-m", "msgrun", "start", "monthly", "--yes", "--distributed"]
    done = subprocess.run(  # noqa: S603 - as just made
        command, cwd=place, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=120
    )
    if done.returncode:
        sys.exit(f"msgrun start ended with {done.returncode}: {done.stderr.decode()[-2000:]}")


def ask(connection: Connection, question: str) -> Any:
    """Return the one value that a question has."""
    return connection.execute(text(question)).scalar_one()


def wait_for(connection: Connection, question: str, least: int) -> None:
    """Wait until a count has come to `least`.

    Raises:
        SystemExit: not within half a minute.
    """
    over = time.monotonic() + 30
    while ask(connection, question) < least:
        if time.monotonic() > over:
            sys.exit(f"waited in vain for {least}: {question}")
        time.sleep(LOOK_SECONDS)


def until_finished(connection: Connection, meter: Meter) -> int:
    """Wait for the run's end; return how many sessions PostgreSQL had at most, but for ours.

    Raises:
        SystemExit: the run comes to rest otherwise, or not in time.
    """
    over, most = time.monotonic() + PATIENCE, 0
    while True:
        status = ask(connection, "SELECT status FROM msgrun.run ORDER BY id DESC LIMIT 1")
        if status == "finished":
            return most
        if status not in {"planned", "running"} or time.monotonic() > over:
            sys.exit(f"the run is {status}: there are no figures")
        sessions = ask(
            connection,
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND backend_type = 'client backend'",
        )
        most = max(most, sessions - 1)
        meter.look()
        time.sleep(LOOK_SECONDS)


def rate_of(connection: Connection) -> float:
    """Return the messages a second in the middle of the last run."""
    share, seconds = connection.execute(
        text(
            "WITH sent AS (SELECT sent_at, percent_rank() OVER (ORDER BY sent_at) AS place "
            "FROM msgrun.message WHERE state = 'sent') SELECT count(*), extract(epoch FROM "
            "max(sent_at) - min(sent_at)) FROM sent WHERE place BETWEEN :first AND :last"
        ),
        {"first": FROM, "last": TO},
    ).one()
    return float(share) / float(seconds)


def share_of(place: Path) -> int:
    """Return how many messages a worker that has ended had accepted."""
    said = (place / "output").read_text("utf-8")
    try:
        runs = json.loads(said)["runs"]
        return sum(int(each["sent"]) for each in runs)
    except (ValueError, KeyError):
        errors = (place / "errors").read_text("utf-8")
        sys.exit(f"a worker said {said[-500:]!r} {errors[-1000:]!r}")


def parent_of(pid: int) -> int:
    """Return who started a process."""
    stat = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(") ")[2].split()
    return int(stat[1])


@contextmanager
def yard_of(asked: argparse.Namespace) -> Iterator[tuple[Yard, Any]]:
    """Make data, sink and database; give also what makes a fresh copy of the latter."""
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder(asked.folder))
        billing = folder / "billing"
        files = write_billing(billing, asked.messages, asked.document)
        print(*machine(folder), sep="\n")
        sink = stack.enter_context(counting_sink(folder, tls=False))
        server = stack.enter_context(postgresql(folder))
        fresh = stack.enter_context(postgresql_bench(server, files))
        print(f"postgresql  {server.version}, as it comes")
        print(
            f"run         {asked.messages} messages, a PDF of {asked.document} bytes each; "
            f"{asked.connections} connections a worker; {sink.name} on 127.0.0.1",
            flush=True,
        )
        yield Yard(folder, billing, sink, asked.messages, asked.connections), fresh


def main() -> int:
    """Measure what was asked for."""
    asked = arguments(__doc__ or "").parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing is left behind
    with yard_of(asked) as (yard, fresh):
        first = 0.0
        for number in asked.workers:
            with fresh() as url:
                os.sync()  # what went before is not to be paid for by this run
                figure = measure(yard, url, number, snapshot=asked.snapshot)
            first = first or figure.rate
            print(f"{figure.line()}; x{figure.rate / first:.2f}", flush=True)
    return 0


def arguments(told: str) -> argparse.ArgumentParser:
    """Return a parser of what is to be measured."""

    def numbers(given: str) -> list[int]:
        return [int(number) for number in given.split(",")]

    parser = argparse.ArgumentParser(description=told)
    parser.add_argument("--workers", type=numbers, default=[1, 2, 4], metavar="N,N")
    parser.add_argument("--messages", type=int, default=6000)
    parser.add_argument("--connections", type=int, default=10, help="of each worker")
    parser.add_argument("--document", type=int, default=PDF_BYTES, metavar="BYTES")
    parser.add_argument("--snapshot", action="store_true", help="hold an old snapshot open")
    parser.add_argument("--folder", type=Path, help="where the scratch folder is made: on a disk")
    return parser


if __name__ == "__main__":
    sys.exit(main())
