"""What would ten hosts do? A simulation of workers, hosts, one database and one relay.

Usage: python benchmarks/simulate.py                      costs measured here, then the scenarios
       python benchmarks/simulate.py --costs FILE         costs of an earlier `costs.py --json FILE`
       python benchmarks/simulate.py --check              beside workers.py, on this machine
       python benchmarks/simulate.py --hosts 10 --rate 6000 --set flush=0.002   one scenario

It is deterministic: the same costs and options give the same figures.
"""

import argparse
import heapq
import json
import math
import os
import random
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

FULL = 0.95  # a part that is busy for so much of the time is the limit
ALLOWED = 0.25  # by how much a simulated rate may differ from the measured one
FROM, TO = 0.2, 0.9  # of the acceptances: what is counted, as in workers.py

BATCH = 48  # src/msgrun/delivery/feeder.py
LEAST_AHEAD = 120
AHEAD_BYTES = 32 * 1024 * 1024
GROUP = 200  # src/msgrun/ledger/writer.py
HORIZON = 5.0  # src/msgrun/ratelimit.py
LOOK_AGAIN = 1.0

STATEMENT_TRIPS = {"claims": 5, "intents": 1, "acceptances": 1}
LIMITED_CLAIM_TRIPS = 3  # the relay's row: made, locked, written
GROUP_TRIPS = 3  # BEGIN, the clock, COMMIT
BURST = 0.001  # seconds for which other programs use a core at a time
BEFORE_DOT = 0.7  # of a message's work on the wire

Steps = Generator["float | Signal", None, None]


@dataclass(frozen=True)
class Cost:
    """Seconds that a step takes: a median, and how far it spreads (of the logarithm)."""

    median: float
    spread: float = 0.0

    def draw(self, chance: random.Random) -> float:
        """Return what it costs once."""
        if not self.spread:
            return self.median
        return self.median * math.exp(chance.gauss(0.0, self.spread))


@dataclass(frozen=True)
class Costs:
    """What each step costs, in seconds of CPU time if nothing else is said.

    Attributes:
        compose: a message, in the process that composes.
        compose_database: reading a message's data, in the database.
        unpack: a composed message, in the worker that takes it over.
        wire: a message, in the worker's event loop: SMTP and all that goes with it.
        relay: a message, in the relay; counts only where it shares a host with the workers.
        claim: a message, in the worker, of a batch; claim_database: in the database.
        intent, intent_database: a message of a group; with *_statement: a statement, too.
        acceptance, acceptance_database: the same.
        group, group_database: a transaction, with its COMMIT.
        flush: time, not CPU, until a COMMIT is on the database's disk.
    """

    compose: Cost
    compose_database: Cost
    unpack: Cost
    wire: Cost
    relay: Cost
    claim: Cost
    claim_database: Cost
    intent: Cost
    intent_statement: Cost
    intent_database: Cost
    intent_statement_database: Cost
    acceptance: Cost
    acceptance_statement: Cost
    acceptance_database: Cost
    acceptance_statement_database: Cost
    group: Cost
    group_database: Cost
    flush: Cost

    @classmethod
    def of(cls, given: dict[str, Any]) -> "Costs":
        """Return costs as `as_json` gave them."""
        return cls(**{each.name: Cost(*given[each.name]) for each in fields(cls)})

    def as_json(self) -> dict[str, tuple[float, float]]:
        """Return them as what JSON knows."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: (cost.median, cost.spread) for name, cost in found.items()}


@dataclass(frozen=True)
class Scenario:
    """What is simulated.

    Attributes:
        messages: in the run.
        hosts, cores: with as many workers each; cores of one host.
        processes: of a worker; all but one compose (1: it composes on a thread).
        together: workers, database and relay share the cores of one host.
        database_cores: where it has a host of its own.
        database_trip, relay_trip: seconds there and back.
        answer: seconds from the final dot to the relay's answer, beside the trip.
        per_minute: the relay's rate; 0 for none.
        size: bytes of a message.
        busy: cores of each host that other programs use.
    """

    messages: int = 20_000
    hosts: int = 1
    workers: int = 1
    connections: int = 10
    processes: int = 2
    cores: int = 2
    together: bool = False
    database_cores: int = 8
    database_trip: float = 0.0005
    relay_trip: float = 0.005
    answer: float = 0.02
    per_minute: int = 0
    size: int = 45_000
    busy: float = 0.0
    seed: int = 1


@dataclass(frozen=True)
class Result:
    """What a simulation came to.

    Attributes:
        rate: messages a second.
        busy: for each part, the share of the time in which it had work.
        grouped: messages marked or settled by a commit, on average.
    """

    rate: float
    busy: dict[str, float]
    grouped: float

    @property
    def limit(self) -> str:
        """The parts that are full."""
        full = [name for name, share in self.busy.items() if share > FULL]
        beside = [name for name in full if name != "connections"]
        if beside:
            return ", ".join(beside)
        return "connections: all of them wait for answers and commits" if full else "none is full"


# The machinery: processes are generators that yield seconds, or a signal to wait for.


class Simulation:
    """Time, and what happens next."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.chance = random.Random(seed)  # noqa: S311 - no secret
        self._due: list[tuple[float, int, Steps]] = []
        self._number = 0

    def begin(self, steps: Steps, after: float = 0.0) -> None:
        """Let a process run."""
        self._number += 1
        heapq.heappush(self._due, (self.now + after, self._number, steps))

    def run(self, over: Callable[[], bool]) -> None:
        """Go on until it is over, or nothing is left to happen."""
        while self._due and not over():
            self.now, _, steps = heapq.heappop(self._due)
            try:
                wanted = next(steps)
            except StopIteration:
                continue
            if isinstance(wanted, Signal):
                wanted.waiting.append(steps)
            else:
                self.begin(steps, wanted)


