"""How long does a rehearsal take, and how much memory? That of many messages beside that of few.

Usage: python benchmarks/rehearsing.py [--messages N,N] [--processes N] [--folder DIR].
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from many_customers import fill, write_config
from surroundings import machine, scratch_folder

from msgrun.database import Database

PROMISED_SECONDS = 60.0  # for 10,000 messages
MESSAGES = 10_000
GROWN = 1.25  # memory, of that with the fewest messages
SPARE = 1.2  # customers for each message: rules leave some of them out
DOCUMENT = b"%PDF-1.4\n" + b"x" * 30_000


def main() -> int:
    """Measure, print, and tell whether the promises are kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", default="2000,10000", metavar="N,N")
    parser.add_argument("--processes", metavar="N")
    parser.add_argument("--folder", type=Path, metavar="DIR")
    options = parser.parse_args()
    peaks, kept = [], True
    with scratch_folder(options.folder) as folder:
        for line in machine(folder):
            print(line)
        for number in map(int, options.messages.split(",")):
            place = folder / str(number)
            place.mkdir()
            seconds, cpu, kilobytes = _measure(place, number, options.processes)
            print(
                f"{number:>7,} messages  {seconds:6.1f} s, {number / seconds:6,.0f} a second, "
                f"CPU {cpu:5.1f} s, peak {kilobytes / 1024:4.0f} MB",
                flush=True,
            )
            peaks.append(kilobytes)
            kept = kept and seconds <= PROMISED_SECONDS * number / MESSAGES
            shutil.rmtree(place)
    grown = peaks[-1] / peaks[0]
    print(f"memory: {grown:.2f} of that with the fewest")
    kept = kept and grown <= GROWN
    print("kept" if kept else f"not kept: {PROMISED_SECONDS} s for {MESSAGES:,}, memory {GROWN} x")
    return 0 if kept else 1


def _measure(place: Path, number: int, processes: str | None) -> tuple[float, float, int]:
    """Return seconds, CPU seconds and peak kilobytes of one rehearsal in a process of its own."""
    url = f"sqlite:///{place}/msgrun.db"
    fill(Database(url), round(number * SPARE), sent=False, shared_document="all.pdf")
    write_config(place, url)
    (place / "all.pdf").write_bytes(DOCUMENT)
    words = ["rehearse", "--into", "rehearsal", "--limit", str(number)]
    words += ["--processes", processes] if processes else []
    began = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 - as just made
        [sys.executable, "-m", "msgrun", *words], cwd=place, stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    made = sum(1 for _ in (place / "rehearsal").rglob("*.eml"))
    if process.returncode or made != number:
        sys.exit(f"it ended with {process.returncode} and made {made:,} messages")
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss


if __name__ == "__main__":
    sys.exit(main())
