"""What goes wrong under way: the server, the source, the leak guard, a lost worker."""

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from sending import everybody, parsed, recipients, start_then

from billing_world import DEFINITION, World, address, bill, code, make_world
from msgrun.control.start import start
from msgrun.control.work import take_on
from msgrun.database import Database
from msgrun.delivery import policy
from msgrun.demo.sink import Sink, running_sink
from msgrun.errors import (
    AlreadyRunningError,
    ExitCode,
    PreflightError,
    ServerDownError,
)
from msgrun.events import (
    Event,
    MessageSettled,
    WaitingForDeferred,
)
from msgrun.ledger import messages, runs, workers
from msgrun.ledger.rows import Frozen
from msgrun.model import Outcome, Selection, Stage, Verdict
from msgrun.states import RunStatus
from msgrun.transport.base import TransportFactory
from msgrun.transport.memory import MemoryTransport
from msgrun.workspace import Workspace

R = RunStatus


# The server.


def test_a_server_that_is_down_at_the_start_leaves_no_run(
    database: Database, tmp_path: Path
) -> None:
    with running_sink(tmp_path / "mail") as gone:
        world = make_world(database, tmp_path, gone.port)
    with pytest.raises(ServerDownError) as down:
        world.start()
    assert down.value.exit_code == ExitCode.PAUSED
    assert [world.count(name) for name in ("run", "message", "event")] == [0, 0, 0]


def test_a_server_that_dies_pauses_the_run_and_costs_no_message_an_attempt(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "PATIENCE", 2)
    with ExitStack() as stack:
        sink = stack.enter_context(running_sink(tmp_path / "mail"))
        world = make_world(database, tmp_path, sink.port, connections=1)

        def listen(event: Event) -> None:
            world.events.append(event)
            if isinstance(event, MessageSettled):
                stack.close()

        ending = start(
            world.workspace, DEFINITION, world.selection(),
            confirm=lambda _plan, _checked: True, wait=False, listener=listen,
        )  # fmt: skip
    assert ending is not None
    run = ending.summary.run
    assert (run.status, run.reason, ending.exit_code) == (R.PAUSED, "MR603", ExitCode.PAUSED)
    assert (ending.summary.counts.sent, ending.summary.counts.pending) == (1, 3)
    assert sorted(message.attempts for message in world.messages()) == [0, 0, 0, 1]
    with running_sink(tmp_path / "more", port=sink.port) as back:
        again, _ = world.restart()
        assert again.summary.run.status is R.FINISHED
        assert recipients(sink) + recipients(back) == everybody()


def test_a_refused_customer_does_not_stop_the_others(world: World, sink: Sink) -> None:
    sink.refuse[address(2)] = "550 5.1.1 No such user"
    ending = world.start()
    assert (ending.summary.run.status, ending.exit_code) == (R.FINISHED, ExitCode.INCOMPLETE)
    assert (ending.summary.counts.sent, ending.summary.counts.rejected) == (3, 1)
    assert recipients(sink) == everybody() - Counter([address(2)])


def test_the_same_refusal_for_five_customers_in_a_row_pauses_the_run(
    database: Database, tmp_path: Path, sink: Sink
) -> None:
    world = make_world(database, tmp_path, sink.port, customers=12, connections=1)
    sink.refuse.update({address(n): "554 5.7.1 Blocked for policy" for n in range(1, 13)})
    ending = world.start()
    assert (ending.summary.run.status, ending.summary.run.reason) == (R.PAUSED, "MR506")
    assert (ending.summary.counts.rejected, ending.summary.counts.pending) == (5, 7)


def test_a_4xx_defers_the_message_and_a_restart_sends_it(world: World, sink: Sink) -> None:
    sink.refuse[address(2)] = "450 4.2.1 Later"
    ending = world.start()
    assert (ending.summary.run.status, ending.exit_code) == (R.WAITING, ExitCode.INCOMPLETE)
    assert ending.summary.counts.deferred == 1
    del sink.refuse[address(2)]
    again, (proposal,) = world.restart()
    assert (proposal.never_tried, proposal.deferred) == (0, 1)
    assert (again.summary.run.status, again.exit_code) == (R.FINISHED, ExitCode.DONE)
    assert recipients(sink) == everybody()


def test_a_server_that_never_answers_the_dot_pauses_the_run_before_all_is_in_doubt(
    world: World,
) -> None:
    silence = Outcome(Verdict.IN_DOUBT, Stage.DOT, text="no answer", finding="MR507")
    fake = MemoryTransport({address(number): [silence] for number in range(1, 5)})

    class Faked(Workspace):
        def transport_of(self, frozen: Frozen, selection: Selection) -> TransportFactory:
            return lambda: fake

    world.reconfigure("connections = 2", "connections = 1")
    real = world.workspace
    world.workspace = Faked(real.config, real.database, real.source)
    ending = world.start()
    assert (ending.summary.run.status, ending.summary.run.reason) == (R.PAUSED, "MR507")
    assert (ending.summary.counts.in_doubt, ending.summary.counts.pending) == (2, 2)
    world.workspace = real
    again, (proposal,) = world.restart()
    assert (proposal.never_tried, proposal.in_doubt) == (2, 2)
    assert (again.summary.counts.sent, again.summary.counts.in_doubt) == (2, 2)
    assert (again.summary.run.status, again.exit_code) == (R.FINISHED, ExitCode.INCOMPLETE)


