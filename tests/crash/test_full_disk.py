"""The disk fills up in mid-run: a run stops or waits, and goes on when there is room again."""

import errno
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

import pytest
from kept_going import KeptGoing
from oracle import CONNECTIONS, in_doubt

from billing_process import answer_of, launch
from billing_world import make_world
from campaign import Tally
from msgrun.database import Database
from msgrun.demo.sink import running_sink

BETWEEN = 12
"""At most so many messages arrive between two times that the disk is full."""

PAGE = bytes(4096)
PATIENCE = 3.0
"""Seconds after which a run that has not stopped is taken to wait."""

SPARE = 60
"""So many more, so that the run is not over before the last fault."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of a few megabytes."""
    path = f"{os.environ.get('PATH', '')}:/bin:/sbin"
    mount, unmount = shutil.which("mount", path=path), shutil.which("umount", path=path)
    if os.geteuid() or mount is None or unmount is None:
        pytest.skip("only root can mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run([unmount, "--lazy", str(folder)], check=True)


def test_a_run_survives_a_full_disk(
    small_disk: Path, sqlite_template: Path, tmp_path: Path, tally: Tally
) -> None:
    campaign(small_disk, sqlite_template, tmp_path, tally, times=2, seed=1)


@pytest.mark.campaign
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(5))
def test_runs_survive_full_disks(
    small_disk: Path, sqlite_template: Path, tmp_path: Path, tally: Tally, seed: int
) -> None:
    campaign(small_disk, sqlite_template, tmp_path, tally, times=10, seed=seed)


def campaign(
    disk: Path, template: Path, folder: Path, tally: Tally, *, times: int, seed: int
) -> None:
    """Fill the disk under a run again and again, and make room again each time."""
    chance = Random(seed)
    shutil.copyfile(template, disk / "msgrun.db")
    database = Database(f"sqlite:///{disk / 'msgrun.db'}")
    customers = times * (BETWEEN + 2 * CONNECTIONS) + SPARE
    with running_sink(folder / "mail", delay=0.01) as sink:
        world = make_world(database, disk, sink.port, customers=customers, connections=CONNECTIONS)
        run = KeptGoing(world, sink)
        for _ in range(times):
            run.until_arrived(len(sink.received) + chance.randrange(1, BETWEEN))
            time.sleep(chance.uniform(0, 0.03))  # the moment is meant to be any
            with full(disk):
                before = len(sink.received)
                ended = wait_for_end(run.process)
                # Whoever could not commit an intent has sent no dot.
                assert len(sink.received) - before <= CONNECTIONS
                if ended and chance.random() < 0.5:
                    before = len(sink.received)
                    answer = answer_of(launch(disk, "restart"))
                    assert (answer.get("error"), len(sink.received)) == ("database", before)
        settled = run.end()
    assert settled.total() == customers
    tally.add(
        "disk full",
        tried=times,
        messages=customers,
        doubts=in_doubt(settled),
        note="at most one in doubt a connection",
    )


def wait_for_end(process: "subprocess.Popen[str]") -> bool:
    """Tell whether a process ends within `PATIENCE`."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE)
    return process.poll() is not None


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Keep a file system full: whatever others give back is taken at once."""
    filler, enough = disk / "filler", threading.Event()
    first = threading.Event()

    def fill() -> None:
        with filler.open("wb", buffering=0) as file:
            while not enough.is_set():
                try:
                    file.write(PAGE)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    first.set()
                    enough.wait(0.001)

    thread = threading.Thread(target=fill)
    thread.start()
    try:
        assert first.wait(30)
        yield
    finally:
        enough.set()
        thread.join()
        filler.unlink()
