"""Workers that procrastinate wakes: at once when it does, and no worse off when it does not."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from billing_world import World, make_world
from cli.program import Program
from gated_sink import GatedSink, recipients_of, until
from msgrun.control import waking
from msgrun.database import Database
from msgrun.errors import ExitCode
from msgrun.states import RunStatus

CUSTOMERS = 4
MANY = 100
"""More than two workers hold at once."""
NEVER = 3600.0
"""A poll that no test lives to see."""

Billing = tuple[World, Program]

_WORKER = """
import sys
from pathlib import Path
from msgrun.config import load_config
from msgrun.control import waking
from msgrun.control.worker import work
from msgrun.workspace import Workspace
waking._AGAIN_SECONDS = float("3600")  # procrastinate's own poll must not come to our help
work(Workspace.of(load_config(Path("msgrun.toml"))), poll=float(sys.argv[1]))
"""


@pytest.fixture
def shared(
    request: pytest.FixtureRequest,
    postgresql_database: Database,
    tmp_path: Path,
    gated: GatedSink,
    capsys: pytest.CaptureFixture[str],
) -> Billing:
    """Some customers (else few) on PostgreSQL, without the queue."""
    customers = getattr(request, "param", CUSTOMERS)
    world = make_world(
        postgresql_database, tmp_path, gated.port, customers=customers, connections=2
    )
    world.reconfigure("dot_timeout = 10", "dot_timeout = 120")
    world.reconfigure("\ntimeout = 5", "\ntimeout = 60")
    return world, Program(tmp_path, capsys)


@pytest.fixture
def queued(shared: Billing) -> Billing:
    """The same with the queue."""
    waking.install(shared[0].database)
    return shared


@contextmanager
def asleep(world: World, msgrun: Program, poll: float, number: int = 1) -> Iterator[None]:
    """Have workers that have looked once, and listen; they are asked to go at the block's end."""
    found = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", _WORKER, str(poll)],
            cwd=msgrun.folder,
            text=True,
            stderr=subprocess.PIPE,
        )
        for _ in range(number)
    ]
    try:
        until(lambda: world.count("worker") == number and listeners(world.database) == number)
        yield
    finally:
        for each in found:
            each.terminate()
        ends = [(each.communicate(timeout=60)[1], each.returncode) for each in found]
    assert ends == [("", 0)] * number


def listeners(database: Database) -> int:
    """Return how many connections listen for jobs, and have done nothing else since."""
    return ask(
        database,
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND query LIKE 'LISTEN %'",
    )


def jobs(database: Database) -> int:
    return ask(database, "SELECT count(*) FROM msgrun_queue.procrastinate_jobs")


def ask(database: Database, question: str) -> int:
    with database.read() as connection, connection.begin():
        found: int = connection.execute(text(question)).scalar_one()
        return found


def hand_over(msgrun: Program) -> None:
    assert msgrun.outside("start", "--distributed", "--yes").code == ExitCode.DONE


def finished(world: World) -> bool:
    return world.runs()[0].status is RunStatus.FINISHED


def test_a_worker_is_woken_when_a_run_is_handed_over(queued: Billing, gated: GatedSink) -> None:
    world, msgrun = queued
    with asleep(world, msgrun, NEVER):
        hand_over(msgrun)
        until(lambda: finished(world))
        until(lambda: jobs(world.database) == 0)
    assert len(recipients_of(gated.dots)) == CUSTOMERS


@pytest.mark.parametrize("shared", [MANY], indirect=True)
def test_each_worker_is_woken_and_none_takes_anothers_job(
    queued: Billing, gated: GatedSink
) -> None:
    world, msgrun = queued
    gated.hold()
    with asleep(world, msgrun, NEVER, number=2):
        hand_over(msgrun)
        until(lambda: working(world.database) == 2)
        assert jobs(world.database) == 2, "held until there is nothing left to do"
        gated.let_go()
        until(lambda: finished(world))
        until(lambda: jobs(world.database) == 0)
    assert len(recipients_of(gated.dots)) == MANY


