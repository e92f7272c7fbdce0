"""Starting what is due: each slot of a schedule at most once, none lost without a word.

A slot goes this way, and every step of it is one transaction:

    nothing ──▶ taken ──▶ started ──▶ ended        its run is over, well or not
                 │  ▲        │ resumed while it may be
                 ▼  │        ▼
               waiting ──▶ missed                  its run did not start in time

- **Taken** by inserting its row (unique: schedule and slot). The run is written later, in one
  transaction with the slot's `run_id`; so a slot has one run at most, whoever tries, and however
  often.
- **The process dies between taking and planning**: the slot stays `taken`. The next call sees at
  once that the process is gone, or on another host after 30 minutes, and takes it over. Should the
  dead one wake, its run is refused, because `tries` is no longer its own.
- **Its run cannot start** (another run of the definition is live, the server is down, a file, the
  configuration or the data is wrong, nobody is selected): `waiting`, with the reason. Every reason
  is tried again, because any of them may be mended: after 1, 2, 4, 8, then every 15 minutes, until
  the slot is too late or the next one has come; then it is `missed`, with that reason.
- **The run was written and its process died**: `started`; the next call resumes it, as
  `start --once` does, however late that is, because half of the customers wait. Deferred messages
  are tried when they are due. One that the server paused is resumed within the grace time. One that
  a person or a signal stopped, or that was paused by the leak guard or for one refusal after the
  other (MR506), is left to a person, and told.
- **Too late** is later than `grace` with `missed = "run"`, later than 5 minutes with "skip". Of
  several slots that passed, the latest alone may still be run.
- **A new schedule** begins with the first call that sees it, as does one whose cron or time zone
  was changed, one that was paused, and one whose definition was disabled.
- **A configuration that cannot be read** ends the call with exit code 2 before any slot is looked
  at; nothing is taken, and the slots are still to be had once it is mended.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from msgrun.config import ScheduleConfig
from msgrun.control.due import (
    Done,
    by_hand,
    chosen,
    kind_of,
    pause_after,
    said_of,
    slot_name,
    tolerance,
    words,
)
from msgrun.control.news import News, NewsKind, Tell, tell_nobody
from msgrun.control.restart import resume
from msgrun.control.start import left_alone, start
from msgrun.control.work import Ending, summary_of
from msgrun.errors import AlreadyRunningError, ExitCode, MsgrunError
from msgrun.events import Listener, ignore
from msgrun.ledger import messages, runs, slots, workers
from msgrun.ledger.rows import RunRow, Summary
from msgrun.ledger.slots import ScheduleRow, SlotRow
from msgrun.states import LIVE, RunStatus, SlotState
from msgrun.timetable import slots_between, zone_of
from msgrun.workspace import Workspace

_MOST_MISSED: Final = 1000
"""So many missed slots are recorded at once, the latest."""

_REFUSED: Final = "MR506"
"""Why a run was paused in which the server refused several recipients in a row."""

S = SlotState
Clock = Callable[[Connection], datetime]


def run_due(
    workspace: Workspace,
    *,
    names: Sequence[str] = (),
    clock: Clock | None = None,
    tell: Tell = tell_nobody,
    listener: Listener = ignore,
) -> Iterator[Done]:
    """Start what is due and resume what was left off; may overlap with itself on any host.

    Args:
        workspace: configuration, database, source.
        names: of schedules; empty for all.
        clock: the time of now; else the database's.
        tell: tells the news of a slot, returns what went wrong with it; see `msgrun.control.news`.
        listener: told what happens in the runs.

    Yields:
        What was done about each slot, as it is done. After an interrupt nothing else is begun.

    Raises:
        NotFoundError: there is no such schedule.
        DatabaseError: the ledger cannot be used.
    """
    for name, schedule in chosen(workspace, names).items():
        office = _Office(workspace, name, schedule, clock or workspace.database.now, tell, listener)
        for done in office.work():
            yield done
            if done.code in (ExitCode.INTERRUPTED, ExitCode.TERMINATED):
                return


@dataclass(frozen=True, slots=True)
class _Office:
    """One schedule at one call."""

    workspace: Workspace
    name: str
    schedule: ScheduleConfig
    clock: Clock
    tell: Tell
    listener: Listener

    def work(self) -> Iterator[Done]:
        database = self.workspace.database
        with database.write() as connection:
            if self._known(connection) is None:
                return
            left = slots.open_slots(connection, database.tables, self.name)
        for row in left:
            if row.state is S.STARTED and (done := self._follow(row)) is not None:
                yield done
        taken, missed = self._take()
        if missed:
            yield self._missed(missed)
        if taken is not None:
            yield self._start(taken)

    def _known(self, connection: Connection) -> ScheduleRow | None:
        """Lock the schedule's row and return it; None when nothing of it is to be run."""
        tables, now = self.workspace.database.tables, self.clock(connection)
        plan = self.schedule
        known = slots.know(connection, tables, self.name, plan.cron, plan.timezone, now)
        if known.paused_at is None and self.workspace.config.definitions[plan.definition].enabled:
            return known
        slots.begin_anew(connection, tables, self.name, now)
        return None

    # A slot whose run is there

    def _follow(self, row: SlotRow) -> Done | None:
        """Resume the run of an earlier slot where that is to be; note its end where it has one."""
        workspace, database = self.workspace, self.workspace.database
        assert row.run_id is not None  # noqa: S101 - written together with the state
        with database.read() as connection, connection.begin():
            now = self.clock(connection)
            run = runs.get_run(connection, database.tables, row.run_id)
            alive = workers.live_workers(connection, database, run.id, run.definition)
            due = messages.next_due(connection, database.tables, run.id)
        going_on = run.status in LIVE or run.status is RunStatus.WAITING
        if (run.status in LIVE and alive) or (going_on and run.distributed):
            return None  # workers take on what was handed over
        if run.status is RunStatus.CANCELLED:
            return self._ended(row, Ending(summary_of(workspace, run.id), code=0), "ended")
        if not self._is_time(row, run, due, now):
            return None
        if run.status not in LIVE:
            try:
                stays = left_alone(workspace, workspace.freeze(run.definition), run)
            except MsgrunError as error:
                return self._not_started(row, error)
            if stays is None and (run.status, run.reason) == (RunStatus.PAUSED, _REFUSED):
                # Each further try would have some more customers refused.
                stays = Ending(summary_of(workspace, run.id))
            if stays is not None:
                return self._stays(row, stays)
        return self._resume(row, run, now)

    def _stays(self, row: SlotRow, stays: Ending) -> Done | None:
        """Note the end of a run, or that it waits for a person; say either once."""
        if stays.summary.run.status in (RunStatus.FINISHED, RunStatus.STOPPED):
            return self._ended(row, Ending(stays.summary), "ended")
        return self._ended(row, stays, "ended") if row.detail is None else None

    def _is_time(self, row: SlotRow, run: RunRow, due: datetime | None, now: datetime) -> bool:
        if run.status is RunStatus.FINISHED:
            return True
        if run.status is RunStatus.WAITING:
            return due is None or due <= now
        if run.status is RunStatus.PAUSED and now > row.slot + self.schedule.grace_delta:
            return False
        return row.due_at is None or row.due_at <= now

    def _resume(self, row: SlotRow, run: RunRow, now: datetime) -> Done | None:
        database = self.workspace.database
        with database.write() as connection:
            due_at = now + pause_after(row.tries)
            claimed = slots.try_again(connection, database.tables, row, due_at)
        if claimed is None:
            return None
        try:
            ending = resume(
                self.workspace, run, wait=False, processes=None,
                distributed=self.schedule.distributed, hasten=False, listener=self.listener,
            )  # fmt: skip
        except AlreadyRunningError:
            return None  # by a person, or by another call
        except MsgrunError as error:
            return self._not_started(claimed, error)
        return self._ended(claimed, ending, "resumed")

    # A slot that has come

    def _take(self) -> tuple[SlotRow | None, list[SlotRow]]:
        """Take the slot that is due, if one is; record those that are not run any more."""
        database, plan = self.workspace.database, self.schedule
        tables = database.tables
        with database.write() as connection:
            known, now = self._known(connection), self.clock(connection)
            if known is None:
                return None, []
            newest = slots.newest(connection, tables, self.name)
            after = max(known.since, newest.slot) if newest else known.since
            due = slots_between(plan.cron, zone_of(plan.timezone), after, now)
            again, missed = self._left(connection, known, now, superseded=bool(due))
            missed += slots.miss(
                connection, tables, self.name, due[:-1][-_MOST_MISSED:], now,
                "nothing looked at it before the next one came",
            )  # fmt: skip
            if not due:
                taken = slots.retake(connection, tables, again, now) if again else None
            elif now - due[-1] <= tolerance(plan):
                taken = slots.take(connection, tables, self.name, due[-1], now)
            else:
                why = f"nothing looked at it within {words(tolerance(plan))}"
                missed += slots.miss(connection, tables, self.name, due[-1:], now, why)
                taken = None
        return taken, missed

    def _left(
        self, connection: Connection, known: ScheduleRow, now: datetime, *, superseded: bool
    ) -> tuple[SlotRow | None, list[SlotRow]]:
        """Return the slot without a run that is to be tried again, and those that are given up."""
        tables = self.workspace.database.tables
        again, missed = None, []
        for row in slots.open_slots(connection, tables, self.name):
            if row.state is S.STARTED or row.is_held(now):
                continue
            why = self._given_up(row, known.since, now, superseded=superseded)
            if not why:
                again = row if row.due_at is None or row.due_at <= now else again
                continue
            told, code = f"{why}: {row.detail}" if row.detail else why, ExitCode.INCOMPLETE
            if slots.note(connection, tables, row, now, code=code, detail=told, over=S.MISSED):
                found = slots.find_slot(connection, tables, self.name, row.slot)
                missed += [found] if found else []
        return again, missed

    def _given_up(self, row: SlotRow, since: datetime, now: datetime, *, superseded: bool) -> str:
        """Return why a slot is not tried again; "" when it is."""
        if row.slot <= since:
            return "the schedule was paused or changed since"
        if superseded:
            return "not started before the next slot came"
        if now - row.slot > tolerance(self.schedule):
            return f"not started within {words(tolerance(self.schedule))}"
        return ""

    def _start(self, row: SlotRow) -> Done:
        workspace, plan = self.workspace, self.schedule
        tables = workspace.database.tables

        def with_slot(writing: Connection, run: RunRow) -> None:
            slots.attach(writing, tables, row, run.id, slot_name(row.slot))

        try:
            ending = start(
                workspace,
                plan.definition,
                workspace.selection(
                    workspace.config.definition(plan.definition),
                    today=self._local(row).date(),
                    cluster=plan.cluster,
                    period=plan.period,
                ),
                confirm=lambda _plan, _checked: True,
                wait=False,
                distributed=plan.distributed,
                within=with_slot,
                listener=self.listener,
            )
        except MsgrunError as error:
            return self._not_started(row, error)
        assert ending is not None  # noqa: S101 - nobody was asked
        return self._ended(row, ending, "started")

    def _not_started(self, row: SlotRow, error: MsgrunError) -> Done:
        """Note why a run did not start or go on, and when it is tried again."""
        database = self.workspace.database
        live = isinstance(error, AlreadyRunningError)
        with database.write() as connection:
            now = self.clock(connection)
            slots.postpone(
                connection, database.tables, row,
                due_at=now if live else now + pause_after(row.tries),
                code=error.exit_code, detail=error.message,
            )  # fmt: skip
            found = slots.find_slot(connection, database.tables, self.name, row.slot) or row
        summary = summary_of(self.workspace, found.run_id) if found.run_id else None
        until = slot_name(row.slot + tolerance(self.schedule))
        text = f"could not start: {error.message}; tried again until {until}"
        if summary is not None:
            text = f"run {summary.run.id} could not go on: {error.message}"
        done = self._done(
            row, "waiting", summary, error.exit_code, text, again=row.detail == error.message
        )
        if not live:
            paused = error.exit_code == ExitCode.PAUSED
            self._tell(done, found, "paused" if paused else "failed", error.hint)
        return done

    # How it came out

    def _ended(self, row: SlotRow, ending: Ending, did: str) -> Done:
        """Note how a slot's run stands; tell it where that is news."""
        database, run = self.workspace.database, ending.summary.run
        over = run.status in (RunStatus.FINISHED, RunStatus.STOPPED, RunStatus.CANCELLED)
        text = ending.note or said_of(ending.summary)
        with database.write() as connection:
            now = self.clock(connection)
            found = slots.find_slot(connection, database.tables, self.name, row.slot) or row
            slots.note(
                connection, database.tables, found, now,
                code=ending.exit_code, detail=text, over=S.ENDED if over else None,
            )  # fmt: skip
        code = ending.exit_code
        if did == "ended" and run.status is RunStatus.STOPPED:
            code = ExitCode.INCOMPLETE
        done = self._done(row, did, ending.summary, code, text)
        kind = kind_of(run.status, code)
        if kind is not None:
            self._tell(done, found, kind, "")
        return done

    def _missed(self, missed: list[SlotRow]) -> Done:
        """Say which slots were missed, in one piece of news."""
        last = max(missed, key=lambda row: row.slot)
        text = f"missed: {last.detail}"
        if len(missed) > 1:
            text += f"; {len(missed) - 1:,} earlier slots were missed, too"
        skipping = self.schedule.missed == "skip"
        code = ExitCode.DONE if skipping else ExitCode.INCOMPLETE
        done = self._done(last, "missed", None, code, text)
        command = by_hand(self.workspace, self.schedule, done.slot)
        self._tell(done, last, "missed", f"`{command}` makes up for it")
        return done

    def _done(
        self, row: SlotRow, did: str, summary: Summary | None, code: int, text: str, *,
        again: bool = False,
    ) -> Done:  # fmt: skip
        local = self._local(row)
        return Done(
            self.name, self.schedule.definition, local, did, summary, code, text, again=again
        )

    def _local(self, row: SlotRow) -> datetime:
        return row.slot.astimezone(zone_of(self.schedule.timezone))

    def _tell(self, done: Done, row: SlotRow, kind: NewsKind, hint: str) -> None:
        """Tell news of a slot, once for each kind, and note what went wrong with it."""
        config, database = self.workspace.config, self.workspace.database
        wanted = config.notify.on if self.schedule.notify is None else self.schedule.notify
        if kind not in wanted or not (config.notify.mail or config.notify.url):
            return
        with database.write() as connection:
            now = self.clock(connection)
            if not slots.tell_once(connection, database.tables, row, kind, now):
                return
        news = News(
            kind, self.name, self.schedule.definition, done.slot, self.schedule.timezone,
            done.text, hint, done.summary,
        )  # fmt: skip
        problems = self.tell(news)
        if not problems:
            return
        # The run's outcome is on record already; this must not change it.
        with suppress(MsgrunError), database.write() as connection:
            problem = "; ".join(problems)
            slots.told_badly(connection, database.tables, row, kind, problem)
            if done.summary is not None:
                run_id, now = done.summary.run.id, self.clock(connection)
                tables = database.tables
                runs.add_event(connection, tables, run_id, "news not delivered", now, problem)
