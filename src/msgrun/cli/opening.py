"""What the commands share: the opened workspace, where text goes, and asking a person."""

import select
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import typer

from msgrun.errors import ConfigError, ExitCode, UsageError

if TYPE_CHECKING:
    from msgrun.control.work import Ending
    from msgrun.database import Database
    from msgrun.ui.text import Printer
    from msgrun.workspace import Workspace

_LISTEN_SECONDS: Final = 0.5


@dataclass(slots=True)
class Invocation:
    """The options before the command, and the exit code as far as it is known.

    Attributes:
        config: the configuration file; None to look for it.
        debug: whether an error shows its traceback.
        exit_code: what holds even if the output's reader is gone.
    """

    config: Path | None = None
    debug: bool = False
    exit_code: int = ExitCode.DONE


def open_workspace(ctx: typer.Context) -> "Workspace":
    """Open configuration, database and source; a missing SQLite ledger is made.

    Raises:
        ConfigError: there is no configuration, or it has faults.
        DatabaseError: the database cannot be used.
    """
    from msgrun.config import load_config
    from msgrun.workspace import Workspace

    workspace = Workspace.of(load_config(ctx.ensure_object(Invocation).config))
    workspace.database.ensure()
    return workspace


def open_database(ctx: typer.Context) -> "Database":
    """Open configuration and database alone, for commands that only look at runs: it is quicker.

    Raises:
        ConfigError: there is no configuration, or it has faults.
        DatabaseError: the database cannot be used.
    """
    from msgrun.config import load_config
    from msgrun.database import Database

    config = load_config(ctx.ensure_object(Invocation).config)
    database = Database(config.database_url(), config.attach_paths())
    database.ensure()
    return database


def readable_workspace(invocation: Invocation) -> "Workspace | ConfigError":
    """Open the configuration and nothing else; faults in it are returned, to be told as MR005.

    Raises:
        ConfigError: there is no file at all.
    """
    from msgrun.config import load_config
    from msgrun.workspace import Workspace

    try:
        return Workspace.of(load_config(invocation.config))
    except ConfigError as error:
        if "MR005" not in error.hint:
            raise
        return error


def printer_for(*, json: bool) -> "Printer":
    """Return where text for people goes: to stderr when stdout is for JSON."""
    from msgrun.ui.text import Printer

    return Printer(sys.stderr if json else sys.stdout)


def is_interactive() -> bool:
    """Tell whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(question: str) -> bool:
    """Ask a person on the terminal; anything but yes is no."""
    return prompt(f"{question} [y/N] ").lower() in {"y", "yes"}


def prompt(question: str) -> str:
    """Return a line that a person types; "" at the end of the input."""
    from msgrun.ui.text import safe

    sys.stderr.write(safe(question))
    sys.stderr.flush()
    # A Ctrl-C that comes just before a read blocks would be heard with the next key only.
    with suppress(OSError, ValueError):
        while not select.select([sys.stdin], [], [], _LISTEN_SECONDS)[0]:
            pass
    return sys.stdin.readline().strip()


def require_yes(command: str, *, also: str = "") -> None:
    """Refuse to go on where nobody can be asked.

    Raises:
        UsageError: there is no terminal.
    """
    if not is_interactive():
        raise UsageError(
            f"`msgrun {command}` asks before it sends, and there is no terminal to ask on",
            f"give --yes{also}",
        )


def finish(ctx: typer.Context, ending: "Ending", *, json: bool) -> NoReturn:
    """Print how a command about a run ended, and leave with its exit code.

    Raises:
        typer.Exit: always.
    """
    from msgrun.ui import json as documents
    from msgrun.ui.summary import print_run

    ctx.ensure_object(Invocation).exit_code = ending.exit_code
    printer = printer_for(json=json)
    if ending.note:
        printer.line(ending.note)
    if json:
        documents.write(documents.run_document(ending.summary), sys.stdout)
    else:
        print_run(printer, ending.summary)
    raise typer.Exit(ending.exit_code)
