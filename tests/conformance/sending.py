"""A run under way against the sink, and what has arrived there."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from billing_world import DEFINITION, World, address
from msgrun.control.start import start
from msgrun.control.stop import stop
from msgrun.control.work import Ending
from msgrun.demo.sink import Sink
from msgrun.events import (
    Event,
    MessageSettled,
)
from msgrun.states import RunStatus

R = RunStatus


def recipients(sink: Sink) -> Counter[str]:
    return Counter(each for entry in sink.received for each in entry.recipients)


def everybody(customers: int = 4) -> Counter[str]:
    return Counter(address(number) for number in range(1, customers + 1))


def parsed(sink: Sink) -> list[EmailMessage]:
    return [message_from_bytes(entry.path.read_bytes(), policy=default) for entry in sink.received]


def start_then(world: World, settled: int, act: Callable[[], Any]) -> tuple[Ending, Any]:
    """Start a run, do something once so many messages are settled; return both results."""
    reached = threading.Event()

    def listen(event: Event) -> None:
        world.events.append(event)
        if sum(isinstance(each, MessageSettled) for each in world.events) >= settled:
            reached.set()

    def work() -> Ending:
        ending = start(
            world.workspace, DEFINITION, world.selection(),
            confirm=lambda _plan, _checked: True, wait=False, listener=listen,
        )  # fmt: skip
        assert ending is not None
        return ending

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work)
        assert reached.wait(30)
        done = act()
        return running.result(30), done


def stopped_world(world: World, settled: int = 3) -> World:
    """Start the run of a long world and stop it after some messages."""
    start_then(world, settled, lambda: stop(world.workspace, "last"))
    assert world.runs()[0].status is R.STOPPED
    return world


def unsent(world: World) -> list[str]:
    return [invoice for invoice, state in world.states().items() if state == "pending"]
