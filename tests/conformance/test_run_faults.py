"""A fault that nobody thought of ends a run without putting the others in doubt."""

import asyncio

import pytest

from billing_world import DEFINITION, World, address, bill, code
from msgrun.control.start import start
from msgrun.events import Event, MessageSettled
from msgrun.ledger.rows import Frozen
from msgrun.model import ComposedMessage, Envelope, Outcome, Selection
from msgrun.states import RunStatus
from msgrun.transport.base import Intent, TransportFactory
from msgrun.transport.memory import MemoryTransport
from msgrun.workspace import Workspace


def test_half_a_surrogate_pair_in_the_billing_data_stops_no_message(world: World) -> None:
    world.change("customers", {"code": code(2)}, meta='{"note": "\\ud83d"}')
    ending = world.start()
    assert ending.summary.run.status is RunStatus.FINISHED
    assert set(world.states().values()) == {"sent"}


def test_a_fault_of_the_program_puts_no_other_message_in_doubt(world: World) -> None:
    answered = asyncio.Event()

    class Faulty(MemoryTransport):
        async def send(
            self, envelope: Envelope, message: ComposedMessage, intent: Intent
        ) -> Outcome:
            if envelope.recipients == (address(1),):
                await answered.wait()
                raise RuntimeError("a fault of the program")
            outcome = await super().send(envelope, message, intent)
            answered.set()
            await asyncio.sleep(0.1)  # the answer is on its way when the fault comes
            return outcome

    _fake(world, Faulty())
    with pytest.raises(RuntimeError, match="a fault of the program"):
        world.start()
    assert world.states()[bill(2)] == "sent"
    assert "sending" not in world.states().values()


@pytest.mark.parametrize(
    "trouble", [UnicodeEncodeError("ascii", "ł", 0, 1, "no"), ValueError("closed file")], ids=repr
)
def test_a_terminal_that_cannot_show_a_message_ends_no_run(
    world: World, trouble: ValueError
) -> None:
    def listen(event: Event) -> None:
        if isinstance(event, MessageSettled):
            raise trouble

    ending = start(
        world.workspace, DEFINITION, world.selection(),
        confirm=lambda _plan, _checked: True, wait=False, listener=listen,
    )  # fmt: skip
    assert ending is not None
    assert (ending.summary.run.status, ending.summary.counts.sent) == (RunStatus.FINISHED, 4)


def _fake(world: World, fake: MemoryTransport) -> None:
    class Faked(Workspace):
        def transport_of(self, frozen: Frozen, selection: Selection) -> TransportFactory:
            return lambda: fake

    real = world.workspace
    world.workspace = Faked(real.config, real.database, real.source)
