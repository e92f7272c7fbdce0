"""The README names what there is, and its commands run."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from msgrun.errors import ExitCode

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
    environment.pop("MSGRUN_CONFIG", None)
    return subprocess.run(
        [sys.executable, "-m", "msgrun", *arguments],
        cwd=cwd, env=environment, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip


def commands() -> list[str]:
    listed = run("--help").stdout
    return re.findall(r"^[│|]?\s*([a-z][a-z-]+)  ", listed.split("Commands")[-1], re.MULTILINE)


def test_every_command_is_in_the_readme():
    missing = [name for name in commands() if not re.search(rf"`{name}\b|msgrun {name}\b", README)]

    assert len(commands()) > 10
    assert missing == []


def test_every_exit_code_is_in_the_readme():
    section = README.split("## Exit codes")[1].split("\n## ")[0]
    codes = {value for name, value in vars(ExitCode).items() if name.isupper()}

    missing = [code for code in sorted(codes) if not re.search(rf"\|.*\b{code}\b.*\|", section)]

    assert missing == []


@pytest.mark.parametrize("name", ["quickstart", "chinook"])
def test_every_example_named_in_the_readme_is_there(name):
    assert f"examples/{name}" in README
    assert (ROOT / "examples" / name / "msgrun.toml").is_file()
    assert (ROOT / "examples" / name / "README.md").is_file()


def test_the_toml_of_the_readme_is_toml_that_msgrun_takes(tmp_path):
    blocks = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    first, second = (re.sub(r"(?m)^   ", "", block) for block in blocks)

    assert set(tomllib.loads(first)) == {"servers", "senders"}
    (tmp_path / "msgrun.toml").write_text(second + first, "utf-8")
    outcome = run("runs", cwd=tmp_path)

    assert "msgrun.toml" not in outcome.stderr


def test_the_first_run_of_the_readme_works_up_to_the_plan(tmp_path):
    quickstart = ROOT / "examples" / "quickstart"
    made = run("init", "billing", cwd=tmp_path)
    workspace = tmp_path / "billing"
    files = [str(quickstart / "data" / f"{name}.csv") for name in
             ("customers", "addresses", "clusters", "invoices")]  # fmt: skip

    imported = run("import", *files, cwd=workspace)
    planned = run("plan", "monthly", "--period", "2026-10", cwd=workspace)

    assert (made.returncode, imported.returncode) == (0, 0), made.stderr + imported.stderr
    assert planned.returncode in {0, 4}, planned.stderr
    assert "Traceback" not in made.stderr + imported.stderr + planned.stderr


def test_the_demo_tells_the_whole_story_in_a_pipe(tmp_path):
    outcome = run("demo", str(tmp_path / "scratch"))

    told = outcome.stdout
    assert outcome.returncode == 0, outcome.stderr
    assert "Traceback" not in told + outcome.stderr
    for code in ("MR102", "MR103", "MR105", "MR106", "MR107", "MR122", "MR123", "MR401", "MR506"):
        assert re.search(rf"✗.*{code}", told), f"no verdict {code}"
    assert len(list((tmp_path / "scratch" / "mailbox").glob("*.eml"))) == 123
