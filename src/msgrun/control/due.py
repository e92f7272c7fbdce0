"""What `run-due` has done about slots, in words and exit codes."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from msgrun.config import ScheduleConfig
from msgrun.control.news import NewsKind
from msgrun.errors import ExitCode, NotFoundError
from msgrun.ledger.rows import Summary
from msgrun.selection import parse_period
from msgrun.states import RunStatus
from msgrun.suggest import did_you_mean
from msgrun.timetable import zone_of
from msgrun.workspace import Workspace

PUNCTUAL: Final = timedelta(minutes=5)
"""So late a slot is still on time."""

_OVER: Final = {
    ExitCode.USAGE: 0, ExitCode.NOT_FOUND: 1, ExitCode.ALREADY_RUNNING: 2,
    ExitCode.INTERRUPTED: 3, ExitCode.TERMINATED: 3, ExitCode.PAUSED: 4, ExitCode.DOCTOR_ERRORS: 5,
    ExitCode.DOCTOR_UNKNOWN: 6, ExitCode.INCOMPLETE: 7, ExitCode.ERROR: 8, ExitCode.DONE: 9,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Done:
    """What was done about one slot.

    Attributes:
        slot: its moment, in the schedule's time zone.
        did: "started", "resumed", "waiting" (could not start), "missed" or "ended" (its run came
            to its end elsewhere).
        summary: its run with figures, where there is one.
        code: the exit code that `start` would have left with.
        text: the same in words.
        again: whether the same was said of it before.
    """

    schedule: str
    definition: str
    slot: datetime
    did: str
    summary: Summary | None
    code: int
    text: str
    again: bool = False


def worst(codes: Sequence[int]) -> int:
    """Return the exit code that wins over the others."""
    return min(codes, key=lambda code: _OVER.get(code, 8), default=ExitCode.DONE)


def slot_name(slot: datetime) -> str:
    """Return a slot as runs and documents have it: RFC 3339 in UTC."""
    return f"{slot.astimezone(zone_of('UTC')):%Y-%m-%dT%H:%M:%SZ}"


def tolerance(schedule: ScheduleConfig) -> timedelta:
    """Return how late a slot may be started."""
    return schedule.grace_delta if schedule.missed == "run" else PUNCTUAL


def chosen(workspace: Workspace, names: Sequence[str]) -> dict[str, ScheduleConfig]:
    """Return the schedules of these names; without names, all.

    Raises:
        NotFoundError: there is none of this name.
    """
    known = workspace.config.schedules
    for name in names:
        if name not in known:
            raise NotFoundError(
                f"no schedule is named {name!r}",
                did_you_mean(name, known) or f"add [schedules.{name}] to {workspace.config.path}",
            )
    return {name: known[name] for name in names or known}


def pause_after(tries: int) -> timedelta:
    """Return how long to wait after so many tries: 1, 2, 4, 8, then 15 minutes."""
    return timedelta(minutes=min(2 ** min(tries - 1, 4), 15))


def by_hand(workspace: Workspace, schedule: ScheduleConfig, slot: datetime) -> str:
    """Return the command that starts the run of a slot, given in the schedule's time zone."""
    definition = workspace.config.definitions[schedule.definition]
    words = ["msgrun", "start", schedule.definition]
    if schedule.cluster:
        words += ["--cluster", schedule.cluster]
    if wanted := schedule.period or definition.period:
        period = parse_period(wanted, slot.date())
        words += ["--period", period.label if period else "all"]
    return shlex.join(words)


def kind_of(status: RunStatus, code: int) -> NewsKind | None:
    """Return what kind of news it is that a run stands so; None for none."""
    if status is RunStatus.PAUSED:
        return "paused"
    if status is RunStatus.STOPPED:
        return "failed"
    if status is RunStatus.FINISHED:
        return "failed" if code else "finished"
    return None  # it goes on by itself, or a person cancelled it


def said_of(summary: Summary) -> str:
    """Return a run with its figures in one line; figures are messages."""
    run, counts = summary.run, summary.messages
    figures = [f"{counts.sent:,} sent"]
    for word in ("skipped", "rejected", "failed", "in_doubt", "pending", "deferred"):
        if number := getattr(counts, word):
            figures.append(f"{number:,} {word.replace('_', ' ')}")
    why = f" ({run.reason})" if run.reason else ""
    return f"run {run.id} {run.status.value}{why}: {', '.join(figures)}"


def words(delta: timedelta) -> str:
    """Return a time in the largest unit that it is a number of."""
    minutes = int(delta.total_seconds()) // 60
    if minutes % 1440 == 0:
        return f"{minutes // 1440} d"
    return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"
