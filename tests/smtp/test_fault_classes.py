"""Whose fault an answer is decides what stops: one message, the run, or all until tomorrow."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from billing_world import World, make_world
from msgrun.database import Database
from msgrun.delivery import policy
from msgrun.errors import ExitCode, PreflightError, ServerDownError
from msgrun.states import RunStatus
from smtp.server import ScriptedServer, serving

QUOTA = "550 5.4.5 Daily user sending limit exceeded"


def world_on(server: ScriptedServer, database: Database, folder: Path) -> World:
    world = make_world(database, folder, server.port, connections=1)
    world.reconfigure("timeout = 5", 'timeout = 5\nusername = "u"\npassword_env = "HOME"')
    server.extensions = (*server.extensions, "AUTH PLAIN")
    return world


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ({"auth": "454 4.7.0 Temporary authentication failure"}, ServerDownError),
        ({"mail": "451 4.3.0 busy"}, ServerDownError),
        ({"ehlo": "421 4.3.2 closing & close"}, ServerDownError),
        ({"auth": "535 5.7.8 wrong"}, PreflightError),
        ({"mail": "550 5.7.60 not yours"}, PreflightError),
    ],
)
def test_a_temporary_no_before_the_run_is_a_server_that_is_down_a_final_one_is_an_error(
    sqlite_database: Database, tmp_path: Path, answers: Mapping[str, Any],
    error: type[Exception],
) -> None:  # fmt: skip
    server = ScriptedServer(answers)
    with serving(server):
        world = world_on(server, sqlite_database, tmp_path)
        with pytest.raises(error):
            world.start()
    assert world.runs() == []


def test_a_login_that_fails_for_now_is_tried_again_and_a_final_no_pauses_at_once(
    sqlite_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy.Patience, "trouble", _no_wait)
    welcome = "235 2.7.0 welcome"
    server = ScriptedServer({"auth": [welcome, "454 4.7.0 not now", welcome]})
    with serving(server):
        world = world_on(server, sqlite_database, tmp_path)
        ending = world.start()
        assert (ending.summary.run.status, ending.summary.counts.sent) == (RunStatus.FINISHED, 4)
    refusing = ScriptedServer({"auth": [welcome, "535 5.7.8 wrong"]})
    with serving(refusing):
        world.reconfigure(f"port = {server.port}", f"port = {refusing.port}")
        refusing.extensions = server.extensions
        ending = world.start(resend=True)
    assert ending.summary.run.reason == "MR615"
    assert ending.exit_code == ExitCode.PAUSED


def _no_wait(*_: object) -> float:
    return 0.0


@pytest.mark.parametrize(("stage", "deferred"), [("rcpt", 0), ("dot", 1)])
def test_a_quota_pauses_the_run_for_a_day_and_costs_no_message_a_try(
    database: Database, tmp_path: Path, stage: str, deferred: int
) -> None:
    server = ScriptedServer({stage: ["250 2.0.0 Ok", QUOTA]})
    with serving(server):
        world = make_world(database, tmp_path, server.port, connections=1)
        ending = world.start()
        run, counts = ending.summary.run, ending.summary.counts
        assert (run.status, run.reason, ending.exit_code) == (RunStatus.PAUSED, "MR618", 12)
        assert "Restart the run when the quota is renewed" in str(run.detail)
        assert (counts.sent, counts.deferred, counts.pending) == (1, deferred, 3 - deferred)
        assert max(message.attempts for message in world.messages()) == 1
        assert sum(message.attempts for message in world.messages()) == 1

        once = world.start(once=True)
        assert "quota is used up until" in once.note
        assert (once.exit_code, once.summary.counts.sent) == (ExitCode.PAUSED, 1)

        again, (proposal,) = world.restart()
        assert proposal.closed_until is not None
        assert (again.summary.counts.sent, again.summary.counts.deferred) == (
            4 - deferred,
            deferred,
        )

        a_day_passes(world)
        last, _ = world.restart()
    assert (last.summary.counts.sent, last.summary.run.status) == (4, RunStatus.FINISHED)


def a_day_passes(world: World) -> None:
    table = world.database.tables.server
    with world.database.write() as connection:
        past = world.database.now(connection) - timedelta(seconds=1)
        connection.execute(update(table).values(closed_until=past))