class Signal:
    """What processes wait for."""

    def __init__(self, simulation: Simulation) -> None:
        self.waiting: list[Steps] = []
        self.fired = False
        self._simulation = simulation

    def fire(self) -> None:
        """Let those who wait go on."""
        self.fired = True
        waiting, self.waiting = self.waiting, []
        for steps in waiting:
            self._simulation.begin(steps)


class Part:
    """Something that does so much at a time, first come, first served."""

    def __init__(self, simulation: Simulation, room: int) -> None:
        self._simulation, self.room = simulation, room
        self._free = room
        self._queue: deque[Signal] = deque()
        self._spent = 0.0
        self._since = 0.0

    @property
    def spent(self) -> float:
        """Seconds of use so far, of all at once; waits for another part do not count."""
        self._count(0)
        return self._spent

    def waiting_for(self, other: "Steps") -> Steps:
        """Wait for another part while this one is held."""
        began = self._simulation.now
        yield from other
        self._spent -= self._simulation.now - began

    def _count(self, change: int) -> None:
        now = self._simulation.now
        self._spent += (self.room - self._free) * (now - self._since)
        self._since = now
        self._free -= change

    def take(self) -> Steps:
        """Wait for room and take it."""
        if self._free >= 1:
            self._count(1)
            return
        turn = Signal(self._simulation)
        self._queue.append(turn)
        yield turn

    def give(self) -> None:
        """Hand it to the next."""
        if self._queue:
            self._queue.popleft().fire()
        else:
            self._count(-1)

    def use(self, seconds: float) -> Steps:
        """Take it for so long."""
        yield from self.take()
        yield seconds
        self.give()


def permits(free: float, now: float, every: float, wanted: int) -> tuple[list[float], float]:
    """Return up to `wanted` moments to send at, and when the next is free: ratelimit.py's rule."""
    free = max(free, now)
    moments: list[float] = []
    while len(moments) < wanted and free <= now + HORIZON:
        moments.append(free)
        free += every
    return moments, free


# What msgrun does.


