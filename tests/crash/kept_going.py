"""A run that is started again whenever its database stops it, and held against the sink then."""

import subprocess
import time
from collections import Counter
from typing import Any

from oracle import CONNECTIONS, hold_against_sink, in_doubt

from billing_process import answer_of, launch
from billing_world import World
from msgrun.demo.sink import Sink
from msgrun.states import MessageState, RunStatus


class KeptGoing:
    """A run whose process ends only because it is finished or because its database failed.

    Args:
        world: its workspace.
        sink: where it sends to.
        launching: how to launch its processes, see `launch`.
    """

    def __init__(self, world: World, sink: Sink, **launching: Any) -> None:
        self.world = world
        self.sink = sink
        self.stops = 0
        self.doubt = 0
        self._launching = launching
        self.process: subprocess.Popen[str] = launch(world.folder, "start", **launching)

    def until_arrived(self, number: int) -> None:
        """Wait until so many messages have arrived; start the run again if it must be."""
        deadline = time.monotonic() + 60
        while len(self.sink.received) < number:
            assert time.monotonic() < deadline, "nothing arrives any more"
            if self.process.poll() is not None:
                self._restart(answer_of(self.process))
            time.sleep(0.001)

    def end(self) -> Counter[MessageState]:
        """Let the run finish; return how many messages are in each state then."""
        while (answer := answer_of(self.process, timeout=100)).get("error") == "database":
            self._restart(answer)
        assert answer.get("status") == "finished", answer
        assert self.world.runs()[0].status is RunStatus.FINISHED
        settled = hold_against_sink(self.world, self.sink)
        assert set(settled) <= {MessageState.SENT, MessageState.IN_DOUBT}
        assert in_doubt(settled) <= self.doubt, "only a fault makes doubt"
        return settled

    def _restart(self, answer: dict[str, Any]) -> None:
        assert (self.process.returncode, answer.get("error")) == (1, "database"), answer
        self.stops += 1
        before, self.doubt = self.doubt, in_doubt(hold_against_sink(self.world, self.sink))
        assert self.doubt - before <= CONNECTIONS
        again = "restart" if self.world.runs() else "start"
        self.process = launch(self.world.folder, again, **self._launching)
