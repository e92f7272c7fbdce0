"""`msgrun worker` and `workers`: many processes drain what was handed over, by PostgreSQL."""

import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from billing_world import World, address, make_world
from cli.program import Program
from gated_sink import GatedSink, recipients_of, until
from msgrun.database import Database
from msgrun.errors import ExitCode
from msgrun.ledger import workers
from msgrun.states import RunStatus

CUSTOMERS = 24
MANY = 400
"""More than three workers hold at once."""
PENDING = {"pending": CUSTOMERS}

Billing = tuple[World, Program]


@pytest.fixture
def shared(
    request: pytest.FixtureRequest,
    postgresql_database: Database,
    tmp_path: Path,
    gated: GatedSink,
    capsys: pytest.CaptureFixture[str],
) -> Billing:
    """Some customers (else 24) on PostgreSQL, two connections a worker, and the program."""
    customers = getattr(request, "param", CUSTOMERS)
    world = make_world(
        postgresql_database, tmp_path, gated.port, customers=customers, connections=2
    )
    world.reconfigure("dot_timeout = 10", "dot_timeout = 120")
    world.reconfigure("\ntimeout = 5", "\ntimeout = 60")
    return world, Program(tmp_path, capsys)


@contextmanager
def at_work(msgrun: Program, number: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Have so many workers run while the block lasts; they are asked to go at its end."""
    with ExitStack() as stack:
        found = [msgrun.open("worker", "--poll", "0.1", "--json") for _ in range(number)]
        for each in found:
            stack.enter_context(each)
        try:
            yield found
        finally:
            for each in found:
                if each.poll() is None:
                    each.terminate()
                each.communicate(timeout=60)


def hand_over(msgrun: Program) -> None:
    assert msgrun.outside("start", "--distributed", "--yes").code == ExitCode.DONE


def states(world: World) -> Counter[str]:
    return Counter(message.state.value for message in world.messages())


def status(world: World) -> RunStatus:
    return world.runs()[0].status


def everybody_once(world: World, gated: GatedSink, customers: int = CUSTOMERS) -> None:
    assert status(world) is RunStatus.FINISHED
    assert states(world) == {"sent": customers}
    assert Counter(recipients_of(gated.dots)) == Counter(map(address, range(1, customers + 1)))


@pytest.mark.parametrize(
    "command",
    [("worker",), ("start", "--distributed", "--yes"), ("restart", "--distributed", "-y")],
)
def test_workers_are_refused_where_the_ledger_is_one_machines(
    msgrun: Program, command: tuple[str, ...]
) -> None:
    done = msgrun(*command)

    assert done.code == ExitCode.USAGE
    assert "one machine" in done.err
    assert "msgrun start" in done.err
    assert msgrun.runs() == []


def test_a_run_that_is_handed_over_waits_and_says_so(shared: Billing, gated: GatedSink) -> None:
    world, msgrun = shared

    done = msgrun.outside("start", "--distributed", "--yes")

    assert done.code == ExitCode.DONE
    assert "run 1 waits for a worker: `msgrun watch 1` follows it" in done.out
    assert "no worker is alive" in done.err
    assert (status(world), states(world), gated.seen()) == (RunStatus.PLANNED, PENDING, 0)
    assert "waits for a worker" in msgrun.outside("show").out
    again = msgrun.outside("start", "--distributed", "--yes")
    assert (again.code, "run 1 of 'monthly' waits" in again.err) == (ExitCode.ALREADY_RUNNING, True)
    assert status(world) is RunStatus.PLANNED


def test_a_worker_until_idle_drains_what_waits_and_ends(shared: Billing, gated: GatedSink) -> None:
    world, msgrun = shared
    hand_over(msgrun)

    done = msgrun.outside("worker", "--until-idle", "--json")

    assert done.code == ExitCode.DONE
    assert done.json == {
        "schema": 1,
        "runs": [{"run": 1, "definition": "monthly", "sent": CUSTOMERS, "status": "finished"}],
    }
    everybody_once(world, gated)
    assert msgrun.outside("worker", "--until-idle", "--json").json["runs"] == []
    assert msgrun.outside("workers", "--json").json == {"schema": 1, "workers": []}


def test_workers_are_listed_with_what_they_do(shared: Billing, gated: GatedSink) -> None:
    world, msgrun = shared
    with at_work(msgrun, 1) as (worker,):
        until(lambda: msgrun.outside("workers", "--json").json["workers"])
        (idle,) = msgrun.outside("workers", "--json").json["workers"]
        gated.hold(after=2)
        told = msgrun.outside("start", "--distributed", "--yes")
        until(lambda: len(gated.dots) == 4)
        (working,) = msgrun.outside("workers", "--json").json["workers"]
        shown = msgrun.outside("workers").out
        gated.let_go()
        until(lambda: status(world) is RunStatus.FINISHED)
    assert "no worker is alive" not in told.err
    assert list(idle) == [
        "worker", "host", "pid", "run", "started_at", "seen_at", "lease_until", "ended_at",
        "sent", "per_minute", "state",
    ]  # fmt: skip
    assert (idle["run"], idle["state"], idle["pid"]) == (None, "idle", worker.pid)
    assert (working["run"], working["state"], working["ended_at"]) == (1, "working", None)
    assert "working" in shown
    (ended,) = msgrun.outside("workers", "--all", "--json").json["workers"]
    assert (ended["state"], ended["sent"]) == ("ended", CUSTOMERS)
    assert ended["per_minute"] >= CUSTOMERS


@pytest.mark.parametrize("shared", [MANY], indirect=True)
def test_several_workers_share_a_run_and_join_the_one_that_began_it(
    shared: Billing, gated: GatedSink
) -> None:
    world, msgrun = shared
    gated.hold()
    with msgrun.open("start", "--yes") as run, at_work(msgrun, 2):
        until(lambda: len(gated.dots) == 6)
        gated.let_go()
        out, _ = run.communicate(timeout=60)
    assert (run.returncode, "finished" in out) == (ExitCode.DONE, True)
    everybody_once(world, gated, MANY)
    found = msgrun.outside("workers", "--all", "--json").json["workers"]
    assert sum(each["sent"] for each in found) == MANY
    assert sum(each["sent"] > 0 for each in found) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_asked_to_go_leaves_the_run_to_others(
    shared: Billing, gated: GatedSink, number: signal.Signals
) -> None:
    world, msgrun = shared
    hand_over(msgrun)
    gated.hold()
    with at_work(msgrun, 1) as (worker,):
        until(lambda: len(gated.dots) == 2)
        worker.send_signal(number)
        until(lambda: states(world) == {"sending": 2, "pending": CUSTOMERS - 2})
        gated.let_go()
        worker.communicate(timeout=60)
    assert worker.returncode == ExitCode.DONE
    assert (status(world), gated.seen()) == (RunStatus.RUNNING, 2)
    assert states(world) == {"sent": 2, "pending": CUSTOMERS - 2}
    assert msgrun.outside("worker", "--until-idle").code == ExitCode.DONE
    everybody_once(world, gated)


def test_an_idle_worker_that_is_asked_to_go_leaves_no_trace(shared: Billing) -> None:
    world, msgrun = shared
    with at_work(msgrun, 1) as (worker,):
        until(lambda: world.count("worker") == 1)
        worker.terminate()
        worker.communicate(timeout=60)
    assert (worker.returncode, world.count("worker")) == (ExitCode.DONE, 0)


@pytest.mark.parametrize("shared", [MANY], indirect=True)
def test_a_stop_from_anywhere_stops_every_worker(shared: Billing, gated: GatedSink) -> None:
    world, msgrun = shared
    hand_over(msgrun)
    gated.hold(after=3)
    with at_work(msgrun, 3):
        until(lambda: len(gated.dots) >= 6)
        stopped = msgrun.outside("stop", "1")
        seen = gated.seen()
        gated.let_go()
        until(lambda: status(world) is RunStatus.STOPPED)
    assert stopped.code == ExitCode.DONE
    assert gated.seen() == seen < MANY, "a dot left after stop had returned"
    assert states(world) == {"sent": seen, "pending": MANY - seen}
    assert msgrun.outside("worker", "--until-idle", "--json").json["runs"] == []


def test_a_pause_by_one_worker_pauses_all_and_stays(shared: Billing, gated: GatedSink) -> None:
    world, msgrun = shared
    hand_over(msgrun)
    gated.refuse |= {address(n): "550 5.7.1 not you" for n in range(1, CUSTOMERS + 1)}
    with at_work(msgrun, 3):
        until(lambda: status(world) is RunStatus.PAUSED)
        until(lambda: not msgrun.outside("workers", "--json").json["workers"][0]["run"])
    assert (status(world), world.runs()[0].reason) == (RunStatus.PAUSED, "MR506")
    assert "claimed" not in states(world)


@pytest.mark.parametrize("action", ["stop", "cancel", "restart"])
def test_a_run_that_waits_for_a_worker_needs_none_to_be(
    shared: Billing, gated: GatedSink, action: str
) -> None:
    world, msgrun = shared
    hand_over(msgrun)

    done = msgrun.outside(action, "1", *(["--yes"] if action != "stop" else []))

    assert done.code == ExitCode.DONE
    expected = {"stop": "stopped", "cancel": "cancelled", "restart": "finished"}
    assert status(world) == expected[action]
    assert gated.seen() == (CUSTOMERS if action == "restart" else 0)


def test_a_stopped_run_may_be_handed_over(shared: Billing, gated: GatedSink) -> None:
    world, msgrun = shared
    hand_over(msgrun)
    assert msgrun.outside("stop").code == ExitCode.DONE

    done = msgrun.outside("restart", "--distributed", "--yes")

    assert (done.code, status(world)) == (ExitCode.DONE, RunStatus.PLANNED)
    assert msgrun.outside("worker", "--until-idle").code == ExitCode.DONE
    everybody_once(world, gated)


def test_workers_go_on_with_a_waiting_run_when_its_message_is_due(
    shared: Billing, gated: GatedSink
) -> None:
    world, msgrun = shared
    hand_over(msgrun)
    gated.refuse[address(1)] = "451 4.2.0 later"
    with at_work(msgrun, 2):
        until(lambda: status(world) is RunStatus.WAITING)
        gated.refuse.clear()
        message = world.database.tables.message
        with world.database.write() as connection:
            now = world.database.now(connection)
            connection.execute(
                message.update().where(message.c.state == "deferred").values(due_at=now)
            )
        until(lambda: status(world) is RunStatus.FINISHED)
    everybody_once(world, gated)


def test_watch_follows_a_run_that_nobody_has_taken_yet(shared: Billing, gated: GatedSink) -> None:
    world, msgrun = shared
    hand_over(msgrun)
    with msgrun.open("watch", "1") as watching:
        assert watching.stdout is not None
        for line in watching.stdout:
            if "waits for a worker" in line:
                break
        with at_work(msgrun, 2):
            rest, _ = watching.communicate(timeout=60)
    assert watching.returncode == ExitCode.DONE
    assert "run 1 finished" in rest
    everybody_once(world, gated)


def test_a_host_that_cannot_read_the_documents_leaves_the_run_to_others(
    shared: Billing, gated: GatedSink
) -> None:
    world, msgrun = shared
    hand_over(msgrun)
    world.reconfigure('documents_root = "documents"', 'documents_root = "elsewhere"')

    done = msgrun.outside("worker", "--until-idle")

    assert done.code == ExitCode.USAGE
    assert "cannot be read on this host" in done.err
    assert (status(world), states(world)) == (RunStatus.PLANNED, PENDING)


def test_a_dead_workers_messages_are_taken_over_by_another(
    shared: Billing, gated: GatedSink
) -> None:
    world, msgrun = shared
    hand_over(msgrun)
    gated.hold()
    with at_work(msgrun, 1) as (victim,):
        until(lambda: len(gated.dots) == 2)
        victim.kill()
        victim.communicate(timeout=60)
        (dead,) = msgrun.outside("workers", "--json").json["workers"]
        gated.let_go()
    assert dead["state"] == "dead"
    assert msgrun.outside("worker", "--until-idle").code == ExitCode.DONE
    assert (status(world), states(world)) == (
        RunStatus.FINISHED, {"sent": CUSTOMERS - 2, "in_doubt": 2}
    )  # fmt: skip
    assert len(recipients_of(gated.dots)) == gated.seen() == CUSTOMERS


def test_a_standing_worker_is_known_from_one_that_sends_its_own_run(shared: Billing) -> None:
    world, _ = shared
    database = world.database
    with database.write() as connection:
        now = database.now(connection)
        run = workers.register(connection, database.tables, None, now)
        assert run
        assert not workers.any_standing(connection, database)
        workers.register(connection, database.tables, None, now, standing=True)
        assert workers.any_standing(connection, database)