def working(database: Database) -> int:
    return ask(database, "SELECT count(*) FROM msgrun.worker WHERE run_id IS NOT NULL")


def test_a_lost_job_changes_nothing(queued: Billing, gated: GatedSink) -> None:
    world, msgrun = queued
    with asleep(world, msgrun, 0.5):
        with world.database.write() as connection:
            connection.execute(text("ALTER TABLE msgrun_queue.procrastinate_jobs RENAME TO lost"))
        hand_over(msgrun)
        until(lambda: finished(world))
    assert ask(world.database, "SELECT count(*) FROM msgrun_queue.lost") == 0
    assert len(recipients_of(gated.dots)) == CUSTOMERS


def test_jobs_that_come_again_or_too_late_change_nothing(queued: Billing, gated: GatedSink) -> None:
    world, msgrun = queued
    with asleep(world, msgrun, NEVER):
        hand_over(msgrun)
        until(lambda: finished(world))
        for _ in range(3):
            assert waking.wake(world.database) == 1
            until(lambda: jobs(world.database) == 0)
    assert len(recipients_of(gated.dots)) == gated.seen() == CUSTOMERS


def test_jobs_that_nobody_takes_do_not_pile_up(queued: Billing) -> None:
    world, _ = queued
    assert waking.wake(world.database) == 0, "nobody lives"
    assert waking._place(world.database, 2) == 2
    assert waking._place(world.database, 3) == 1
    assert jobs(world.database) == 3


def test_db_upgrade_makes_the_queue_once(shared: Billing) -> None:
    world, msgrun = shared
    assert waking.wake(world.database) == 0

    first = msgrun.outside("db", "upgrade", "--queue")
    waking._place(world.database, 1)
    again = msgrun.outside("db", "upgrade", "--queue")

    assert (first.code, again.out) == (ExitCode.DONE, first.out)
    assert "workers are woken by procrastinate 3" in first.out
    assert jobs(world.database) == 1, "the same version is left as it is"


def test_a_queue_of_another_version_is_made_anew(queued: Billing) -> None:
    world, _ = queued
    with world.database.write() as connection:
        connection.execute(text("COMMENT ON SCHEMA msgrun_queue IS 'procrastinate 2.0'"))
    waking._place(world.database, 1)
    waking.install(world.database)
    assert jobs(world.database) == 0


def test_who_may_not_make_the_queue_is_told_what_it_needs(shared: Billing) -> None:
    world, _ = shared
    database = world.database
    with database.write() as connection:
        connection.execute(text("DROP ROLE IF EXISTS small"))
        connection.execute(text("CREATE ROLE small LOGIN"))
    small = Database(database.url.set(username="small").render_as_string(hide_password=False))
    with pytest.raises(waking.DatabaseError) as told:
        waking.install(small)
    assert "GRANT CREATE ON DATABASE" in (told.value.hint or "")
    waking.install(database)
    with pytest.raises(waking.DatabaseError, match="permission denied for schema msgrun_queue"):
        waking.is_installed(small)
    assert waking.wake(small) == 0


def test_without_the_package_workers_look_and_say_what_to_install(
    queued: Billing, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, msgrun = queued
    monkeypatch.chdir(msgrun.folder)
    monkeypatch.setitem(sys.modules, "procrastinate", None)

    told = msgrun("db", "upgrade", "--queue")

    assert told.code == ExitCode.USAGE
    assert "pip install 'msgrun[workers]'" in told.err
    heard: list[waking.MsgrunError] = []
    bell = waking.Bell(world.database, heard.append)
    bell.hang()
    assert not bell.works
    assert [error.hint for error in heard] == ["pip install 'msgrun[workers]'"]
    assert waking.wake(world.database) == 0


def test_the_queue_is_refused_where_the_ledger_is_one_machines(msgrun: Program) -> None:
    done = msgrun("db", "upgrade", "--queue")

    assert done.code == ExitCode.USAGE
    assert "SQLite" in done.err
