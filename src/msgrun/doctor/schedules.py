"""Schedules whose last slot went by without a run (MR504)."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from msgrun.config import ScheduleConfig
from msgrun.doctor.context import Context
from msgrun.doctor.findings import Finding, Stage, Status, found
from msgrun.doctor.words import start_command
from msgrun.ledger import runs
from msgrun.ledger import slots as slots_seen
from msgrun.ledger.rows import RunRow
from msgrun.model import Selection
from msgrun.selection import parse_period
from msgrun.timetable import last_slot, next_slot, zone_of
from msgrun.workspace import Workspace

GRACE: Final = timedelta(minutes=5)
"""A slot that has only just come may still be started."""

_RUNS: Final = 1000  # so many runs of a definition are looked through


def missed_schedules(
    connection: Connection, workspace: Workspace, context: Context, now: datetime
) -> list[Finding]:
    """Return MR504 for each schedule of a definition whose last slot made no run.

    A run fits when it is of the same cluster and period. One that a person started for that
    very period counts too, whenever that was; where the schedule has no period, it has to be
    of the slot or later. Redirected and limited runs, and those of single customers, do not.

    Args:
        connection: in a transaction that reads.
        now: the database's clock.
    """
    mine = {
        name: schedule
        for name, schedule in workspace.config.schedules.items()
        if schedule.definition == context.name
    }
    if not mine or context.today is None or not context.today.enabled:
        return []
    earlier = runs.list_runs(
        connection, workspace.database.tables, limit=_RUNS, definition=context.name
    )
    findings = []
    for name, schedule in mine.items():
        known = slots_seen.find(connection, workspace.database.tables, name)
        paused = "" if known is None or known.paused_at is None else str(known.paused_by)
        findings += list(_look_at(workspace, context, name, schedule, earlier, now, paused))
    return findings


def slots(schedule: ScheduleConfig, now: datetime) -> tuple[datetime | None, datetime | None]:
    """Return the last slot at or before `now` and the next one after it, in the schedule's zone."""
    zone = zone_of(schedule.timezone)
    return last_slot(schedule.cron, zone, now), next_slot(schedule.cron, zone, now)


def _look_at(
    workspace: Workspace,
    context: Context,
    name: str,
    schedule: ScheduleConfig,
    earlier: list[RunRow],
    now: datetime,
    paused: str,
) -> Iterator[Finding]:
    last, following = slots(schedule, now - GRACE)
    if last is None:
        return
    definition = workspace.config.definitions[context.name]
    period = schedule.period or definition.period
    wanted = Selection(
        cluster=schedule.cluster or definition.cluster,
        period=parse_period(period, last.date()) if period else None,
    )
    if any(_fits(run, wanted, last) for run in earlier):
        return
    skipping = schedule.missed == "skip"
    yield found(
        "MR504", Stage.RUN,
        f"schedule '{name}' ({schedule.cron}): last slot {_shown(last, schedule)}, "
        f"next {_shown(following, schedule)}",
        f"no run of '{context.name}' for {wanted.period.label if wanted.period else 'it'} "
        "has been made since",
        'missed = "skip": it is not made up for' if skipping else "",
        f"paused by {paused}: `msgrun schedule resume {name}` lets it go on" if paused else "",
        status=Status.WARN if skipping or paused else Status.FAIL, subject=name,
        remedy=f"{_start(context, wanted)}; then see why cron did not start it",
        cause=f"the schedule '{name}' missed its slot of {_shown(last, schedule)}",
    )  # fmt: skip


def _fits(run: RunRow, wanted: Selection, slot: datetime) -> bool:
    selection = run.selection
    if selection.redirect_to is not None or selection.customers or selection.limit is not None:
        return False
    if selection.cluster != wanted.cluster:
        return False
    if wanted.period is None or selection.period is None:
        return selection.period == wanted.period and run.created_at >= slot
    theirs, ours = selection.period, wanted.period
    return (theirs.start, theirs.end) == (ours.start, ours.end)


def _start(context: Context, wanted: Selection) -> str:
    return start_command(Context(context.name, context.frozen, context.today, selection=wanted))


def _shown(moment: datetime | None, schedule: ScheduleConfig) -> str:
    if moment is None:
        return "never"
    return f"{moment:%Y-%m-%d %H:%M} {schedule.timezone}"
