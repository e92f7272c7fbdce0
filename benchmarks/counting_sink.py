"""A mail sink that says how many messages and bytes came: smtp-sink, with or without STARTTLS."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme
from surroundings import SMTP_SINK, free_port, wait_for

FRONT = Path(__file__).with_name("starttls_front.py")
FRONTS = 2
PATIENCE = 10.0  # seconds until the sink must have counted what was answered
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Sink:
    """Where everything is thrown away.

    Attributes:
        ca_file: who signed the certificate that its STARTTLS shows; None without TLS.
        pid: the process of smtp-sink.
        pids: all processes whose CPU time the sink costs.
    """

    name: str
    port: int
    ca_file: Path | None
    pid: int
    pids: tuple[int, ...]
    counters: Path

    def messages(self) -> int:
        """Return how many final dots smtp-sink has seen since it started."""
        with self.counters.open("rb") as file:
            file.seek(max(0, self.counters.stat().st_size - 4096))
            counted = re.findall(rb"mesg=(\d+)", file.read())
        return int(counted[-1]) if counted else 0

    def bytes_read(self) -> int:
        """Return how many bytes smtp-sink has read, by the kernel's count."""
        counts = Path(f"/proc/{self.pid}/io").read_text("ascii")
        return int(counts.split()[1])

    def cpu(self) -> float:
        """Return the seconds of CPU time that the sink has used."""
        used = 0
        for pid in self.pids:
            fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(") ")[2].split()
            used += int(fields[11]) + int(fields[12])
        return used / TICKS

    def wait_for_messages(self, number: int) -> int:
        """Return how many messages came, once it is that many or time is up."""
        over = time.monotonic() + PATIENCE
        while self.messages() < number and time.monotonic() < over:
            time.sleep(0.02)
        return self.messages()


@contextmanager
def counting_sink(folder: Path, *, tls: bool) -> Iterator[Sink]:
    """Run an smtp-sink on 127.0.0.1, behind STARTTLS if asked, for the time of the block.

    Raises:
        SystemExit: there is no smtp-sink, or it does not start.
    """
    if not Path(SMTP_SINK).exists():
        sys.exit(f"{SMTP_SINK} is missing: install the package postfix")
    port = free_port()
    counters = folder / f"sink.{port}"
    command = [SMTP_SINK, "-c", "-m", "1000", f"127.0.0.1:{port}", "1000"]
    if os.geteuid() == 0:
        command[1:1] = ["-u", "nobody"]
    with ExitStack() as stack, counters.open("wb") as written:
        start = _starter(stack)
        sink = start(command, written.fileno())
        wait_for(port, sink)
        if not tls:
            yield Sink("smtp-sink", port, None, sink.pid, (sink.pid,), counters)
            return
        front, ca_file, certificate = free_port(), folder / "ca.pem", folder / "front.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(ca_file)
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
        words = [sys.executable, str(FRONT), str(front), str(port), str(certificate)]
        fronts = [start(words, subprocess.DEVNULL) for _ in range(FRONTS)]
        for process in fronts:
            wait_for(front, process)
        pids = (sink.pid, *(process.pid for process in fronts))
        name = f"smtp-sink behind STARTTLS ({FRONTS} processes that pass everything on)"
        yield Sink(name, front, ca_file, sink.pid, pids, counters)


def _starter(stack: ExitStack) -> Callable[[list[str], int], "subprocess.Popen[bytes]"]:
    def stop(process: "subprocess.Popen[bytes]") -> None:
        process.terminate()
        process.wait(10)

    def start(command: list[str], output: int) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(command, stdout=output)  # noqa: S603 - as just made
        stack.callback(stop, process)
        return process

    return start
