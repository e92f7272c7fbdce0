"""What lets cron or systemd call `msgrun schedule run-due` each minute: made, merged, installed."""

import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgrun.errors import MsgrunError, UsageError

_SECONDS: Final = 30
_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
_LANG: Final = "C.UTF-8"


@dataclass(frozen=True, slots=True)
class Place:
    """Where msgrun is and what it works on; paths are absolute.

    Attributes:
        command: the program with what comes before its options.
        config: the configuration.
        writes: the folders that a run writes into: ledger and journals.
    """

    command: tuple[str, ...]
    config: Path
    writes: tuple[Path, ...]

    @property
    def arguments(self) -> tuple[str, ...]:
        """The command line that is called each minute."""
        return (*self.command, "--config", str(self.config), "schedule", "run-due")

    @property
    def unit(self) -> str:
        """The name of its units, after the folder of the configuration."""
        folder = re.sub(r"[^A-Za-z0-9_-]+", "-", self.config.parent.name).strip("-")
        return f"msgrun-{folder or 'schedules'}"


def crontab_block(place: Place) -> list[str]:
    """Return the lines for a user's crontab, between their markers.

    The environment stands in the command itself: a line `PATH=…` would hold for the lines of
    others below it, too. A percent sign means a line end to cron, and is escaped.
    """
    called = " ".join(shlex.quote(each) for each in place.arguments).replace("%", r"\%")
    return [
        _begin(place),
        "# Each minute. No lock is needed: calls may overlap, and each slot runs at most once.",
        "# It prints, and cron mails, only what did not go well (MAILTO= says to whom).",
        f"* * * * * PATH={_PATH} LANG={_LANG} {called}",
        _end(place),
    ]


def _begin(place: Place) -> str:
    return f"# BEGIN msgrun {place.config}"


def _end(place: Place) -> str:
    return f"# END msgrun {place.config}"


def merged(existing: Sequence[str], place: Place, block: Sequence[str]) -> list[str]:
    """Return a crontab with our lines in place of those that were ours; all others stay.

    Raises:
        MsgrunError: our begin is there without its end.
    """
    lines = list(existing)
    if _begin(place) not in lines:
        return [*lines, *block]
    start = lines.index(_begin(place))
    if _end(place) not in lines[start:]:
        raise MsgrunError(
            f"the crontab has the line '{_begin(place)}' without its END",
            "remove the lines of msgrun with `crontab -e`, then try again",
        )
    end = lines.index(_end(place), start)
    return [*lines[:start], *block, *lines[end + 1 :]]


def read_crontab() -> list[str]:
    """Return the lines of this user's crontab; none where there is no crontab.

    Raises:
        MsgrunError: it cannot be read; then it must not be written either.
    """
    done = _crontab("-l")
    if done.returncode == 0:
        return done.stdout.removesuffix("\n").split("\n") if done.stdout else []
    if "no crontab" in done.stderr.lower():
        return []
    raise MsgrunError(f"`crontab -l` failed: {_first(done.stderr)}", "nothing was changed")


def write_crontab(lines: Sequence[str]) -> None:
    """Write this user's crontab.

    Raises:
        MsgrunError: it cannot be written.
    """
    done = _crontab("-", text="".join(f"{line}\n" for line in lines))
    if done.returncode:
        raise MsgrunError(f"`crontab -` failed: {_first(done.stderr)}", "nothing was changed")


def _crontab(argument: str, text: str = "") -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"LC_ALL": "C"}  # what it says is looked at
    try:
        done = subprocess.run(  # noqa: S603 - one of two fixed words
            ["crontab", argument],  # noqa: S607 - the one that the user's PATH has
            input=text.encode(errors="surrogateescape"),
            capture_output=True,
            env=environment,
            timeout=_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise MsgrunError(
            "there is no program `crontab` here",
            "install cron, or use `msgrun schedule install --systemd`",
        ) from None
    except subprocess.TimeoutExpired:
        raise MsgrunError(
            f"`crontab {argument}` gave no answer within {_SECONDS} s", "try it by hand"
        ) from None
    # The lines of others go back byte for byte, whatever they are written in.
    out, err = (each.decode(errors="surrogateescape") for each in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


def _first(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[0]


# systemd

_SERVICE: Final = """\
# Written by `msgrun schedule install --systemd`.
[Unit]
Description=msgrun: start the runs that are due ({config})
{ordering}
[Service]
Type=oneshot
ExecStart={called}
{user}Environment=LANG={lang} PATH={path}
# A password in the environment (password_env) goes into this file, mode 600, as NAME=value.
EnvironmentFile=-{secrets}
# A run takes the time it takes; asked to stop, it finishes what is in flight.
TimeoutStartSec=infinity
TimeoutStopSec=15min
KillMode=mixed
UMask=0077
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
{hardening}"""

_SYSTEM: Final = """\
PrivateTmp=yes
PrivateDevices=yes
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={writes}
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
CapabilityBoundingSet=
"""

_TIMER: Final = """\
# Written by `msgrun schedule install --systemd`.
[Unit]
Description=msgrun: each minute ({config})

[Timer]
OnCalendar=minutely
AccuracySec=1s
Persistent=true

[Install]
WantedBy=timers.target
"""


def systemd_units(place: Place, *, user: str | None) -> dict[str, str]:
    """Return the units by file name.

    Args:
        place: where msgrun is.
        user: who it runs as; None for a user's own units, which the user's own systemd runs. That
            one may not mount anything, so the protections that are made of mounts are left out.
    """
    writes = " ".join(_quoted(str(path)) for path in place.writes)
    config = str(place.config).replace("%", "%%")
    network = "Wants=network-online.target\nAfter=network-online.target\n"
    service = _SERVICE.format(
        config=config,
        ordering=network if user else "",
        called=" ".join(_quoted(each).replace("$", "$$") for each in place.arguments),
        user=f"User={user}\n" if user else "",
        lang=_LANG,
        path=_PATH,
        secrets=str(place.config.with_suffix(".env")).replace("%", "%%"),
        hardening=_SYSTEM.format(writes=writes) if user else "",
    )
    return {
        f"{place.unit}.service": service,
        f"{place.unit}.timer": _TIMER.format(config=config),
    }


def _quoted(word: str) -> str:
    """Return a word of a unit file as systemd.syntax(7) wants it."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' if re.search(r"[\s\"'\\;]", escaped) else escaped


def user_unit_folder() -> Path:
    """Return where a user's own units are."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".config") / "systemd" / "user"


def write_units(folder: Path, units: dict[str, str]) -> None:
    """Write units into a folder, each at once.

    Raises:
        MsgrunError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in units.items():
            new = folder / f".{name}.new"
            new.write_text(text, "utf-8")
            new.replace(folder / name)
    except OSError as error:
        raise MsgrunError(
            f"{folder}: the units cannot be written: {error.strerror or error}",
            "look at the rights on the folder",
        ) from error


def refuse_control_characters(place: Place) -> None:
    """Refuse a path that would end a line in the middle.

    Raises:
        UsageError: a path holds a control character.
    """
    for part in place.arguments:
        if not part.isprintable():
            raise UsageError(
                f"the path {part!r} holds a control character, which no crontab or unit can",
                "rename it",
            )
