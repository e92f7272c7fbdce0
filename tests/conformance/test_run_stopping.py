"""Stopping a run and restarting it: nothing more leaves, then exactly the rest."""

import signal
import threading
from datetime import timedelta
from typing import Any

import pytest
from sending import everybody, recipients, start_then, stopped_world

from billing_process import answer_of, launch
from billing_world import DEFINITION, World
from msgrun.control.stop import stop
from msgrun.control.work import take_on
from msgrun.demo.sink import Sink
from msgrun.errors import (
    AlreadyRunningError,
    ExitCode,
)
from msgrun.events import (
    Stopping,
)
from msgrun.ledger import workers
from msgrun.ledger.workers import definition_lock
from msgrun.planning.draft import draft_run
from msgrun.states import RunStatus

R = RunStatus


# Stop and restart.


def test_a_stop_from_another_process_ends_the_sending_and_a_restart_sends_the_rest(
    long_world: World, sink: Sink
) -> None:
    def stop_elsewhere() -> tuple[dict[str, Any], int]:
        answer = answer_of(launch(long_world.folder, "stop"))
        return answer, len(sink.received)

    sink.delay = 0.2  # the run is not done before the other process is there
    ending, (answer, arrived) = start_then(long_world, 1, stop_elsewhere)
    assert answer["status"] == "stopped"
    assert len(sink.received) == arrived, "something arrived after stop had returned"
    assert ending.summary.counts.sent == arrived < 120
    assert ending.summary.run.status is R.STOPPED
    assert ending.exit_code == ExitCode.INCOMPLETE
    sink.delay = 0
    again, (proposal,) = long_world.restart()
    assert (proposal.never_tried, proposal.in_doubt) == (120 - arrived, 0)
    assert (again.summary.counts.sent, again.summary.run.status) == (120, R.FINISHED)
    assert recipients(sink) == everybody(120)


def test_stop_returns_only_when_no_connection_stands_before_its_dot(
    long_world: World, sink: Sink
) -> None:
    ending, (stopped, arrived) = start_then(
        long_world, 5, lambda: (stop(long_world.workspace, "last"), len(sink.received))
    )
    assert stopped.exit_code == ExitCode.DONE
    assert len(sink.received) == arrived == ending.summary.counts.sent
    assert any(isinstance(event, Stopping) for event in long_world.events)


def test_stop_waits_for_a_worker_that_shows_no_life_no_longer_than_its_lease(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Take a run on and freeze: the process lives, but shows no sign of life any more."""
    monkeypatch.setattr(workers, "LEASE", timedelta(seconds=1))
    criteria = world.workspace.criteria(world.frozen, world.selection())
    with (
        definition_lock(world.database, DEFINITION),
        draft_run(world.database, world.workspace.source, world.frozen, criteria) as draft,
    ):
        draft.commit("acme.test", lambda writing, run: take_on(world.workspace, writing, run))
        worker = world.database.tables.worker
        with world.database.write() as connection:
            long_ago = world.database.now(connection) - workers.LEASE
            connection.execute(worker.update().values(lease_until=long_ago))
        ending = stop(world.workspace, "last")
    assert ending.summary.run.status in {R.STOPPING, R.STOPPED}
    assert world.restart()[0].summary.counts.sent == 4


def test_stopping_a_stopped_run_is_no_error(long_world: World) -> None:
    stopped_world(long_world)
    again = stop(long_world.workspace, "last")
    assert (again.exit_code, again.summary.run.status) == (ExitCode.DONE, R.STOPPED)


@pytest.mark.parametrize(
    ("number", "code_"), [(signal.SIGTERM, ExitCode.TERMINATED), (signal.SIGINT, 130)]
)
def test_a_signal_stops_like_stop_does(
    long_world: World, sink: Sink, number: signal.Signals, code_: int
) -> None:
    arrived = threading.Event()
    sink.on_message = lambda _entry: arrived.set()
    process = launch(long_world.folder, "start")
    assert arrived.wait(30)
    process.send_signal(number)
    answer = answer_of(process)
    assert (process.returncode, answer["status"]) == (code_, "stopped")
    assert answer["sent"] == len(sink.received) < 120
    assert "in_doubt" not in long_world.states().values()


def test_a_finished_run_has_nothing_left_to_send(world: World, sink: Sink) -> None:
    world.start()
    ending, proposals = world.restart()
    assert (proposals, "nothing left" in ending.note) == ([], True)
    assert recipients(sink) == everybody()


def test_a_run_that_came_to_rest_after_its_last_message_is_finished_by_a_restart(
    world: World,
) -> None:
    world.start()
    with world.database.write() as connection:
        connection.execute(world.database.tables.run.update().values(status=R.STOPPED))
    ending, proposals = world.restart()
    assert proposals == []
    assert (ending.summary.run.status, ending.exit_code) == (R.FINISHED, ExitCode.DONE)


def test_a_run_that_is_being_worked_on_cannot_be_restarted(long_world: World) -> None:
    def restart_too() -> None:
        with pytest.raises(AlreadyRunningError):
            long_world.restart()
        with pytest.raises(AlreadyRunningError):
            long_world.start()
        stop(long_world.workspace, "last")

    start_then(long_world, 1, restart_too)