class World:
    """One run, the relay and the database that all workers share."""

    def __init__(self, scenario: Scenario, costs: Costs) -> None:
        self.scenario, self.costs = scenario, costs
        self.simulation = simulation = Simulation(scenario.seed)
        self.pending = scenario.messages
        self.accepted = 0
        self.groups = self.rows = 0
        self.hosts = [Part(simulation, scenario.cores) for _ in range(scenario.hosts)]
        self.database = (
            self.hosts[0] if scenario.together else Part(simulation, scenario.database_cores)
        )
        self.disk = Disk(self)
        self.relay = Part(simulation, 1)
        self.row = Part(simulation, 1)
        self.next_free = 0.0
        self.every = 60 / scenario.per_minute if scenario.per_minute else 0.0
        self.workers = [Worker(self, host) for host in self.hosts for _ in range(scenario.workers)]
        self._marks: list[tuple[float, dict[str, tuple[float, float]], int, int, int]] = []

    def draw(self, cost: Cost) -> float:
        """Return what a step costs this time."""
        return cost.draw(self.simulation.chance)

    def on_relay(self, share: float) -> Steps:
        """Let the relay work, where it is a process of the same host."""
        if self.scenario.together:
            yield from self.relay.take()
            yield from self.relay.waiting_for(self.hosts[0].take())
            yield share * self.draw(self.costs.relay)
            self.hosts[0].give()
            self.relay.give()

    def _others(self, host: Part) -> Steps:
        """Let other programs use a host, in short bursts at random."""
        while True:
            yield self.simulation.chance.expovariate(self.scenario.busy / BURST)
            self.simulation.begin(host.use(BURST))

    def accept(self) -> None:
        """Count an acceptance that is on the disk."""
        self.accepted += 1
        for share in (FROM, TO):
            if self.accepted == math.ceil(share * self.scenario.messages):
                mark = self.simulation.now, self._spent(), self.accepted, self.groups, self.rows
                self._marks.append(mark)

    def _spent(self) -> dict[str, tuple[float, float]]:
        def added(parts: Iterable[Part]) -> tuple[float, float]:
            listed = list(parts)
            return sum(each.spent for each in listed), sum(each.room for each in listed)

        found = {
            "cores": added(self.hosts),
            "event loops and writers": added(each.interpreter for each in self.workers),
            "composing": added(each.composers for each in self.workers),
            "database's cores": added([self.database]),
            "database's disk": added([self.disk.part]),
            "relay's row": added([self.row]),
            "connections": added(each.wires for each in self.workers),
        }
        if self.scenario.together:
            del found["database's cores"]
            found["relay's process"] = added([self.relay])
        return found

    def run(self) -> Result:
        """Send everything; return what it came to."""
        for worker in self.workers:
            worker.begin()
        for host in self.hosts if self.scenario.busy else ():
            self.simulation.begin(self._others(host))
        self.simulation.run(lambda: len(self._marks) == 2)
        (began, before, first, groups, rows), (ended, after, last, all_groups, all_rows) = (
            self._marks
        )
        elapsed = ended - began
        rate = (last - first) / elapsed
        busy = {
            name: (spent - before[name][0]) / elapsed / room
            for name, (spent, room) in after.items()
        }
        if self.every:
            busy["relay's rate"] = rate * self.every
        return Result(rate, busy, (all_rows - rows) / max(1, all_groups - groups))


