"""The oracle of the crash tests: what the sink has, held against what the ledger says."""

import time
from collections import Counter

from billing_world import World
from msgrun.demo.sink import Sink
from msgrun.states import MessageState

CONNECTIONS = 3
"""At most so many messages are in doubt after each crash."""


def in_doubt(states: Counter[MessageState]) -> int:
    """Return how many messages are, or are about to be found, in doubt."""
    return states[MessageState.IN_DOUBT] + states[MessageState.SENDING]


def hold_against_sink(world: World, sink: Sink) -> Counter[MessageState]:
    """Compare the ledger with what has arrived; return how many messages are in each state."""
    sink_settles(sink)
    arrived = Counter(entry.message_id for entry in sink.received)
    messages = world.messages()
    assert [key for key, times in arrived.items() if times > 1] == [], "sent twice"
    known = {message.message_id for message in messages}
    assert set(arrived) <= known
    for message in messages:
        if message.state is MessageState.SENT:
            assert message.message_id in arrived, f"{message} never arrived"
        elif message.message_id in arrived:
            assert message.state in {MessageState.SENDING, MessageState.IN_DOUBT}, f"{message}"
    return Counter(message.state for message in messages)


def sink_settles(sink: Sink) -> None:
    """Wait until the sink has kept every message whose dot had arrived."""
    deadline = time.monotonic() + 5
    while sink._dialogues:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def no_journal_left(world: World) -> None:
    """Make sure that no worker's journal outlives its run."""
    assert not list(world.folder.glob("*.journal"))
