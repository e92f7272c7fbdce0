"""Who is held for dead, and when a stop may return."""

import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from billing_world import DEFINITION, World, make_world
from msgrun.control import stop as stopping
from msgrun.control.work import recover_definition, take_on
from msgrun.database import Database
from msgrun.demo.sink import Sink
from msgrun.ledger import runs, workers
from msgrun.ledger.rows import RunRow
from msgrun.states import RunStatus
from msgrun.workspace import Workspace


def _taken_on(world: World) -> tuple[RunRow, int]:
    """Write a run that a worker has taken on, without draining it."""
    database = world.database
    with database.write() as connection:
        now = database.now(connection)
        run = runs.create_run(connection, database.tables, world.frozen, world.selection(), now)
        return run, take_on(world.workspace, connection, run)


@pytest.mark.parametrize("step", [timedelta(days=1), timedelta(days=-1)], ids=str)
def test_a_stop_goes_by_no_clock_that_was_set_since_the_run_began(
    sqlite_database: Database, tmp_path: Path, sink: Sink,
    monkeypatch: pytest.MonkeyPatch, step: timedelta,
) -> None:  # fmt: skip
    monkeypatch.setattr(workers, "LEASE", timedelta(seconds=1))
    world = make_world(sqlite_database, tmp_path, sink.port)
    real = world.workspace
    run, token = _taken_on(world)
    shifted = Database(str(sqlite_database.url), clock=lambda: datetime.now(UTC) + step)
    other = Workspace(real.config, shifted, real.source)
    beaten = threading.Event()

    def beat() -> None:
        """Be alive for three leases, in the dot's neighbourhood all the while."""
        for _ in range(12):
            with sqlite_database.write() as connection:
                now = sqlite_database.now(connection)
                workers.heartbeat(connection, sqlite_database.tables, token, now)
            threading.Event().wait(0.25)
        beaten.set()

    with workers.definition_lock(sqlite_database, DEFINITION):
        thread = threading.Thread(target=beat)
        thread.start()
        stopping.stop(other, str(run.id))
        assert beaten.is_set()
        thread.join()


def test_a_worker_that_signs_up_during_a_take_over_is_not_held_for_dead(
    postgresql_database: Database, tmp_path: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(postgresql_database, tmp_path, sink.port)
    database, tables = world.database, world.database.tables
    run, dead = _taken_on(world)
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    with database.write() as connection:
        workers.heartbeat(connection, tables, dead, long_ago)
    second: list[int] = []
    looked = workers.live_workers
    done = threading.Event()

    def sign_up() -> None:
        """Another host restarts the run, all of it between two looks of ours."""
        monkeypatch.setattr(workers, "live_workers", looked)
        recover_definition(world.workspace, DEFINITION, lock_is_ours=True)
        with database.write() as connection:
            second.append(take_on(world.workspace, connection, run))
        done.set()

    def look(*given: object, **named: object) -> object:
        found = looked(*given, **named)  # type: ignore[arg-type]
        threading.Thread(target=sign_up).start()
        done.wait(2)
        return found

    monkeypatch.setattr(workers, "live_workers", look)
    recover_definition(world.workspace, DEFINITION, lock_is_ours=True)
    assert done.wait(10)
    with database.read() as connection, connection.begin():
        assert not workers.is_signed_off(connection, tables, second[0])
        assert runs.get_run(connection, tables, run.id).status is RunStatus.RUNNING


def test_a_process_of_another_container_is_not_held_for_dead() -> None:
    ask = "from msgrun.ledger.workers import boot_id; print(boot_id())"
    inside = [sys.executable, "-c", ask]
    try:
        other = subprocess.run(
            ["unshare", "--pid", "--fork", "--mount-proc", *inside],
            capture_output=True, text=True, check=True, timeout=30,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no PID namespace can be made here")
    same = subprocess.run(inside, capture_output=True, text=True, check=True, timeout=30)
    assert same.stdout.strip() == workers.boot_id() != other.stdout.strip()