class Disk:
    """The database's log: one flush at a time, which is everybody's who asked before it began."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.part = Part(world.simulation, 1)
        self._next = Signal(world.simulation)
        self._going = False

    def flush(self) -> Steps:
        """Wait until what was written before is on the disk."""
        mine = self._next
        if not self._going:
            self._going = True
            self._world.simulation.begin(self._turn())
        if not mine.fired:
            yield mine

    def _turn(self) -> Steps:
        asked = True
        while asked:
            batch, self._next = self._next, Signal(self._world.simulation)
            yield from self.part.use(self._world.draw(self._world.costs.flush))
            batch.fire()
            asked = bool(self._next.waiting)
        self._going = False


@dataclass
class Piece:
    """A write that waits for its commit."""

    kind: str
    done: Signal
    wanted: int = 1
    moments: list[float] = field(default_factory=list)


class Worker:
    """One `msgrun worker`: feeder, writer, senders, and processes that compose."""

    def __init__(self, world: World, host: Part) -> None:
        scenario = world.scenario
        self._world, self._host, self._simulation = world, host, world.simulation
        self.interpreter = Part(self._simulation, 1)  # one thread of Python at a time
        self.composers = Part(self._simulation, max(scenario.processes - 1, 1))
        self.wires = Part(self._simulation, scenario.connections)
        self._threads = scenario.processes == 1
        ahead = max(6 * scenario.connections, LEAST_AHEAD)
        self._ahead = min(ahead, max(AHEAD_BYTES // max(scenario.size, 1), 1))
        self._enough = self._ahead - min(BATCH, self._ahead // 3)
        self._held = 0
        self._pieces: deque[Piece] = deque()
        self._queue: deque[float] = deque()
        self._stirred = Signal(self._simulation)
        self._written = Signal(self._simulation)
        self._composed = Signal(self._simulation)

    def begin(self) -> None:
        """Start everything."""
        self._simulation.begin(self._write())
        self._simulation.begin(self._feed())
        for _ in range(self._world.scenario.connections):
            self._simulation.begin(self._send())

    def _work(self, seconds: float, beside: "Part | None" = None) -> Steps:
        """Use this worker's interpreter, and a core with it.

        Args:
            beside: is held meanwhile, and only waits until it may.
        """
        waiting = self.interpreter.take()
        yield from waiting if beside is None else beside.waiting_for(waiting)
        core = self.interpreter.waiting_for(self._host.take())
        yield from core if beside is None else beside.waiting_for(core)
        yield seconds
        self._host.give()
        self.interpreter.give()

    # The feeder.

    def _feed(self) -> Steps:
        while self._world.pending:
            yield from self.composers.take()
            yield from self.composers.waiting_for(self._until_wanted())
            piece = self._put("claims", min(self._ahead - self._held, BATCH))
            yield piece.done
            if not piece.moments:
                self.composers.give()
                yield LOOK_AGAIN
                continue
            self._held += len(piece.moments)
            self._simulation.begin(self._compose(piece.moments))

    def _until_wanted(self) -> Steps:
        while self._held > self._enough:
            yield self._stirred

    def _compose(self, moments: Sequence[float]) -> Steps:
        world, costs = self._world, self._world.costs
        yield world.scenario.database_trip * 6
        reading = sum(world.draw(costs.compose_database) for _ in moments)
        yield from world.database.use(reading)
        for _ in moments:
            if self._threads:
                yield from self._work(world.draw(costs.compose), self.composers)
                continue
            yield from self.composers.waiting_for(self._host.take())
            yield world.draw(costs.compose)
            self._host.give()
        if not self._threads:
            unpacking = sum(world.draw(costs.unpack) for _ in moments)
            yield from self._work(unpacking, self.composers)
        self.composers.give()
        self._queue.extend(moments)
        waiting, self._composed = self._composed, Signal(self._simulation)
        waiting.fire()

    def _let_go(self) -> None:
        self._held -= 1
        if self._held <= self._enough:
            waiting, self._stirred = self._stirred, Signal(self._simulation)
            waiting.fire()

    # The writer.

    def _put(self, kind: str, wanted: int = 1) -> Piece:
        piece = Piece(kind, Signal(self._simulation), wanted)
        self._pieces.append(piece)
        waiting, self._written = self._written, Signal(self._simulation)
        waiting.fire()
        return piece

    def _write(self) -> Steps:
        world, costs = self._world, self._world.costs
        trip = world.scenario.database_trip
        while True:
            while not self._pieces:
                yield self._written
            group = [self._pieces.popleft() for _ in range(min(len(self._pieces), GROUP))]
            kinds = {
                kind: [each for each in group if each.kind == kind] for kind in STATEMENT_TRIPS
            }
            yield GROUP_TRIPS * trip
            limited = bool(kinds["claims"]) and bool(world.every)
            if limited:
                yield from world.row.take()
            for kind, pieces in kinds.items():
                if pieces:
                    yield from self._statement(kind, pieces)
            yield from self._work(world.draw(costs.group))
            yield from world.database.use(world.draw(costs.group_database))
            yield from world.disk.flush()
            if limited:
                world.row.give()
            world.groups += 1
            world.rows += len(kinds["intents"]) + len(kinds["acceptances"])
            for piece in group:
                if piece.kind == "acceptances":
                    world.accept()
                    self._let_go()
                piece.done.fire()

    def _statement(self, kind: str, pieces: Sequence[Piece]) -> Steps:
        world, costs = self._world, self._world.costs
        trips = STATEMENT_TRIPS[kind]
        if kind == "claims":
            for piece in pieces:
                piece.moments = self._permits(piece.wanted)
                trips += LIMITED_CLAIM_TRIPS if world.every else 0
            rows = sum(len(piece.moments) for piece in pieces)
            once, once_there = Cost(0.0), Cost(0.0)
            each, each_there = costs.claim, costs.claim_database
        elif kind == "intents":
            rows, once, each = len(pieces), costs.intent_statement, costs.intent
            once_there, each_there = costs.intent_statement_database, costs.intent_database
        else:
            rows, once, each = len(pieces), costs.acceptance_statement, costs.acceptance
            once_there = costs.acceptance_statement_database
            each_there = costs.acceptance_database
        yield from self._work(world.draw(once) + rows * world.draw(each))
        yield trips * world.scenario.database_trip
        yield from world.database.use(world.draw(once_there) + rows * world.draw(each_there))

    def _permits(self, wanted: int) -> list[float]:
        world, now = self._world, self._simulation.now
        wanted = min(wanted, world.pending)
        moments = [now] * wanted
        if world.every:
            moments, world.next_free = permits(world.next_free, now, world.every, wanted)
        world.pending -= len(moments)
        return moments

    # A sender.

    def _send(self) -> Steps:
        world, costs, scenario = self._world, self._world.costs, self._world.scenario
        behind: Piece | None = None
        while True:
            while not self._queue:
                yield self._composed
            moment = self._queue.popleft()
            if moment > self._simulation.now:
                yield moment - self._simulation.now
            yield from self.wires.take()
            wire = world.draw(costs.wire)
            yield from self._work(wire * BEFORE_DOT)
            yield scenario.relay_trip  # MAIL, RCPT and DATA go together (RFC 2920)
            yield from world.on_relay(BEFORE_DOT)
            intent = self._put("intents")
            if not intent.done.fired:
                yield intent.done
            if behind is not None and not behind.done.fired:
                yield behind.done
            yield scenario.relay_trip + scenario.answer
            yield from world.on_relay(1 - BEFORE_DOT)
            yield from self._work(wire * (1 - BEFORE_DOT))
            behind = self._put("acceptances")
            self.wires.give()


def simulate(scenario: Scenario, costs: Costs) -> Result:
    """Return what a scenario comes to."""
    return World(scenario, costs).run()


# What is printed.


def told(name: str, scenario: Scenario, result: Result) -> Iterator[str]:
    """Yield a scenario's outcome for people."""
    hours = 10_000_000 / result.rate / 3600
    yield (
        f"{name}: {result.rate:,.0f} messages/s, ten million in {hours:,.1f} h; "
        f"{result.grouped:.1f} rows a commit; limit: {result.limit}"
    )
    parts = ", ".join(f"{part} {share:.0%}" for part, share in result.busy.items())
    yield f"    {parts}"


