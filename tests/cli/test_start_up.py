"""What a command imports before it does anything: nothing that it does not need."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.program import Program

NAMED = """
import sys
from msgrun.cli.app import run
try:
    run(sys.argv[1:])
finally:
    sys.stderr.write(" ".join(sorted(sys.modules)))
"""
HEAVY = {"alembic", "aiosmtplib", "dns", "email_validator", "jinja2", "mako", "pydantic_settings"}
OF_A_LOOK = {"pydantic", "rich", "sqlalchemy"}
OURS = {"compose", "control", "delivery", "doctor", "planning", "source", "transport"}


def imported(folder: Path, *arguments: str, **environment: str) -> tuple[str, set[str]]:
    """Return what one command prints, and all modules that it has imported at its end."""
    done = subprocess.run(
        [sys.executable, "-c", NAMED, *arguments],
        cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    return done.stdout, set(done.stderr.splitlines()[-1].split())


def packages(modules: set[str]) -> set[str]:
    ours = {f"msgrun.{name}" for name in OURS} & modules
    return {name.split(".")[0] for name in modules} | ours


def test_help_imports_nothing_that_only_work_needs(tmp_path: Path) -> None:
    said, modules = imported(tmp_path, "--help")
    assert "restart" in said
    assert not packages(modules) & (HEAVY | OF_A_LOOK | {f"msgrun.{name}" for name in OURS})
    assert not modules & {"msgrun.model", "asyncio"}


def test_completion_imports_nothing_that_only_work_needs(tmp_path: Path) -> None:
    said, modules = imported(
        tmp_path, _MSGRUN_COMPLETE="complete_bash", COMP_WORDS="msgrun sta", COMP_CWORD="1"
    )
    assert said.split() == ["start"]
    # pydantic is typer's own wish.
    ours = {f"msgrun.{name}" for name in OURS}
    assert not packages(modules) & (HEAVY | {"rich", "sqlalchemy"} | ours)


@pytest.mark.parametrize("command", ["show", "runs"])
def test_a_look_at_runs_imports_nothing_that_only_sending_needs(
    msgrun: Program, command: str
) -> None:
    assert msgrun("start", "monthly", "--yes").code == 3
    said, modules = imported(msgrun.folder, command)
    assert "monthly" in said
    assert packages(modules) >= OF_A_LOOK
    assert not packages(modules) & (HEAVY | {f"msgrun.{name}" for name in OURS})
    assert "sqlalchemy.dialects.postgresql" not in modules, "the database is SQLite"
