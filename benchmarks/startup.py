"""How long does a command take to start? As ratios to importing what it is made of.

Usage: python benchmarks/startup.py [--repeat N].
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from many_customers import fill, write_config

from msgrun.database import Database

PROMISED = 1.5

# The same program without msgrun in it. typer itself imports pydantic as soon as it parses more
# than flags, which `import typer` alone does not show.
BARE = """
import typer
from typing import Annotated
app = typer.Typer(rich_markup_mode=None)
@app.callback()
def main(config: Annotated[str, typer.Option(help="A file.")] = ""): pass
@app.command()
def start(): pass
@app.command()
def show(run: Annotated[str, typer.Argument()] = "last", json: bool = False):
    import rich.console, rich.text, sqlalchemy
app(prog_name="msgrun")
"""
COMPLETING = {
    "_MSGRUN_COMPLETE": "complete_bash",
    "COMP_WORDS": "msgrun sta",
    "COMP_CWORD": "1",
}


@dataclass(frozen=True)
class Command:
    """What is run, and what it is held against."""

    arguments: list[str]
    against: str = ""
    environment: dict[str, str] = field(default_factory=dict)


def _python(code: str, **environment: str) -> Command:
    return Command(["-c", code], environment=environment)


def _msgrun(*arguments: str, against: str, **environment: str) -> Command:
    return Command(["-m", "msgrun", *arguments], against, environment)


COMMANDS = {
    "import typer": _python("import typer"),
    "import typer, rich, sqlalchemy": _python("import typer, rich, sqlalchemy"),
    "bare typer completes": _python(BARE, **COMPLETING),
    "bare typer, rich, sqlalchemy": Command(["-c", BARE, "show"]),
    "msgrun --help": _msgrun("--help", against="import typer"),
    "msgrun completes": _msgrun(against="bare typer completes", **COMPLETING),
    "msgrun show": _msgrun("show", against="bare typer, rich, sqlalchemy"),
}


def main() -> int:
    """Measure, print, and tell whether the promise is kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=15, metavar="N", help="turns")
    turns = parser.parse_args().repeat
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = f"sqlite:///{folder}/msgrun.db"
        fill(Database(url), 100, sent=True)
        write_config(folder, url)
        _once(folder)  # compiles what is not compiled yet; counts for nobody
        took = [_once(folder) for _ in range(turns)]
    kept = True
    print(f"python {sys.version.split()[0]}, load {os.getloadavg()[0]:.1f}, {turns} turns, medians")
    for name, command in COMMANDS.items():
        wall, cpu = (statistics.median(each[name][i] for each in took) for i in (0, 1))
        line = f"  {name:<31} {wall * 1e3:6.0f} ms, CPU {cpu * 1e3:4.0f} ms"
        if command.against:
            # Of each turn: what else the machine does slows both alike.
            ratio, busy = (
                statistics.median(each[name][i] / each[command.against][i] for each in took)
                for i in (0, 1)
            )
            line += f"; {ratio:.2f} x {command.against} (CPU {busy:.2f} x)"
            kept = kept and ratio <= PROMISED
        print(line)
    print("kept" if kept else f"not kept: at most {PROMISED} x")
    return 0 if kept else 1


def _once(folder: Path) -> dict[str, tuple[float, float]]:
    """Run every command once; return how long each took, and its CPU time, in seconds."""
    took = {}
    for name, command in COMMANDS.items():
        began = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 - as written above
            [sys.executable, *command.arguments],
            cwd=folder,
            env={**os.environ, **command.environment},
            stdout=subprocess.DEVNULL,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        took[name] = time.perf_counter() - began, used.ru_utime + used.ru_stime
        if process.returncode:
            sys.exit(f"{name}: ended with {process.returncode}")
    return took


if __name__ == "__main__":
    sys.exit(main())
