"""A process of its own that starts, restarts or stops a run, for tests that need several.

Usage: billing_process.py CONFIG ACTION [--mutant NAME] [--lease SECONDS] [--busy SECONDS]
[--patience SECONDS] [--journal truncate|wal] [--processes N] [--now TIME], where ACTION is start,
restart, run-due (the slots of schedules, as seen at TIME), stop, resolve-sent, resolve-resend (all
that is in doubt), hand-over (start --distributed), worker or worker-until-idle. Prints one
JSON object when it is done.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import mutants
from billing_world import DEFINITION, TODAY
from msgrun import database
from msgrun.config import load_config
from msgrun.control.due import worst
from msgrun.control.resolve import resolve
from msgrun.control.restart import restart
from msgrun.control.schedule import run_due
from msgrun.control.start import start
from msgrun.control.stop import stop
from msgrun.control.work import Ending
from msgrun.control.worker import work
from msgrun.delivery.floor import Floor
from msgrun.errors import MsgrunError
from msgrun.ledger import views, workers
from msgrun.states import MessageState
from msgrun.workspace import Workspace

ACTIONS = (
    "start", "restart", "stop", "resolve-sent", "resolve-resend", "hand-over", "worker",
    "worker-until-idle", "run-due",
)  # fmt: skip


def launch(
    folder: Path,
    action: str,
    *,
    failpoint: str = "",
    mutant: str = "",
    lease: float = 0,
    busy: float = 0,
    patience: float = 0,
    journal: str = "",
    processes: int = 0,
    now: str = "",
    under: tuple[str, ...] = (),
    **further: Any,
) -> "subprocess.Popen[str]":
    """Begin an action on the workspace of `folder` in a new process.

    Args:
        folder: where `msgrun.toml` is.
        action: "start", "restart", "stop", "resolve-sent" or "resolve-resend", "hand-over",
            "worker", "worker-until-idle" or "run-due".
        failpoint: what MSGRUN_FAILPOINT says, e.g. "intent.committed=kill@3".
        mutant: a fault of `mutants.py` to plant in the process.
        lease: seconds of a worker's lease; the heartbeat is a sixth of it. 0: as they are.
        busy: seconds that a locked SQLite database is waited for. 0: as they are.
        patience: seconds that a database that went away is waited for. 0: as they are.
        journal: the journal mode of SQLite, "truncate" or "wal". "": as its version has it.
        processes: how many work on the run, but for one all compose. 0: as they are.
        now: what "run-due" takes for the time, RFC 3339.
        under: a command to run it under, e.g. strace with its options.
        further: for `Popen`.
    """
    command = [*under, sys.executable, __file__, str(folder / "msgrun.toml"), action]
    if mutant:
        command += ["--mutant", mutant]
    if lease:
        command += ["--lease", str(lease)]
    if busy:
        command += ["--busy", str(busy)]
    if patience:
        command += ["--patience", str(patience)]
    if journal:
        command += ["--journal", journal]
    if processes:
        command += ["--processes", str(processes)]
    if now:
        command += ["--now", now]
    environment = os.environ | ({"MSGRUN_FAILPOINT": failpoint} if failpoint else {})
    usual: dict[str, Any] = {"stdout": subprocess.PIPE, "text": True, "env": environment}
    return subprocess.Popen(command, **(usual | further))


def answer_of(process: "subprocess.Popen[str]", timeout: float = 60) -> dict[str, Any]:
    """Wait for a launched process and return what it printed."""
    out, _ = process.communicate(timeout=timeout)
    answer: dict[str, Any] = json.loads(out)
    return answer


def _act(workspace: Workspace, action: str, processes: int | None) -> Ending | None:
    if action == "stop":
        return stop(workspace, "last")
    if action == "restart":
        return restart(
            workspace, "last", failed=False, confirm=lambda _: True, wait=False,
            processes=processes,
        )  # fmt: skip
    selection = workspace.selection(workspace.config.definitions[DEFINITION], today=TODAY)
    return start(
        workspace, DEFINITION, selection, confirm=lambda _p, _c: True, wait=False,
        processes=processes,
        distributed=action == "hand-over",
    )  # fmt: skip


def _resolve(workspace: Workspace, *, resend: bool) -> int:
    """Settle all that is in doubt; return how many messages that was."""
    tables = workspace.database.tables
    with workspace.database.read() as connection, connection.begin():
        found = views.messages(connection, tables, states=(MessageState.IN_DOUBT,))
        doubts = [str(message.id) for message in found]
    return len(resolve(workspace, doubts, resend=resend, because="a test says so"))


def _answer(
    workspace: Workspace, action: str, processes: int | None, now: str
) -> tuple[int, dict[str, Any]]:
    """Do it; return exit code and what is to be printed."""
    try:
        if action.startswith("resolve"):
            return 0, {"resolved": _resolve(workspace, resend=action == "resolve-resend")}
        if action.startswith("worker"):
            done = work(workspace, poll=0.2, until_idle=action == "worker-until-idle")
            return 0, {"runs": [each.run for each in done], "sent": sum(e.sent for e in done)}
        if action == "run-due":
            moment = datetime.fromisoformat(now)
            due = list(run_due(workspace, clock=lambda _: moment))
            did = [[each.did, each.code] for each in due]
            return worst([each.code for each in due]), {"did": did}
        ending = _act(workspace, action, processes)
    except MsgrunError as error:
        return error.exit_code, {"error": error.code, "message": error.message}
    assert ending is not None
    run, counts = ending.summary.run, ending.summary.counts
    return ending.exit_code, {"status": run.status, "sent": counts.sent}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one action; return its exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("--mutant")
    parser.add_argument("--lease", type=float)
    parser.add_argument("--busy", type=float)
    parser.add_argument("--patience", type=float)
    parser.add_argument("--journal", choices=["truncate", "wal"])
    parser.add_argument("--processes", type=int)
    parser.add_argument("--now", default="")
    given = parser.parse_args(arguments)
    if given.mutant:
        mutants.plant(given.mutant)
    if given.lease:
        mutants.replace(workers, "LEASE", timedelta(seconds=given.lease))
        mutants.replace(workers, "HEARTBEAT", timedelta(seconds=given.lease / 6))
    if given.busy:
        mutants.replace(database, "BUSY_SECONDS", given.busy)
    if given.patience:
        for method in (Floor.write, Floor.patiently):
            mutants.replace(method, "__defaults__", (given.patience,))
    if given.journal:
        mutants.replace(database, "wal_is_safe", lambda _version: given.journal == "wal")
    workspace = Workspace.of(load_config(given.config))
    code, answer = _answer(workspace, given.action, given.processes, given.now)
    print(json.dumps(answer))
    return code


if __name__ == "__main__":
    sys.exit(main())
