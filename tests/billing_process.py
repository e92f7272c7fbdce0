"""A process of its own that starts, restarts or stops a run, for tests that need several.

Usage: billing_process.py CONFIG start|restart|stop. Prints one JSON object when it is done.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from billing_world import DEFINITION, TODAY
from msgrun.config import load_config
from msgrun.control.restart import restart
from msgrun.control.start import start
from msgrun.control.stop import stop
from msgrun.control.work import Ending
from msgrun.errors import MsgrunError
from msgrun.workspace import Workspace


def launch(folder: Path, action: str) -> "subprocess.Popen[str]":
    """Begin an action on the workspace of `folder` in a new process."""
    command = [sys.executable, __file__, str(folder / "msgrun.toml"), action]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def answer_of(process: "subprocess.Popen[str]", timeout: float = 60) -> dict[str, Any]:
    """Wait for a launched process and return what it printed."""
    out, _ = process.communicate(timeout=timeout)
    answer: dict[str, Any] = json.loads(out)
    return answer


def _act(workspace: Workspace, action: str) -> Ending | None:
    if action == "stop":
        return stop(workspace, "last")
    if action == "restart":
        return restart(workspace, "last", failed=False, confirm=lambda _: True, wait=False)
    selection = workspace.selection(workspace.config.definitions[DEFINITION], today=TODAY)
    return start(workspace, DEFINITION, selection, confirm=lambda _p, _c: True, wait=False)


def main() -> int:
    """Run one action; return its exit code."""
    workspace = Workspace.of(load_config(Path(sys.argv[1])))
    try:
        ending = _act(workspace, sys.argv[2])
    except MsgrunError as error:
        print(json.dumps({"error": error.code, "message": error.message}))
        return error.exit_code
    assert ending is not None
    print(json.dumps({"status": ending.summary.run.status, "sent": ending.summary.counts.sent}))
    return ending.exit_code


if __name__ == "__main__":
    sys.exit(main())
