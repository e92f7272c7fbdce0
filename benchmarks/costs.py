"""What does each step of a delivery cost? One real run, in this process, with a watch on each.

Usage: python benchmarks/costs.py [--messages N] [--connections N] [--document BYTES]
[--json FILE] [--folder DIR].

For `simulate.py`. PostgreSQL and smtp-sink work beside it on this machine.
"""

import argparse
import json
import math
import os
import resource
import signal
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any

from billing import write_config
from simulated_costs import Cost, Costs
from sqlalchemy import Connection
from workers import Yard, arguments, family, parent_of, yard_of

from msgrun.config import load_config
from msgrun.control.start import start
from msgrun.database import Database
from msgrun.delivery import composers
from msgrun.delivery.record import Recorder
from msgrun.events import Event, RunEnded, RunStarted
from msgrun.ledger import messages
from msgrun.ledger.writer import Writer
from msgrun.workspace import Workspace

TODAY = date(2026, 11, 3)
FLUSHES = 200
UNTIMED = 2  # the first batches of a composing process: it still imports


class Watch:
    """CPU time of the writer's thread and of its session in PostgreSQL, step by step."""

    def __init__(self) -> None:
        self.samples: dict[str, list[tuple[int, float, float, float]]] = defaultdict(list)
        self.inside = [0.0, 0.0]
        self.composed: list[tuple[int, float, float]] = []
        self.writer_session = 0
        self.postmaster = 0
        self.sessions: dict[int, float] = {}
        self._reading = statistics.median(_reading() for _ in range(200))
        self.looks = 0
        self.writing = 0.0

    def __call__(self, step: str, rows: int, raw: Any, work: Callable[[], Any]) -> Any:
        """Do work; note what it took: rows, CPU here, CPU there, seconds."""
        pid = self.writer_session = raw.info.backend_pid
        there, here, began = cpu_ns(pid), time.thread_time(), time.perf_counter()
        result = work()
        self.looks += 2
        took, mine = time.perf_counter() - began, time.thread_time() - here
        theirs = cpu_ns(pid) - there
        self.samples[step].append((rows or len(result), mine, theirs, took))
        self.inside[0] += mine
        self.inside[1] += theirs
        return result

    def rest(self, mine: float, theirs: float) -> tuple[float, float]:
        """Return what of a transaction was in no step, without what the watch itself used."""
        watching = self.looks * self._reading
        return max(0.0, mine - self.inside[0] - watching), max(0.0, theirs - self.inside[1])

    def database(self) -> float:
        """Return the CPU time of PostgreSQL so far, of sessions that have ended too."""
        for pid in family(self.postmaster):
            with suppress(OSError):
                self.sessions[pid] = cpu_ns(pid)
        return sum(self.sessions.values())


def _reading() -> float:
    began = time.thread_time()
    cpu_ns(os.getpid())
    return time.thread_time() - began


def cpu_ns(pid: int) -> float:
    """Return the seconds of CPU time of a process's main thread, by the scheduler's count."""
    return int(Path(f"/proc/{pid}/schedstat").read_text("ascii").split()[0]) / 1e9


@contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Put the watch on this process's msgrun for the time of the block."""
    intend, accept = Recorder._intend_all, Recorder._accept_all
    claim, commit, ask = messages.claim, Writer._commit, composers._ask

    def raw_of(connection: Connection) -> Any:
        return connection.connection.driver_connection

    def intend_all(self: Recorder, connection: Connection, intents: Sequence[Any]) -> Any:
        raw = raw_of(connection)
        return watch("intent", len(intents), raw, lambda: intend(self, connection, intents))

    def accept_all(self: Recorder, connection: Connection, accepted: Sequence[Any]) -> Any:
        raw = raw_of(connection)
        return watch("acceptance", len(accepted), raw, lambda: accept(self, connection, accepted))

    def claim_some(connection: Connection, *given: Any, **named: Any) -> Any:
        work = lambda: claim(connection, *given, **named)  # noqa: E731
        return watch("claim", 0, raw_of(connection), work)

    def commit_group(self: Writer, connection: Connection, group: list[Any]) -> None:
        raw = raw_of(connection)
        watch.inside, watch.looks = [0.0, 0.0], 0
        there, here = cpu_ns(raw.info.backend_pid), time.thread_time()
        commit(self, connection, group)
        mine, theirs = time.thread_time() - here, cpu_ns(raw.info.backend_pid) - there
        watch.writing += theirs
        watch.samples["group"].append((1, *watch.rest(mine, theirs), 0.0))

    def ask_timed(process: Any, claims: Sequence[Any]) -> Any:
        there, here = cpu_ns(process.pid), time.thread_time()
        made = ask(process, claims)
        unpacked = time.thread_time() - here
        watch.composed.append((len(claims), cpu_ns(process.pid) - there, unpacked))
        watch.database()
        return made

    Recorder._intend_all, Recorder._accept_all = intend_all, accept_all  # type: ignore[method-assign]
    Writer._commit = commit_group  # type: ignore[method-assign]
    messages.claim, composers._ask = claim_some, ask_timed  # type: ignore[assignment]
    try:
        yield
    finally:
        Recorder._intend_all, Recorder._accept_all = intend, accept  # type: ignore[method-assign]
        Writer._commit = commit  # type: ignore[method-assign]
        messages.claim, composers._ask = claim, ask


def measure(yard: Yard, url: str) -> Costs:
    """Send a run of `yard.messages` messages in this process; return what each step cost.

    Raises:
        SystemExit: not every message was sent.
    """
    place = yard.folder / "costs"
    place.mkdir()
    config = write_config(place, yard.billing, url, yard.sink.port, yard.connections)
    watch, workspace = Watch(), Workspace.of(load_config(config))
    with workspace.database.read() as connection, connection.begin():
        raw: Any = connection.connection.driver_connection
        watch.postmaster = parent_of(raw.info.backend_pid)
    spent: dict[str, float] = {}

    def look() -> dict[str, float]:
        reading = watch.database() - watch.writing
        return {"loop": time.thread_time(), "sink": yard.sink.cpu(), "reading": reading}

    def listen(event: Event) -> None:
        if isinstance(event, RunStarted):
            spent.update(look())
        elif isinstance(event, RunEnded):
            spent.update({name: used - spent[name] for name, used in look().items()})

    with watched(watch):
        ending = start(
            workspace,
            "monthly",
            workspace.selection(workspace.config.definitions["monthly"], today=TODAY),
            confirm=lambda _plan, _checked: True,
            wait=False,
            processes=2,
            listener=listen,
        )
    sent = ending.summary.messages.sent if ending else 0
    if sent != yard.messages:
        sys.exit(f"{sent} of {yard.messages} messages were sent: there are no costs")
    a_message = {name: seconds / sent for name, seconds in spent.items()}
    return _costs(watch, a_message, flushes(workspace.database))


def flushes(database: Database) -> Cost:
    """Return how long a COMMIT takes beside CPU time, with nobody else at work."""
    waits = []
    with database.connect() as connection:
        raw: Any = connection.connection.driver_connection
        pid = raw.info.backend_pid
        for _ in range(FLUSHES):
            connection.exec_driver_sql("UPDATE msgrun.run SET detail = 'a flush is measured'")
            there, here, began = cpu_ns(pid), time.thread_time(), time.perf_counter()
            connection.commit()
            took, mine = time.perf_counter() - began, time.thread_time() - here
            waits.append(max(0.0, took - mine - (cpu_ns(pid) - there)))
    return _spread(waits)


