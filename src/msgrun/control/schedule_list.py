"""What is known of each schedule: its last slot and that one's run, its next slot."""

from dataclasses import dataclass
from datetime import datetime

from msgrun.config import ScheduleConfig
from msgrun.control.due import PUNCTUAL, chosen
from msgrun.control.schedule import Clock
from msgrun.ledger import runs, slots
from msgrun.ledger.rows import RunRow
from msgrun.ledger.slots import ScheduleRow, SlotRow
from msgrun.states import SlotState
from msgrun.timetable import last_slot, next_slot, zone_of
from msgrun.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Look:
    """One schedule as it stands.

    Attributes:
        enabled: whether its definition is.
        known: None where `run-due` has never looked at it.
        last: its last slot by the calendar, `next` the one to come, in the schedule's time zone.
        state: of the last slot: a `SlotState`; "before" for one from before the schedule was known,
            paused or changed; "due" for one that nobody has taken yet, "overdue" from 5 minutes on.
        row: the last slot as recorded; `run` its run.
    """

    name: str
    schedule: ScheduleConfig
    enabled: bool
    known: ScheduleRow | None
    last: datetime | None
    next: datetime | None
    state: str
    row: SlotRow | None
    run: RunRow | None

    @property
    def missed(self) -> bool:
        """Whether the last slot was missed, or nobody has taken it in time."""
        return self.state in (SlotState.MISSED, "overdue")


def look(
    workspace: Workspace, *, names: tuple[str, ...] = (), clock: Clock | None = None
) -> list[Look]:
    """Return how each schedule stands; nothing is written.

    Raises:
        NotFoundError: there is no schedule of one of these names.
    """
    clock = clock or workspace.database.now
    wanted = chosen(workspace, names)
    tables = workspace.database.tables
    seen = []
    with workspace.database.read() as connection, connection.begin():
        now = clock(connection)
        for name, schedule in wanted.items():
            zone = zone_of(schedule.timezone)
            last = last_slot(schedule.cron, zone, now)
            known = slots.find(connection, tables, name)
            row = slots.find_slot(connection, tables, name, last) if last else None
            run = None
            if row is not None and row.run_id is not None:
                run = runs.get_run(connection, tables, row.run_id)
            seen.append(
                Look(
                    name,
                    schedule,
                    workspace.config.definitions[schedule.definition].enabled,
                    known,
                    last,
                    next_slot(schedule.cron, zone, now),
                    _state(known, last, row, now),
                    row,
                    run,
                )
            )
    return seen


def _state(
    known: ScheduleRow | None, last: datetime | None, row: SlotRow | None, now: datetime
) -> str:
    if row is not None:
        return row.state.value
    if last is None or known is None or last <= known.since or known.paused_at is not None:
        return "before"
    return "due" if now - last <= PUNCTUAL else "overdue"


def pause(workspace: Workspace, name: str, *, paused: bool) -> None:
    """Keep a schedule from starting and resuming anything, or let it go on.

    Raises:
        NotFoundError: there is no such schedule.
    """
    plan = chosen(workspace, [name])[name]
    database = workspace.database
    with database.write() as connection:
        now = database.now(connection)
        known = slots.know(connection, database.tables, name, plan.cron, plan.timezone, now)
        if paused and known.paused_at is None:
            slots.pause(connection, database.tables, name, now)
        elif not paused and known.paused_at is not None:
            slots.unpause(connection, database.tables, name, now)
