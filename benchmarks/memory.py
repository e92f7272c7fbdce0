"""How much memory does a run need? That of many messages beside that of few, as a ratio.

Usage: python benchmarks/memory.py [--messages N,N] [--database sqlite|postgresql|both]
[--connections N] [--processes N] [--folder DIR].
"""

import argparse
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from counting_sink import Sink, counting_sink
from many_customers import fill, write_config
from surroundings import PostgreSQL, machine, postgresql, scratch_folder

from msgrun.database import Database

PROMISED = 1.2
DOCUMENT = b"%PDF-1.4\n%%EOF\n"
SPARE = 1.25  # customers for each message: rules leave some of them out
LOOK_SECONDS = 0.05


@dataclass
class Peaks:
    """The largest resident sizes that the kernel notes for a process and what it starts."""

    kilobytes: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    def look(self, pid: int) -> None:
        """Read VmHWM of the process and all below it.

        It never falls, so that what happens between two looks is not missed; only what a process
        uses after the last look before its end is.
        """
        for one in family(pid):
            self.kilobytes[one] = max(self.kilobytes[one], high_water(one))

    @property
    def total(self) -> int:
        """Kilobytes of all together, as if all peaks were at once; shared pages count for each."""
        return sum(self.kilobytes.values())


@dataclass(frozen=True)
class Figure:
    """One run of the command."""

    messages: int
    kilobytes: int
    processes: int
    seconds: float


def family(pid: int) -> Iterator[int]:
    """Yield a process and all that it and its children have started."""
    yield pid
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = listed.read_text("ascii").split()
        except OSError:  # the thread has ended
            continue
        for child in children:
            yield from family(int(child))


def high_water(pid: int) -> int:
    """Return the largest resident size of a process since its exec, in kB; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def run(place: Path, messages: int, sink: Sink, processes: int | None) -> Figure:
    """Run `msgrun start` as a person would, until it ends.

    Raises:
        SystemExit: it fails, or not every message has arrived.
    """
    command = [sys.executable, "-m", "msgrun", "start", "--yes", "--limit", str(messages)]
    command += [] if processes is None else ["--processes", str(processes)]
    before, began, peaks = sink.messages(), time.perf_counter(), Peaks()
    with (place / "output").open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - as just made
            command, cwd=place, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            while True:
                peaks.look(process.pid)
                try:
                    process.wait(LOOK_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    continue
        finally:
            process.kill()
            process.wait()
    seconds = time.perf_counter() - began
    arrived = sink.wait_for_messages(before + messages) - before
    if process.returncode or arrived != messages:
        said = (place / "output").read_text("utf-8")[-2000:]
        sys.exit(f"{said}\n{arrived} of {messages} arrived, exit code {process.returncode}")
    return Figure(messages, peaks.total, len(peaks.kilobytes), seconds)


def measure(
    kind: str, folder: Path, server: PostgreSQL | None, sink: Sink, asked: argparse.Namespace
) -> bool:
    """Run each number of messages on one database; tell whether the promise is kept."""
    figures = []
    for messages in asked.messages:
        place = folder / f"{kind}{messages}"
        place.mkdir()
        url = server.make(f"m{messages}") if server else f"sqlite:///{place}/msgrun.db"
        (place / "shared.pdf").write_bytes(DOCUMENT)
        fill(Database(url), round(messages * SPARE), sent=False, shared_document="shared.pdf")
        write_config(place, url, sink.port, asked.connections)
        figure = run(place, messages, sink, asked.processes)
        figures.append(figure)
        print(
            f"{kind}, {messages:,} messages: peak {figure.kilobytes / 1024:.1f} MB, "
            f"processes: {figure.processes}, {messages / figure.seconds:.0f} messages/s with start "
            "and planning",
            flush=True,
        )
    ratio = figures[-1].kilobytes / figures[0].kilobytes
    kept = ratio <= PROMISED
    print(
        f"{kind}, {figures[-1].messages:,} / {figures[0].messages:,}: {ratio:.2f}; "
        f"promised {PROMISED}: {'kept' if kept else 'NOT KEPT'}"
    )
    return kept


def main() -> int:
    """Measure what was asked for; return 1 when a ratio is above what is promised."""
    asked = _arguments()
    if not any(Path("/proc/self/task").glob("*/children")):
        sys.exit("this kernel does not tell who started whom: there is nothing to add up")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing is left behind
    kept = True
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder(asked.folder))
        print(*machine(folder), sep="\n")
        sink = stack.enter_context(counting_sink(folder, tls=False))
        print(f"sink        {sink.name} on 127.0.0.1, {asked.connections} connections")
        if asked.database in ("sqlite", "both"):
            kept = measure("sqlite", folder, None, sink, asked)
        if asked.database in ("postgresql", "both"):
            server = stack.enter_context(postgresql(folder))
            print(f"postgresql  {server.version}")
            kept = measure("postgresql", folder, server, sink, asked) and kept
    return 0 if kept else 1


def _arguments() -> argparse.Namespace:
    def numbers(given: str) -> list[int]:
        return [int(number) for number in given.split(",")]

    parser = argparse.ArgumentParser(description=__doc__)
    usual = [10_000, 500_000]
    parser.add_argument("--messages", type=numbers, default=usual, metavar="N,N")
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="sqlite")
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--processes", type=int, help="of msgrun; without: as shipped")
    parser.add_argument("--folder", type=Path, help="where the scratch folder is made: on a disk")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