def _costs(watch: Watch, a_message: dict[str, float], flush: Cost) -> Costs:
    samples, composed = watch.samples, watch.composed[UNTIMED:]
    made = _spread([each / rows for rows, each, _ in composed])
    intent, intent_statement = _line(samples["intent"], 1)
    intent_there, intent_statement_there = _line(samples["intent"], 2)
    accepted, accepted_statement = _line(samples["acceptance"], 1)
    accepted_there, accepted_statement_there = _line(samples["acceptance"], 2)
    claims = [sample for sample in samples["claim"] if sample[0]]
    return Costs(
        compose=made,
        compose_database=Cost(max(a_message["reading"], 0.0), made.spread),
        unpack=_spread([each / rows for rows, _, each in composed]),
        wire=Cost(a_message["loop"], made.spread),
        relay=Cost(a_message["sink"], made.spread),
        claim=_spread([mine / rows for rows, mine, _, _ in claims]),
        claim_database=_spread([theirs / rows for rows, _, theirs, _ in claims]),
        intent=intent,
        intent_statement=intent_statement,
        intent_database=intent_there,
        intent_statement_database=intent_statement_there,
        acceptance=accepted,
        acceptance_statement=accepted_statement,
        acceptance_database=accepted_there,
        acceptance_statement_database=accepted_statement_there,
        group=_spread([mine for _, mine, _, _ in samples["group"]]),
        group_database=_spread([theirs for _, _, theirs, _ in samples["group"]]),
        flush=flush,
    )


def _spread(values: Sequence[float]) -> Cost:
    """Return the median, and half the distance of the 16th and 84th percent's logarithms."""
    known = sorted(value for value in values if value > 0)
    if len(known) < 10:
        return Cost(statistics.median(values) if values else 0.0)
    low, high = known[len(known) * 16 // 100], known[len(known) * 84 // 100]
    return Cost(statistics.median(known), min(math.log(high / low) / 2, 1.0))


def _line(samples: Sequence[tuple[int, float, float, float]], which: int) -> tuple[Cost, Cost]:
    """Return what a row costs, and a statement beside its rows."""
    rows = [float(sample[0]) for sample in samples]
    values = [float(sample[which]) for sample in samples]
    if len(set(rows)) < 3:
        return _spread([value / row for value, row in zip(values, rows, strict=True)]), Cost(0.0)
    by_rows: dict[float, list[float]] = defaultdict(list)
    for row, value in zip(rows, values, strict=True):
        by_rows[row].append(value)
    usual = [row for row, seen in by_rows.items() for _ in seen]
    middles = [statistics.median(seen) for seen in by_rows.values() for _ in seen]
    slope, start_ = statistics.linear_regression(usual, middles)
    slope, start_ = max(slope, 0.0), max(start_, 0.0)
    expected = [start_ + slope * row for row in rows]
    off = _spread([value / told for value, told in zip(values, expected, strict=True) if told])
    return Cost(slope, off.spread), Cost(start_, off.spread)


def told(costs: Costs) -> Iterator[str]:
    """Yield the costs for people."""
    yield "costs       microseconds: median (spread of its logarithm)"
    for name, (median, spread) in costs.as_json().items():
        yield f"            {name:32} {median * 1e6:8.1f}  ({spread:.2f})"


def measure_here(asked: argparse.Namespace) -> Costs:
    """Make all that is needed, measure, and print what was found."""
    given = arguments("").parse_args([])
    given.folder = asked.folder
    with yard_of(given) as (yard, fresh), fresh() as url:
        costs = measure(yard, url)
    print(*told(costs), sep="\n", flush=True)
    return costs


def main() -> int:
    """Measure what was asked for."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--json", type=Path, help="write the costs there, for simulate.py")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing is left behind
    with yard_of(asked) as (yard, fresh), fresh() as url:
        costs = measure(yard, url)
    print(*told(costs), sep="\n")
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"memory      {largest / 1024:.0f} MB at most, the benchmark's own part with it")
    if asked.json:
        asked.json.write_text(json.dumps(costs.as_json(), indent=1), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