def scenarios(asked: argparse.Namespace) -> Iterator[tuple[str, Scenario]]:
    """Yield what is simulated when nothing else is asked for."""
    cores = len(os.sched_getaffinity(0))
    for workers in (1, 2, 4):
        yield f"one machine, {workers} workers", here(workers, 6000, 10, cores, 0.0)
    if asked.hosts:
        yield _named(asked, asked.hosts, asked.rate), _scenario(asked, asked.hosts, asked.rate)
        return
    for rate in (600, 6_000, 60_000, 0):
        yield _named(asked, 10, rate), _scenario(asked, 10, rate)
    for hosts in (1, 2, 5, 20):
        yield _named(asked, hosts, 0), _scenario(asked, hosts, 0)


def here(workers: int, messages: int, connections: int, cores: int, busy: float) -> Scenario:
    """Return the scenario of workers.py: everything on one machine, no network."""
    return Scenario(
        messages=messages,
        workers=workers,
        connections=connections,
        cores=cores,
        together=True,
        database_trip=0.0,
        relay_trip=0.0,
        answer=0.0,
        busy=busy,
    )


def _scenario(asked: argparse.Namespace, hosts: int, rate: int) -> Scenario:
    # Long enough that the first claims of all workers do not count.
    messages = min(asked.messages, max(2_000 * hosts, 40 * rate // 60))
    return Scenario(
        messages=messages,
        hosts=hosts,
        workers=asked.workers,
        connections=asked.connections,
        processes=asked.processes,
        cores=asked.cores,
        database_cores=asked.database_cores,
        database_trip=asked.database_trip / 1e3,
        relay_trip=asked.relay_trip / 1e3,
        answer=asked.answer / 1e3,
        per_minute=rate,
        seed=asked.seed,
    )


def _named(asked: argparse.Namespace, hosts: int, rate: int) -> str:
    return (
        f"{hosts} hosts of {asked.cores} cores, {asked.workers} workers each, "
        f"{f'{rate:,}/min' if rate else 'no rate'}"
    )


def check(asked: argparse.Namespace, costs: Costs | None) -> int:
    """Run workers.py here, and the simulation beside it; return 1 when they differ too much."""
    from costs import measure as measure_costs
    from costs import told as told_costs
    from workers import measure, yard_of

    cores = len(os.sched_getaffinity(0))
    worst = 0.0
    with yard_of(asked) as (yard, fresh):
        if costs is None:
            with fresh() as url:
                costs = measure_costs(yard, url)
        print(*told_costs(costs), sep="\n", flush=True)
        for workers in asked.check_workers:
            with fresh() as url:
                os.sync()
                figure = measure(yard, url, workers)
            scenario = here(workers, asked.messages, asked.connections, cores, figure.others)
            result = simulate(replace(scenario, size=asked.document * 3 // 2), costs)
            ratio = result.rate / figure.rate
            worst = max(worst, abs(math.log(ratio)))
            print(f"measured   {figure.line()}")
            print("simulated ", *told(f"{workers} workers", scenario, result), sep=" ")
            print(f"simulated / measured: {ratio:.2f}", flush=True)
    agreed = worst <= math.log(1 + ALLOWED)
    print(f"within {ALLOWED:.0%}: {'yes' if agreed else 'NO'}")
    return 0 if agreed else 1


def main() -> int:
    """Simulate what was asked for."""
    asked = _arguments()
    costs = None
    if asked.costs:
        costs = Costs.of(json.loads(asked.costs.read_text("utf-8")))
    if asked.check:
        return check(asked, costs)
    if costs is None:
        from costs import measure_here

        costs = measure_here(asked)
    for name, value in asked.set:
        costs = replace(costs, **{name: Cost(value)})
    for name, scenario in scenarios(asked):
        print(*told(name, scenario, simulate(scenario, costs)), sep="\n", flush=True)
    return 0


def _arguments() -> argparse.Namespace:
    def change(given: str) -> tuple[str, float]:
        name, _, value = given.partition("=")
        if name not in {each.name for each in fields(Costs)}:
            raise argparse.ArgumentTypeError(f"no cost is called {name}")
        return name, float(value)

    def numbers(given: str) -> list[int]:
        return [int(number) for number in given.split(",")]

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--costs", type=Path, help="a file of costs.py; without: measured now")
    parser.add_argument("--check", action="store_true", help="beside what workers.py measures")
    parser.add_argument("--check-workers", type=numbers, default=[1, 2, 4], metavar="N,N")
    parser.add_argument("--messages", type=int, default=None)
    parser.add_argument("--document", type=int, default=30_000, metavar="BYTES")
    parser.add_argument("--hosts", type=int, default=0, help="one scenario of so many hosts")
    parser.add_argument("--rate", type=int, default=0, help="of the relay, a minute; 0: none")
    parser.add_argument("--workers", type=int, default=1, help="on each host")
    parser.add_argument("--connections", type=int, default=None, help="of a worker")
    parser.add_argument("--processes", type=int, default=2, help="of a worker; all but one compose")
    parser.add_argument("--cores", type=int, default=2, help="of a host")
    parser.add_argument("--database-cores", type=int, default=8)
    parser.add_argument("--database-trip", type=float, default=0.5, metavar="MS")
    parser.add_argument("--relay-trip", type=float, default=5.0, metavar="MS")
    parser.add_argument("--answer", type=float, default=20.0, metavar="MS")
    parser.add_argument("--set", type=change, action="append", default=[], metavar="COST=SECONDS")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the scratch folder is made: on a disk")
    asked = parser.parse_args()
    asked.messages = asked.messages or (6000 if asked.check else 40_000)
    asked.connections = asked.connections or (10 if asked.check else 20)
    return asked


if __name__ == "__main__":
    sys.exit(main())