def test_a_start_that_waits_sends_deferred_messages_when_they_are_due(
    world: World, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FIRST_RETRY", "LONGEST_RETRY"):
        monkeypatch.setattr(policy, name, timedelta(seconds=0.2))
    sink.refuse[address(2)] = "450 4.2.1 Later"
    waited: list[WaitingForDeferred] = []

    def listen(event: Event) -> None:
        if isinstance(event, WaitingForDeferred):
            waited.append(event)
            sink.refuse.clear()

    ending = start(
        world.workspace, DEFINITION, world.selection(),
        confirm=lambda _plan, _checked: True, wait=True, listener=listen,
    )  # fmt: skip
    assert ending is not None
    assert [event.deferred for event in waited] == [1]
    assert (ending.summary.run.status, ending.exit_code) == (R.FINISHED, ExitCode.DONE)
    assert recipients(sink) == everybody()


# The leak guard, and other trouble under way.


def moved_invoice(world: World) -> None:
    world.change("invoices", {"id": bill(2)}, customer=code(3))


def moved_address(world: World) -> None:
    world.change("addresses", {"customer": code(2)}, address="stranger@customer.test")


@pytest.mark.parametrize("move", [moved_invoice, moved_address])
def test_what_belongs_to_somebody_else_by_now_does_not_leave_and_pauses_the_run(
    database: Database, tmp_path: Path, sink: Sink, move: Callable[[World], None]
) -> None:
    world = make_world(database, tmp_path, sink.port, connections=1)

    def confirm(_plan: object, _checked: object) -> bool:
        move(world)
        return True

    ending = world.start(confirm=confirm)
    run = ending.summary.run
    assert (run.status, run.reason, ending.exit_code) == (R.PAUSED, "MR512", ExitCode.PAUSED)
    assert world.states()[bill(2)] == "MR512"
    assert "INV-2" not in "".join(mail["Subject"] for mail in parsed(sink))
    assert not {address(2), "stranger@customer.test"} & set(recipients(sink))
    once = world.start(once=True)
    assert (once.exit_code, "leak guard" in once.note) == (ExitCode.PAUSED, True)


def test_a_source_that_breaks_under_way_pauses_the_run(world: World, sink: Sink) -> None:
    def confirm(_plan: object, _checked: object) -> bool:
        world.change("customers", {"code": code(1)}, meta="[]")
        return True

    ending = world.start(confirm=confirm)
    assert (ending.summary.run.status, ending.summary.run.reason) == (R.PAUSED, "MR006")
    assert (ending.summary.counts.pending, sink.received) == (4, [])
    world.change("customers", {"code": code(1)}, meta=None)
    world.restart()
    assert recipients(sink) == everybody()


def test_a_worker_that_was_held_for_dead_leaves_the_run_to_its_successor(
    long_world: World, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "HEARTBEAT", timedelta(seconds=0.1))
    tables = long_world.database.tables

    def take_over() -> int:
        (run,) = long_world.runs()
        with long_world.database.write() as connection:
            now = long_world.database.now(connection)
            dead = workers.dead_tokens(connection, tables, run.id)
            workers.end(connection, tables, dead, now)
            messages.recover(connection, tables, run_id=run.id, dead_tokens=dead, now=now)
            return workers.register(connection, tables, run.id, now)

    ending, successor = start_then(long_world, 2, take_over)
    assert ending.summary.run.status is R.RUNNING
    assert ending.summary.counts.sent < 120
    with long_world.database.read() as connection, connection.begin():
        assert not workers.is_signed_off(connection, tables, successor)
    states = Counter(long_world.states().values())
    assert states["in_doubt"] <= 2
    assert states["claimed"] == states["sending"] == 0
    assert set(recipients(sink).values()) == {1}


def test_a_run_is_restarted_beside_a_later_one_that_died(world: World, sink: Sink) -> None:
    sink.refuse[address(1)] = "450 4.2.1 Later"
    world.start(limit=1)
    world.start()
    sink.refuse.clear()
    tables = world.database.tables
    with world.database.write() as connection:
        now = world.database.now(connection)
        assert runs.move_run(connection, tables, 2, R.RUNNING, now)
    ending, _ = world.restart("1")
    assert ending.summary.run.status is R.FINISHED
    assert [run.status for run in world.runs()] == [R.STOPPED, R.FINISHED]
    assert recipients(sink) == everybody()


def test_a_run_is_not_taken_on_beside_a_live_one(world: World, sink: Sink) -> None:
    sink.refuse[address(1)] = "450 4.2.1 Later"
    world.start(limit=1)
    world.start()
    later, earlier = world.runs()
    with world.database.write() as connection:
        take_on(world.workspace, connection, later)
    with (
        pytest.raises(AlreadyRunningError, match="live"),
        world.database.write() as connection,
    ):
        take_on(world.workspace, connection, earlier)
    assert [run.status for run in world.runs()] == [R.RUNNING, R.WAITING]


def test_a_definition_that_selects_nobody_is_refused(world: World) -> None:
    world.reconfigure('recipient_key = "invoice"', 'recipient_key = "billing"')
    with pytest.raises(PreflightError, match="MR204"):
        world.start()
    assert world.count("run") == 0
