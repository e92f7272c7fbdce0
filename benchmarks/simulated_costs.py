"""What is simulated: costs of steps, a scenario, and what it came to."""

import math
import random
from dataclasses import dataclass, fields
from typing import Any

FULL = 0.95  # a part that is busy for so much of the time is the limit


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
        full = {name for name, share in self.busy.items() if share > FULL}
        # A disk that flushes without a pause is no limit by itself: each flush serves all.
        if beside := sorted(full - {"connections", "database's disk"}):
            return ", ".join(beside)
        if "connections" not in full:
            return "none is full"
        commits = "commits (the disk flushes without a pause)" if len(full) > 1 else "commits"
        return f"connections: all of them wait for answers and {commits}"
