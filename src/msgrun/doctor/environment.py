"""The machine that msgrun runs on: its clock, its time zone, and the room on its disk."""

import os
import re
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from msgrun.doctor.findings import Finding, Stage, Status, crashed, found, passed
from msgrun.errors import DatabaseError
from msgrun.workspace import Workspace

CLOCK_TOLERANCE: Final = timedelta(seconds=5)
LEAST_FREE: Final = 50 * 2**20
"""Bytes: below that a run's journal and database may not find room."""

_LOCALTIME: Final = Path("/etc/localtime")
_POSIX_ZONE: Final = re.compile(r"(?:[A-Za-z]{3,}|<[\w+-]+>)[+-]?[0-9]{1,2}\S*")  # e.g. CET-1CEST


def check_environment(workspace: Workspace) -> list[Finding]:
    """Look at the host and its database; nothing is written.

    Raises:
        DatabaseError: the database cannot be reached (MR001).
    """
    findings: list[Finding] = []
    for check in (_clock, partial(_zones, environ=os.environ), _space):
        try:
            findings += check(workspace)
        except DatabaseError:
            raise
        except Exception as error:  # noqa: BLE001 - one check must not hide the others
            findings.append(crashed(Stage.ENVIRONMENT, error))
    if any(each.status is not Status.PASS for each in findings):
        return [each for each in findings if each.status is not Status.PASS]
    seen = [line for each in findings for line in each.evidence]
    return [passed(Stage.ENVIRONMENT, "clock, time zone and disk are in order", *seen)]


def host_now() -> datetime:
    """Return the host's clock."""
    return datetime.now(UTC)


def _clock(workspace: Workspace) -> list[Finding]:
    """Hold the database's clock against the host's (MR002); SQLite has none of its own."""
    database = workspace.database
    if database.is_sqlite:
        return [passed(Stage.ENVIRONMENT, "SQLite goes by the host's clock")]
    with database.read() as connection, connection.begin():
        before = host_now()
        theirs = database.now(connection)
        after = host_now()
    # What the question took to travel is no difference of clocks.
    apart = max(before - theirs, theirs - after, timedelta())
    seconds = f"{apart.total_seconds():.0f} s"
    if apart <= CLOCK_TOLERANCE:
        return [
            passed(Stage.ENVIRONMENT, f"the database's clock is within {seconds} of the host's")
        ]
    behind = "behind" if theirs < before else "ahead of"
    return [
        found(
            "MR002", Stage.ENVIRONMENT,
            f"the database's clock is {seconds} {behind} the host's",
            f"database {theirs:%Y-%m-%dT%H:%M:%SZ}, host {after:%Y-%m-%dT%H:%M:%SZ}",
            status=Status.WARN, subject=database.describe(),
            remedy="let both computers set their clocks by NTP (`timedatectl` shows it)",
        )
    ]  # fmt: skip


def _zones(workspace: Workspace, environ: Mapping[str, str]) -> list[Finding]:
    """Ask whether "today", which words such as previous-month start from, is the one meant."""
    if fault := _zone_fault(environ.get("TZ")):
        return [
            found(
                "MR003", Stage.ENVIRONMENT, fault,
                "words such as previous-month are seen from the host's date: "
                f"it is {host_now().astimezone():%Y-%m-%d %H:%M} there",
                status=Status.WARN, subject="TZ",
                remedy="set the time zone of the host, or TZ to an IANA name such as Europe/Berlin",
            )
        ]  # fmt: skip
    ours = datetime.now().astimezone()
    told = f"the host's time zone is {ours.tzname()} (UTC{ours:%z})"
    mapped = bool(workspace.config.source.relations)
    if workspace.database.is_sqlite or not mapped:
        # msgrun's own tables hold days as text: there is nothing to convert.
        return [passed(Stage.ENVIRONMENT, told)]
    with workspace.database.read() as connection, connection.begin():
        name, offset = _session_zone(connection)
    if offset == ours.utcoffset():
        return [passed(Stage.ENVIRONMENT, told, f"the database's is {name}")]
    return [
        found(
            "MR003", Stage.ENVIRONMENT, f"{told}, the database session's is {name}",
            "a SELECT under [source] that makes days of timestamps makes them in the database's "
            "zone: an invoice of the last evening of a month may fall into another period",
            status=Status.WARN, subject=name,
            remedy="ALTER ROLE … SET timezone to the host's zone, or convert with AT TIME ZONE "
            "in the SELECT",
        )
    ]  # fmt: skip


def _zone_fault(zone: str | None) -> str:
    """Return why the host's time zone cannot be relied on; "" where it can.

    The C library takes an unknown zone for UTC without a word.
    """
    if zone is None:
        if _LOCALTIME.exists():
            return ""
        return f"the host has no time zone: TZ is not set and {_LOCALTIME} is not there"
    name = zone.removeprefix(":")
    if not name or _POSIX_ZONE.fullmatch(name) or (name.startswith("/") and Path(name).exists()):
        return ""
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        return "" if name == "UTC" else f"TZ={zone} is no time zone; it is silently taken for UTC"
    return ""


def _session_zone(connection: Connection) -> tuple[str, timedelta]:
    query = "SELECT current_setting('TimeZone'), extract(timezone FROM clock_timestamp())"
    name, seconds = connection.execute(text(query)).one()
    return str(name), timedelta(seconds=int(seconds))


def free_bytes(folder: Path) -> int:
    """Return how much room there is on the disk of a folder."""
    return shutil.disk_usage(folder).free


def _space(workspace: Workspace) -> list[Finding]:
    """Look for room beside the SQLite file, and beside the journals of answers (MR004)."""
    places = {workspace.config.path.parent: "the journals"}
    if workspace.database.is_sqlite:
        places[workspace.database.path.parent] = "the database"
    findings = []
    for folder, what in places.items():
        free = free_bytes(folder)
        if free >= LEAST_FREE:
            findings.append(passed(Stage.ENVIRONMENT, f"there is room for {what} in {folder}"))
            continue
        told = f"{free / 2**20:.0f} MiB are free in {folder}, for {what}"
        findings.append(
            found(
                "MR004", Stage.ENVIRONMENT, told, f"a run wants {LEAST_FREE // 2**20} MiB",
                subject=str(folder), remedy=f"free space on the disk of {folder}",
                cause=f"the disk of {folder} is full",
            )
        )  # fmt: skip
    return findings
