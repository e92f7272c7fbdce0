"""One measured run, in a process of its own: started by other benchmarks, prints one JSON object.

Usage: measured_run.py CONFIG [--unsynced] [--processes N].
"""

import argparse
import inspect
import json
import resource
import sqlite3
import sys
import time
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event

import msgrun.database
from msgrun.config import load_config
from msgrun.control.start import start
from msgrun.events import Event, RunEnded, RunStarted
from msgrun.workspace import Workspace

DEFINITION = "monthly"
TODAY = date(2026, 11, 3)


@dataclass
class Meter:
    """What happens between the events RunStarted and RunEnded: nothing else is counted."""

    seconds: float = 0.0
    cpu: float = 0.0
    commits: int = 0
    _began: tuple[float, float] | None = None
    settings: set[str] = field(default_factory=set)

    def listen(self, what: Event) -> None:
        """Start and stop the clocks."""
        if isinstance(what, RunStarted):
            self._began = time.perf_counter(), _cpu()
        elif isinstance(what, RunEnded) and self._began:
            wall, cpu = self._began
            self.seconds, self.cpu = time.perf_counter() - wall, _cpu() - cpu
            self._began = None

    def on_commit(self, connection: Connection) -> None:
        """Count the ledger's commits."""
        if self._began and connection.get_execution_options().get("begin") == "write":
            self.commits += 1

    def on_connect(self, raw: Any, _record: Any) -> None:
        """Note what each connection says about syncing; runs after msgrun has set it."""
        self.settings.add(_durability(raw))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _durability(raw: Any) -> str:
    """Return the settings as the database itself says them."""
    if isinstance(raw, sqlite3.Connection):
        (journal,) = raw.execute("PRAGMA journal_mode").fetchone()
        (number,) = raw.execute("PRAGMA synchronous").fetchone()
        return f"journal_mode={journal} synchronous={('OFF', 'NORMAL', 'FULL', 'EXTRA')[number]}"
    said = []
    for name in ("fsync", "synchronous_commit"):
        (value,) = raw.execute(f"SHOW {name}").fetchone()
        said.append(f"{name}={value}")
    raw.commit()
    return " ".join(said)


def unsync() -> None:
    """Let every connection of this process commit without waiting for the disk."""
    prepare_sqlite = msgrun.database._prepare_sqlite
    prepare_postgresql = msgrun.database._prepare_postgresql

    def sqlite_unsynced(raw: sqlite3.Connection, _record: Any) -> None:
        prepare_sqlite(raw, _record)
        raw.execute("PRAGMA synchronous = OFF")

    def postgresql_unsynced(raw: Any, _record: Any) -> None:
        prepare_postgresql(raw, _record)
        raw.execute("SET synchronous_commit = off")
        raw.commit()

    msgrun.database._prepare_sqlite = sqlite_unsynced
    msgrun.database._prepare_postgresql = postgresql_unsynced


def delivery_options(asked: argparse.Namespace) -> dict[str, Any]:
    """Return how this delivery differs from the one that is shipped: further arguments of `start`.

    Raises:
        SystemExit: this msgrun cannot do it.
    """
    options = {} if asked.processes is None else {"processes": asked.processes}
    if unknown := options.keys() - inspect.signature(start).parameters.keys():
        sys.exit(f"this msgrun's start knows no {', '.join(unknown)}")
    return options


def main() -> int:
    """Plan and deliver; print how long the delivery took, and under which settings."""
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("--unsynced", action="store_true")
    parser.add_argument("--processes", type=int, help="further processes that compose")
    asked = parser.parse_args()
    if asked.unsynced:
        unsync()
    meter = Meter()
    workspace = Workspace.of(load_config(asked.config))
    engine: Engine = workspace.database._engine
    event.listen(engine, "connect", meter.on_connect)
    event.listen(engine, "commit", meter.on_commit)
    ending = start(
        workspace,
        DEFINITION,
        workspace.selection(workspace.config.definitions[DEFINITION], today=TODAY),
        confirm=lambda _plan, _checked: True,
        wait=False,
        listener=meter.listen,
        **delivery_options(asked),
    )
    if ending is None:
        return 1
    run = ending.summary.run
    answer = {
        "sent": ending.summary.messages.sent,
        "ended": " ".join(filter(None, (run.status, run.reason, run.detail))),
        "seconds": meter.seconds,
        "cpu": meter.cpu,
        "commits": meter.commits,
        "settings": sorted(meter.settings),
    }
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
