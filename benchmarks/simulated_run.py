"""A run as msgrun sends it, simulated: claims, composing, the wire, and shared commits."""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from queueing import Part, Signal, Simulation, Steps
from simulated_costs import Cost, Costs, Result, Scenario

FROM, TO = 0.2, 0.9  # of the acceptances: what is counted, as in workers.py

MOST_CLAIMED = 144  # src/msgrun/delivery/feeder.py
BATCH = 48
LEAST_AHEAD = 120
AHEAD_BYTES = 32 * 1024 * 1024
LOOK_AGAIN = 1.0
AT_ONCE = 2  # src/msgrun/delivery/composers.py
GROUP = 200  # src/msgrun/ledger/writer.py
HORIZON = 5.0  # src/msgrun/ratelimit.py

STATEMENT_TRIPS = {"claims": 5, "intents": 1, "acceptances": 1}  # to the database and back
LIMITED_CLAIM_TRIPS = 3  # the relay's row: made, locked, written
GROUP_TRIPS = 3  # BEGIN, the clock, COMMIT
READING_TRIPS = 6  # BEGIN, READ ONLY, four relations; the end waits for nobody
BURST = 0.001  # seconds for which other programs use a core at a time
BEFORE_DOT = 0.7  # of a message's work on the wire


def permits(free: float, now: float, every: float, wanted: int) -> tuple[list[float], float]:
    """Return up to `wanted` moments to send at, and when the next is free: ratelimit.py's rule."""
    free = max(free, now)
    moments: list[float] = []
    while len(moments) < wanted and free <= now + HORIZON:
        moments.append(free)
        free += every
    return moments, free


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
            "claiming and composing": added(each.composers for each in self.workers),
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
        self._places = Part(self._simulation, AT_ONCE * max(scenario.processes - 1, 1))
        self.wires = Part(self._simulation, scenario.connections)
        self._threads = scenario.processes == 1
        ahead = max(8 * scenario.connections, LEAST_AHEAD)
        self._ahead = min(ahead, max(AHEAD_BYTES // max(scenario.size, 1), 1))
        self._at_once = max(min(MOST_CLAIMED, self._ahead // 3), min(BATCH, self._ahead))
        self._enough = self._ahead - min(self._at_once, self._ahead // 3)
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
            yield from self._until_wanted()
            piece = self._put("claims", min(self._ahead - self._held, self._at_once))
            yield piece.done
            if not piece.moments:
                yield LOOK_AGAIN
                continue
            self._held += len(piece.moments)
            for start in range(0, len(piece.moments), BATCH):
                yield from self._places.take()
                self._simulation.begin(self._compose(piece.moments[start : start + BATCH]))

    def _until_wanted(self) -> Steps:
        while self._held > self._enough:
            yield self._stirred

    def _compose(self, moments: Sequence[float]) -> Steps:
        world, costs = self._world, self._world.costs
        yield from self.composers.take()
        yield world.scenario.database_trip * READING_TRIPS
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
        self._places.give()
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
