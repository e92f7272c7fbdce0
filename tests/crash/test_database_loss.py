"""The database goes away in mid-run: it is waited for, and nothing is sent twice or lost."""

import threading
from pathlib import Path

from oracle import CONNECTIONS, hold_against_sink
from sqlalchemy import text

from billing_process import answer_of, launch
from billing_world import make_world
from msgrun.database import Database
from msgrun.demo.sink import running_sink
from msgrun.states import MessageState, RunStatus

_TERMINATE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def test_a_run_goes_on_after_its_database_connections_were_cut(
    postgresql_database: Database, tmp_path: Path
) -> None:
    with running_sink(tmp_path / "mail", delay=0.03) as sink:
        world = make_world(
            postgresql_database, tmp_path, sink.port, customers=80, connections=CONNECTIONS
        )
        some = threading.Event()
        sink.on_message = lambda entry: some.set() if entry.number >= 10 else None
        process = launch(tmp_path, "start")
        assert some.wait(30)
        with postgresql_database.write() as connection:
            connection.execute(text(_TERMINATE))
        answer = answer_of(process)
        settled = hold_against_sink(world, sink)
    assert (process.returncode, answer["status"]) == (0, RunStatus.FINISHED)
    assert settled == {MessageState.SENT: 80}
