"""Processes that begin at once: forked from one that has imported everything already.

A campaign starts thousands of them, and importing would be most of what it does. Each is a
process of its own, with nothing open that the program has not opened itself; it runs
`billing_process.main`.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import billing_process
from msgrun import failpoints

_LATER = (
    "aiosmtplib", "email_validator", "filelock", "jinja2", "msgrun.migrations", "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite.pysqlite",
)  # fmt: skip
"""What the program imports when it comes to it."""


class Life:
    """One process, from its fork to its end."""

    def __init__(self, nursery: "Nursery", folder: Path, words: list[str], failpoint: str) -> None:
        self._nursery = nursery
        self._out = Path(tempfile.mkstemp(prefix="life-", dir=nursery.folder)[1])
        self.returncode: int | None = None
        self.pid: int = nursery.ask("begin", str(folder), words, failpoint, str(self._out))

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it lives."""
        if self.returncode is None:
            self.returncode = self._nursery.ask("poll", self.pid)
        return self.returncode

    def wait(self, timeout: float = 60) -> int:
        """Wait for its end and return the exit code; it is killed when that does not come."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"no end after {timeout} s: {self._out.read_text()}")
            time.sleep(0.002)
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def dies(self, timeout: float = 60) -> None:
        """Wait until the failpoint has killed it."""
        code = self.wait(timeout)
        assert code == -signal.SIGKILL, f"not killed, but {code}: {self._out.read_text()}"

    def freezes(self, timeout: float = 60) -> None:
        """Wait until the failpoint has frozen it."""
        deadline = time.monotonic() + timeout
        while not self._stopped():
            assert self.poll() is None, f"ended before it froze: {self._out.read_text()}"
            assert time.monotonic() < deadline, "never froze"
            time.sleep(0.002)

    def thaw(self) -> None:
        """Let a frozen one go on."""
        os.kill(self.pid, signal.SIGCONT)

    def answer(self, timeout: float = 60) -> dict[str, Any]:
        """Wait for its end and return what it printed."""
        self.wait(timeout)
        text = self._out.read_text()
        assert text.startswith("{"), text
        answer: dict[str, Any] = json.loads(text)
        return answer

    def _stopped(self) -> bool:
        after_name = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2]
        return after_name.split()[0] == "T"


class Nursery:
    """The process that the others are forked from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        paths = (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", ""))
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )  # fmt: skip

    def begin(self, folder: Path, action: str, *, failpoint: str = "", **options: Any) -> Life:
        """Begin an action on the workspace of `folder`.

        Args:
            folder: where `msgrun.toml` is.
            action: as `billing_process` has them.
            failpoint: what MSGRUN_FAILPOINT would say.
            options: of `billing_process`, e.g. `mutant="naive-recovery"`, `lease=1.5`.
        """
        words = [action]
        for name, value in options.items():
            words += [f"--{name}", str(value)] if value else []
        return Life(self, folder, words, failpoint)

    def ask(self, *request: Any) -> Any:
        """Hand a request to the nursery and return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End it, and with it whoever it has forked and nobody has waited for."""
        self._process.communicate(timeout=10)


@contextmanager
def running_nursery() -> Iterator[Nursery]:
    """Run a nursery while the block lasts."""
    with tempfile.TemporaryDirectory(prefix="nursery-") as folder:
        nursery = Nursery(Path(folder))
        try:
            yield nursery
        finally:
            nursery.close()


def _serve() -> None:
    for name in _LATER:
        importlib.import_module(name)
    living: set[int] = set()
    for line in sys.stdin:
        what, *rest = json.loads(line)
        if what == "begin":
            sys.stdout.flush()
            pid = os.fork()
            if not pid:
                _live(*rest)
            living.add(pid)
            print(pid, flush=True)
        else:
            (pid,) = rest
            done, status = os.waitpid(pid, os.WNOHANG)
            living.discard(done)
            print(json.dumps(os.waitstatus_to_exitcode(status) if done else None), flush=True)
    for pid in living:
        os.kill(pid, signal.SIGKILL)


def _live(folder: str, words: list[str], failpoint: str, out: str) -> None:
    """Be one of the processes."""
    handle = os.open(out, os.O_WRONLY | os.O_APPEND)
    for standard in (1, 2):
        os.dup2(handle, standard)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    failpoints._left.update(failpoints._armed(failpoint))
    try:
        code = billing_process.main([str(Path(folder) / "msgrun.toml"), *words])
    except BaseException:  # noqa: BLE001 - shown to whoever waits for the answer
        traceback.print_exc()
        code = 70
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve()
