"""`msgrun schedule install`: let cron or systemd call `run-due` each minute."""

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from msgrun.cli import options
from msgrun.cli.opening import Invocation, ask, is_interactive, printer_for
from msgrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from msgrun.config import Config
    from msgrun.control.schedule_install import Place
    from msgrun.ui.text import Printer

Crontab = Annotated[bool, typer.Option("--crontab", help="Lines for your crontab.")]
Systemd = Annotated[bool, typer.Option("--systemd", help="A service and a timer for systemd.")]
User = Annotated[bool, typer.Option("--user", help="Units of your own, without root.")]
Write = Annotated[
    bool, typer.Option("--write", help="Install them: shows what changes, and asks first.")
]
Remove = Annotated[
    bool, typer.Option("--remove", help="Take the lines out of your crontab; with --write.")
]


def install(
    ctx: typer.Context,
    crontab: Crontab = False,
    systemd: Systemd = False,
    user: User = False,
    write: Write = False,
    remove: Remove = False,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Print, or with --write install, what calls `msgrun schedule run-due` each minute."""
    from msgrun.config import load_config

    _check(crontab=crontab, systemd=systemd, user=user, write=write, remove=remove)
    if write and not yes and not is_interactive():
        raise UsageError(
            "`msgrun schedule install --write` asks before it writes, and there is no terminal to "
            "ask on",
            "give --yes",
        )
    config = load_config(ctx.ensure_object(Invocation).config)
    installer = _Installer(config, printer_for(json=json), yes=yes)
    if crontab:
        document = installer.crontab(write=write, remove=remove)
    else:
        document = installer.systemd(user=user, write=write)
    if json:
        from msgrun.ui.json import SCHEMA
        from msgrun.ui.json import write as write_json

        write_json({"schema": SCHEMA, **document}, sys.stdout)


def _check(*, crontab: bool, systemd: bool, user: bool, write: bool, remove: bool) -> None:
    """Refuse what does not go together.

    Raises:
        UsageError: what it is.
    """
    if crontab == systemd:
        raise UsageError("give either --crontab or --systemd", "`--systemd --user` needs no root")
    if user and crontab:
        raise UsageError("--user is for --systemd", "a crontab is always your own")
    if systemd and write and not user:
        raise UsageError(
            "only units of your own are written: --systemd --user --write",
            "print the system's and copy them: "
            "`msgrun schedule install --systemd`, /etc/systemd/system",
        )
    if remove and not (crontab and write):
        raise UsageError("--remove takes lines out of your crontab", "give --crontab --write, too")


class _Installer:
    """One installation: prints what it is about, writes it when told to."""

    def __init__(self, config: "Config", printer: "Printer", *, yes: bool) -> None:
        from msgrun.control.schedule_install import refuse_control_characters

        self._config = config
        self._printer = printer
        self._yes = yes
        self._place = _place(config)
        refuse_control_characters(self._place)

    def crontab(self, *, write: bool, remove: bool) -> dict[str, Any]:
        """Print the lines, or change this user's crontab."""
        from msgrun.control import schedule_install as made

        block = [] if remove else made.crontab_block(self._place)
        document: dict[str, Any] = {"kind": "crontab", "lines": block, "written": False}
        if not write:
            for line in block:
                self._printer.line(line)
            self._warn()
            return document
        before = made.read_crontab()
        after = made.merged(before, self._place, block)
        if self._agreed("crontab", before, after):
            made.write_crontab(after)
            self._printer.line("your crontab is written")
            document["written"] = True
        self._warn()
        return document

    def systemd(self, *, user: bool, write: bool) -> dict[str, Any]:
        """Print the units, or write those of this user."""
        import getpass

        from msgrun.control import schedule_install as made

        units = made.systemd_units(self._place, user=None if user else getpass.getuser())
        folder = made.user_unit_folder() if user else Path("/etc/systemd/system")
        systemctl = "systemctl --user" if user else "systemctl"
        next_steps = [
            f"{systemctl} daemon-reload",
            f"{systemctl} enable --now {self._place.unit}.timer",
        ]
        if user:
            next_steps.append("loginctl enable-linger    # or it runs only while you are logged in")
        files = [{"path": str(folder / name), "text": text} for name, text in units.items()]
        document: dict[str, Any] = {
            "kind": "systemd", "files": files, "commands": next_steps, "written": False,
        }  # fmt: skip
        if write:
            document["written"] = self._write_units(folder, units)
        else:
            for name, text in units.items():
                self._printer.line(f"# {folder / name}")
                for line in text.splitlines():
                    self._printer.line(line)
                self._printer.line()
        self._printer.line("# then:")
        for step in next_steps:
            self._printer.line(f"#   {step}")
        self._warn()
        return document

    def _write_units(self, folder: Path, units: dict[str, str]) -> bool:
        from msgrun.control.schedule_install import write_units

        changed = False
        for name, text in units.items():
            path = folder / name
            before = path.read_text("utf-8").splitlines() if path.is_file() else []
            changed |= self._show(str(path), before, text.splitlines())
        if not changed:
            self._printer.line("nothing changes: they are there as they should be")
            return False
        if not (self._yes or ask("Write this?")):
            self._printer.line("nothing was written")
            return False
        write_units(folder, units)
        self._printer.line(f"written into {folder}")
        return True

    def _agreed(self, name: str, before: "Sequence[str]", after: "Sequence[str]") -> bool:
        """Show what changes, and ask."""
        if not self._show(name, before, after):
            self._printer.line("nothing changes: it is there as it should be")
            return False
        if self._yes or ask("Write this?"):
            return True
        self._printer.line("nothing was written")
        return False

    def _show(self, name: str, before: "Sequence[str]", after: "Sequence[str]") -> bool:
        import difflib

        lines = list(difflib.unified_diff(before, after, name, name, lineterm="", n=1))
        for line in lines:
            style = {"+": "green", "-": "red"}.get(line[:1], "")
            self._printer.line((line, style))
        return bool(lines)

    def _warn(self) -> None:
        """Say which secrets cron and systemd do not have."""
        from msgrun.ui.text import Printer

        names = {
            f"{server.password_env} (servers.{name})"
            for name, server in self._config.servers.items()
            if server.password_env
        }
        if names:
            Printer(sys.stderr).line(
                ("note: ", "bold"),
                f"cron and systemd do not have your environment: {', '.join(sorted(names))} will "
                "be missing. password_file needs none; a unit has its EnvironmentFile",
            )


def _place(config: "Config") -> "Place":
    from msgrun.control.schedule_install import Place
    from msgrun.database import Database

    database = Database(config.database_url())
    writes = [config.root.absolute()]
    if database.is_sqlite:
        writes.append(database.path.parent)
    return Place(_command(), config.path.absolute(), tuple(dict.fromkeys(writes)))


def _command() -> tuple[str, ...]:
    """Return how this very program is called, with absolute paths."""
    called = sys.argv[0]
    if Path(called).name == "msgrun":
        found = shutil.which(called) or called
        if os.access(found, os.X_OK):
            return (str(Path(found).absolute()),)
    return (sys.executable, "-m", "msgrun")
