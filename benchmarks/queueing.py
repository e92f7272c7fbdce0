"""A small discrete-event simulation: time, signals, and parts that do so much at once.

Processes are generators that yield seconds, or a signal to wait for.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable, Generator

Steps = Generator["float | Signal", None, None]


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
