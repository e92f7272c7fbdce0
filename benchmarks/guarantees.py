"""What do the guarantees cost? The same message run with commits synced and unsynced, in turns.

Usage: python benchmarks/guarantees.py [--messages N] [--pairs N] [--connections N,N]
[--database sqlite|postgresql|both] [--folder DIR].
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from billing import PDF_BYTES, write_billing, write_config
from surroundings import (
    PostgreSQL,
    fsync_seconds,
    machine,
    mail_sink,
    postgresql,
    scratch_folder,
)

from msgrun.database import Database
from msgrun.importing import import_files

PROMISED = 0.8
CHILD = Path(__file__).with_name("measured_run.py")
CHILD_SECONDS = 1800


@dataclass(frozen=True)
class Run:
    """One delivery: what its process measured."""

    sent: int
    ended: str
    seconds: float
    cpu: float
    commits: int
    settings: list[str]

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.sent / self.seconds


@dataclass(frozen=True)
class Bench:
    """Where runs happen; `fresh` gives the URL of a database in which nothing has been sent."""

    folder: Path
    billing: Path
    port: int
    messages: int
    fresh: Callable[[], Any]
    ca_file: Path | None = None
    documents: bool = True
    processes: int | None = None

    def run(self, connections: int, *, synced: bool) -> Run:
        """Plan and deliver in a new process, on a new database."""
        with self.fresh() as url:
            config = write_config(
                self.folder,
                self.billing,
                url,
                self.port,
                connections,
                ca_file=self.ca_file,
                documents=self.documents,
            )
            os.sync()  # what went before is not to be paid for by this run
            command = [sys.executable, str(CHILD), str(config)]
            command += [] if synced else ["--unsynced"]
            command += [] if self.processes is None else ["--processes", str(self.processes)]
            done = subprocess.run(  # noqa: S603 - this folder's own program
                command, stdout=subprocess.PIPE, check=False, timeout=CHILD_SECONDS
            )
        if done.returncode:
            sys.exit(f"the run ended with {done.returncode}: there are no figures")
        run = Run(**json.loads(done.stdout))
        if run.sent != self.messages:
            told = f"{run.sent} of {self.messages} messages were sent ({run.ended})"
            sys.exit(f"{told}: the figures say nothing")
        return run


@contextmanager
def sqlite_bench(folder: Path, files: list[Path]) -> Iterator[Callable[[], Any]]:
    """Import once; each run gets a copy of the file."""
    template = folder / "template.db"
    _load(f"sqlite:///{template}", files)

    @contextmanager
    def fresh() -> Iterator[str]:
        path = folder / "run.db"
        shutil.copyfile(template, path)
        try:
            yield f"sqlite:///{path}"
        finally:
            for left in folder.glob("run.db*"):
                left.unlink()

    yield fresh


@contextmanager
def postgresql_bench(
    server: PostgreSQL, files: list[Path], name: str = "billing"
) -> Iterator[Callable[[], Any]]:
    """Import once, into a database of that name; each run gets a copy of it."""
    _load(server.make(name), files)
    numbers = count(1)

    @contextmanager
    def fresh() -> Iterator[str]:
        run = f"{name}_run_{next(numbers)}"
        try:
            yield server.make(run, name)
        finally:
            server.drop(run)

    yield fresh


def _load(url: str, files: list[Path]) -> None:
    database = Database(url)
    database.upgrade()
    import_files(database, files)


def compare(bench: Bench, connections: int, pairs: int) -> list[tuple[Run, Run]]:
    """Run A and B in turns, after one run that nobody counts; show each pair as it comes."""
    bench.run(connections, synced=False)
    done = []
    for number in range(1, pairs + 1):
        pair = bench.run(connections, synced=True), bench.run(connections, synced=False)
        done.append(pair)
        synced, unsynced = pair
        print(
            f"    pair {number}: {synced.rate:7.1f} {unsynced.rate:7.1f} messages/s, "
            f"ratio {synced.rate / unsynced.rate:.2f}",
            flush=True,
        )
    return done


def summary(pairs: list[tuple[Run, Run]]) -> Iterator[str]:
    """Yield medians of A and B, and the ratio that the promise is about."""
    for name, runs in zip("AB", zip(*pairs, strict=True), strict=True):
        rates = [run.rate for run in runs]
        one = runs[0]
        cpu = statistics.median(run.cpu / run.sent for run in runs)
        grouped = statistics.median(run.sent / run.commits for run in runs)
        yield (
            f"  {name} {statistics.median(rates):7.1f} messages/s ({min(rates):.1f} to "
            f"{max(rates):.1f}), {cpu * 1e3:.2f} ms CPU a message, {grouped:.2f} messages a "
            f"commit, {'; '.join(one.settings)}"
        )
    ratios = [synced.rate / unsynced.rate for synced, unsynced in pairs]
    middle = statistics.median(ratios)
    verdict = "kept" if middle >= PROMISED else "NOT KEPT"
    yield (
        f"  A/B {middle:.2f} (pairs: {min(ratios):.2f} to {max(ratios):.2f}); "
        f"promised {PROMISED}: {verdict}"
    )


def main() -> int:
    """Measure what was asked for; return 1 when a ratio is below what is promised."""
    asked = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing is left behind
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder(asked.folder))
        billing = folder / "billing"
        files = write_billing(billing, asked.messages)
        name, port = stack.enter_context(mail_sink(folder))
        print(*machine(folder), sep="\n")
        print(f"sink        {name} on 127.0.0.1")
        makers = {}
        if asked.database in ("sqlite", "both"):
            makers["sqlite"] = sqlite_bench(folder, files)
        if asked.database in ("postgresql", "both"):
            server = stack.enter_context(postgresql(folder))
            print(f"postgresql  {server.version}")
            makers["postgresql"] = postgresql_bench(server, files)
        print(
            f"run         {asked.messages} messages with a PDF of {PDF_BYTES // 1000} kB each; "
            "delivery alone is timed\n"
            "A           as shipped: a commit has reached the disk before what follows from it\n"
            "B           the same, but no commit waits for the disk"
        )
        kept = True
        for database, maker in makers.items():
            bench = Bench(folder, billing, port, asked.messages, stack.enter_context(maker))
            for connections in asked.connections:
                fsync = statistics.median(fsync_seconds(folder)) * 1e3
                print(f"\n{database}, {connections} connections (fsync {fsync:.2f} ms)", flush=True)
                lines = list(summary(compare(bench, connections, asked.pairs)))
                kept = kept and not lines[-1].endswith("NOT KEPT")
                print(*lines, sep="\n", flush=True)
    return 0 if kept else 1


def _arguments() -> argparse.Namespace:
    def numbers(given: str) -> list[int]:
        return [int(number) for number in given.split(",")]

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--pairs", type=int, default=5, help="runs of A and of B")
    parser.add_argument("--connections", type=numbers, default=[2, 10, 50], metavar="N,N")
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--folder", type=Path, help="where the scratch folder is made: on a disk")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
