"""How long does the doctor take among very many customers? As figures, and as ratios.

Usage: python benchmarks/doctor.py [--customers N,N] [--database sqlite|postgresql|both]
[--repeat N] [--sent] [--folder DIR].
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from many_customers import fill, middle, write_config
from sqlalchemy import text
from surroundings import machine, postgresql, scratch_folder

from msgrun.database import Database

PROMISED = {"one": 1.0, "all": 10.0}
RELATIONS = ("customers", "addresses", "invoices", "documents")


@dataclass(frozen=True)
class Figure:
    """One command, run several times, each in a process of its own."""

    name: str
    seconds: list[float]
    cpu: list[float]
    kilobytes: int

    @property
    def median(self) -> float:
        """The time that half of the runs took at most."""
        return statistics.median(self.seconds)


def main() -> int:
    """Measure, print, and tell whether the promises are kept."""
    options = _options()
    kept = True
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder(options.folder))
        for line in machine(folder):
            print(line)
        databases = ["sqlite", "postgresql"] if options.database == "both" else [options.database]
        server = stack.enter_context(postgresql(folder)) if "postgresql" in databases else None
        for kind in databases:
            peaks: dict[str, list[int]] = {}
            for number in options.customers:
                place = folder / f"{kind}{number}"
                place.mkdir()
                url = f"sqlite:///{place}/msgrun.db"
                if kind == "postgresql" and server is not None:
                    url = server.make(f"c{number}")
                began = time.perf_counter()
                fill(Database(url), number, sent=options.sent)
                took = time.perf_counter() - began
                print(f"\n{kind}, {number:,} customers (filled in {took:.0f} s)")
                write_config(place, url)
                base = baseline(Database(url), options.repeat)
                print(f"  count(*) of {len(RELATIONS)} tables  {base:8.3f} s")
                for figure in measure(place, number, options.repeat):
                    print_figure(figure, base)
                    peaks.setdefault(figure.name, []).append(figure.kilobytes)
                    limit = PROMISED.get(figure.name)
                    kept = kept and (limit is None or figure.median < limit)
            if len(options.customers) > 1:
                for name, sizes in peaks.items():
                    grown = sizes[-1] / sizes[0]
                    print(
                        f"  memory of {name}: {sizes[-1] / 1024:.0f} MB, {grown:.2f} of the least"
                    )
    print("\nkept" if kept else "\nnot kept: one customer under 1 s, all under 10 s")
    return 0 if kept else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    numbers = [100_000, 1_000_000]
    parser.add_argument("--customers", type=_numbers, default=numbers, metavar="N,N")
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--repeat", type=int, default=3, metavar="N")
    parser.add_argument("--sent", action="store_true", help="a finished run has sent everything")
    parser.add_argument("--folder", type=Path, metavar="DIR")
    return parser.parse_args()


def _numbers(given: str) -> list[int]:
    return [int(number) for number in given.split(",")]


def baseline(database: Database, repeat: int) -> float:
    """Return how long the database takes to count the rows of the source."""
    took = []
    for _ in range(repeat):
        with database.connect() as connection, connection.begin():
            began = time.perf_counter()
            for name in RELATIONS:
                table = database.tables.relation(name).fullname
                connection.execute(text(f"SELECT count(*) FROM {table}")).scalar()  # noqa: S608
            took.append(time.perf_counter() - began)
    return statistics.median(took)


def measure(folder: Path, number: int, repeat: int) -> Iterator[Figure]:
    """Yield the figures of each command."""
    code = middle(number)
    commands = {
        "help": ["doctor", "--help"],  # what starting the program costs
        "one": ["doctor", code, "--offline"],
        "mistyped": ["doctor", code[:-1] + "X", "--offline"],
        "all": ["doctor", "--all", "--offline"],
        "all, --csv": ["doctor", "--all", "--offline", "--csv", "missing.csv"],
    }
    for name, arguments in commands.items():
        seconds, cpu, peak = [], [], 0
        for _ in range(repeat):
            (folder / "missing.csv").unlink(missing_ok=True)
            began = time.perf_counter()
            process = subprocess.Popen(  # noqa: S603 - as just made
                [sys.executable, "-m", "msgrun", *arguments],
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            seconds.append(time.perf_counter() - began)
            cpu.append(used.ru_utime + used.ru_stime)
            peak = max(peak, used.ru_maxrss)
            if process.returncode not in {0, 4, 10}:
                sys.exit(f"msgrun {' '.join(arguments)} ended with {process.returncode}")
        yield Figure(name, seconds, cpu, peak)


def print_figure(figure: Figure, base: float) -> None:
    """Print one line."""
    print(
        f"  {figure.name:<12} {figure.median:8.2f} s ({min(figure.seconds):.2f} to "
        f"{max(figure.seconds):.2f}), own CPU {statistics.median(figure.cpu):.2f} s, "
        f"{figure.median / base:.1f} x count(*), peak {figure.kilobytes / 1024:.0f} MB",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
