"""Slots of schedules: at most one run each, none lost without a word; the clock is passed in."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sending import everybody, recipients

from billing_process import answer_of, launch
from billing_world import World, address, make_world
from msgrun.control.due import Done
from msgrun.control.news import News
from msgrun.control.schedule import run_due
from msgrun.control.schedule_list import look, pause
from msgrun.control.stop import cancel, stop
from msgrun.database import Database
from msgrun.demo.sink import Sink
from msgrun.errors import ExitCode
from msgrun.ledger import slots
from msgrun.states import RunStatus

SLOT = datetime(2026, 11, 1, 6, tzinfo=UTC)  # 07:00 in Amsterdam
BEFORE = SLOT - timedelta(days=1)
HOUR, DAY, MINUTE = timedelta(hours=1), timedelta(days=1), timedelta(minutes=1)

SCHEDULE = """
[schedules.first]
definition = "monthly"
cron = "0 7 1 * *"
timezone = "Europe/Amsterdam"
period = "previous-month"
"""


@dataclass
class Office:
    """A world with a schedule that is known since a day before its slot."""

    world: World
    news: list[News] = field(default_factory=list)

    def at(self, moment: datetime) -> list[Done]:
        """Call `run-due` at a moment."""
        return list(run_due(self.world.workspace, clock=lambda _: moment, tell=self._tell))

    def did(self, moment: datetime) -> list[tuple[str, int]]:
        return [(each.did, each.code) for each in self.at(moment)]

    def _tell(self, news: News) -> list[str]:
        self.news.append(news)
        return []

    def state(self) -> str:
        """Return the state of the slot."""
        tables = self.world.database.tables
        with self.world.database.read() as connection, connection.begin():
            row = slots.find_slot(connection, tables, "first", SLOT)
        return row.state.value if row else "none"


@pytest.fixture
def office(world: World) -> Office:
    return make_office(world)


@pytest.fixture
def desk(sqlite_database: Database, tmp_path: Path, sink: Sink) -> Office:
    """An office on SQLite, where the database makes no difference."""
    return make_office(make_world(sqlite_database, tmp_path, sink.port))


def make_office(world: World, **keys: str) -> Office:
    further = "".join(f'{key} = "{value}"\n' for key, value in keys.items())
    told = '[notify]\nmail = ["ops@acme.test"]\nsender = "billing"\n'
    told += 'on = ["failed", "paused", "missed", "finished"]\n'
    world.reconfigure("[senders.billing]", f"{SCHEDULE}{further}{told}[senders.billing]")
    made = Office(world)
    assert made.did(BEFORE) == []
    return made


def sent_once(sink: Sink) -> bool:
    return Counter(recipients(sink)) == Counter(everybody())


# A slot that comes


def test_a_slot_is_run_once_when_it_has_come(office: Office, sink: Sink) -> None:
    assert office.did(SLOT - MINUTE) == []
    assert office.did(SLOT) == [("started", ExitCode.DONE)]
    assert office.did(SLOT + MINUTE) == []
    assert office.did(SLOT + 2 * DAY) == []

    (run,) = office.world.runs()
    assert (run.schedule, run.slot, run.period_label) == (
        "first",
        "2026-11-01T06:00:00Z",
        "2026-10",
    )
    assert sent_once(sink)
    assert office.state() == "ended"
    assert [each.kind for each in office.news] == ["finished"]


def test_a_schedule_that_was_just_added_runs_no_slot_of_the_past(
    sqlite_database: Database, tmp_path: Path, sink: Sink
) -> None:
    world = make_world(sqlite_database, tmp_path, sink.port)
    world.reconfigure("[senders.billing]", f"{SCHEDULE}[senders.billing]")
    office = Office(world)

    assert office.did(SLOT + MINUTE) == []
    assert office.did(SLOT + 2 * MINUTE) == []
    assert not sink.received


def test_a_changed_timetable_runs_no_slot_of_the_past(desk: Office, sink: Sink) -> None:
    desk.world.reconfigure("0 7 1 * *", "30 6 1 * *")

    assert desk.did(SLOT) == []
    assert desk.did(SLOT + HOUR) == []
    assert not sink.received


@pytest.mark.parametrize(
    ("cron", "now"),
    [
        ("0 7 1 * *", datetime(2026, 12, 1, 5, tzinfo=UTC)),  # an hour before the next slot
        ("30 0 1 * *", datetime(2026, 10, 31, 23, 30, tzinfo=UTC)),  # it is November in Amsterdam
    ],
)
def test_previous_month_is_seen_from_the_slots_day_in_its_time_zone(
    sqlite_database: Database, tmp_path: Path, sink: Sink, cron: str, now: datetime
) -> None:
    desk = make_office(make_world(sqlite_database, tmp_path, sink.port), grace="40d")
    desk.world.reconfigure("0 7 1 * *", cron)
    assert desk.did(BEFORE - DAY) == []

    assert desk.did(now) == [("started", ExitCode.DONE)]
    assert desk.world.runs()[0].period_label == "2026-10"
    assert sent_once(sink)


# A slot that was missed


@pytest.mark.parametrize(
    ("keys", "late", "did"),
    [
        ({"grace": "2h"}, 2 * HOUR, ("started", ExitCode.DONE)),
        ({"grace": "2h"}, 2 * HOUR + MINUTE, ("missed", ExitCode.INCOMPLETE)),
        ({"missed": "skip"}, 5 * MINUTE, ("started", ExitCode.DONE)),
        ({"missed": "skip"}, 6 * MINUTE, ("missed", ExitCode.DONE)),
    ],
)
def test_how_late_a_slot_may_be_run(
    sqlite_database: Database,
    tmp_path: Path,
    sink: Sink,
    keys: dict[str, str],
    late: timedelta,
    did: tuple[str, int],
) -> None:
    world = make_world(sqlite_database, tmp_path, sink.port)
    office = make_office(world, **keys)

    assert office.did(SLOT + late) == [did]
    assert office.did(SLOT + late + MINUTE) == []
    assert [each.kind for each in office.news] == ["finished" if did[0] == "started" else "missed"]


def test_of_several_missed_slots_the_latest_is_run_and_the_others_are_on_record(
    office: Office,
) -> None:
    november, december = SLOT, datetime(2026, 12, 1, 6, tzinfo=UTC)

    assert office.did(december + HOUR) == [
        ("missed", ExitCode.INCOMPLETE),
        # Nothing of November is in the data.
        ("waiting", ExitCode.DOCTOR_ERRORS),
    ]
    assert [(each.kind, each.slot) for each in office.news] == [
        ("missed", november),
        ("failed", december),
    ]
    assert office.state() == "missed"


# A run that cannot start


def test_a_slot_waits_for_a_server_that_is_down_and_is_told_once(
    office: Office, sink: Sink, tmp_path: Path
) -> None:
    office.world.reconfigure(f"port = {sink.port}", "port = 1")

    assert office.did(SLOT) == [("waiting", ExitCode.PAUSED)]
    assert office.did(SLOT + timedelta(seconds=30)) == [], "a minute has not passed"
    assert office.did(SLOT + MINUTE) == [("waiting", ExitCode.PAUSED)]
    assert office.did(SLOT + 2 * MINUTE) == [], "it waits longer each time"
    assert [each.kind for each in office.news] == ["paused"]
    assert not office.world.runs()
    office.world.reconfigure("port = 1", f"port = {sink.port}")

    assert office.did(SLOT + 3 * MINUTE) == [("started", ExitCode.DONE)]
    assert sent_once(sink)


def test_a_slot_that_never_could_start_is_missed_with_the_reason(desk: Office) -> None:
    (desk.world.folder / "monthly.txt").unlink()

    assert desk.did(SLOT) == [("waiting", ExitCode.USAGE)]
    (missed,) = desk.at(SLOT + DAY + MINUTE)
    assert (missed.did, missed.code) == ("missed", ExitCode.INCOMPLETE)
    assert "not started within 1 d" in missed.text
    assert "monthly.txt" in missed.text
    assert [each.kind for each in desk.news] == ["failed", "missed"]


def test_a_slot_waits_for_another_run_of_the_definition(
    office: Office, sink: Sink, tmp_path: Path
) -> None:
    sink.delay = 1
    live = launch(office.world.folder, "start")
    try:
        while not office.world.runs():
            assert live.poll() is None
        assert office.did(SLOT) == [("waiting", ExitCode.ALREADY_RUNNING)]
        assert office.news == [], "it will run: no news yet"
    finally:
        sink.delay = 0
        answer_of(live)
    assert office.did(SLOT) == [("started", ExitCode.DONE)]
    assert sent_once(sink)


# A process that dies


@pytest.mark.parametrize("step", ["recover.committed", "plan.writing"])
def test_a_slot_whose_process_died_before_the_run_was_written_is_run_by_the_next_call(
    office: Office, sink: Sink, step: str
) -> None:
    dead = launch(office.world.folder, "run-due", now=str(SLOT), failpoint=f"{step}=kill")
    dead.communicate(timeout=60)
    assert (office.state(), office.world.runs()) == ("taken", [])

    assert office.did(SLOT + MINUTE) == [("started", ExitCode.DONE)]
    assert sent_once(sink)


def test_a_run_whose_process_died_is_resumed_however_late(office: Office, sink: Sink) -> None:
    late = 3 * DAY
    at = "record.committed=kill@2"
    dead = launch(office.world.folder, "run-due", now=str(SLOT), failpoint=at, lease=1)
    dead.communicate(timeout=60)
    assert office.state() == "started"

    did = office.did(SLOT + late)

    assert [each for each, _ in did] == ["resumed"]
    (run,) = office.world.runs()
    assert run.status is RunStatus.FINISHED
    doubted = [each for each in office.world.messages() if each.state.value == "in_doubt"]
    assert len(sink.received) == len(set(recipients(sink)))
    assert len(sink.received) >= 4 - len(doubted)
    assert office.did(SLOT + late + MINUTE) == []


def test_a_slot_that_another_host_plans_is_left_to_it_for_half_an_hour(office: Office) -> None:
    database = office.world.database
    with database.write() as connection:
        row = slots.take(connection, database.tables, "first", SLOT, SLOT)
        assert row is not None
        connection.execute(database.tables.slot.update().values(host="elsewhere"))

    assert office.did(SLOT + 29 * MINUTE) == []
    assert office.did(SLOT + 31 * MINUTE) == [("started", ExitCode.DONE)]


def test_a_slot_of_a_live_process_is_not_lost_when_that_number_is_anothers(desk: Office) -> None:
    database = desk.world.database
    with database.write() as connection:
        assert slots.take(connection, database.tables, "first", SLOT, SLOT) is not None

    assert desk.did(SLOT + 3 * HOUR) == [], "this process lives, and may still be planning"
    assert desk.did(SLOT + 5 * HOUR) == [("started", ExitCode.DONE)]


def test_a_process_that_wakes_after_its_slot_was_taken_over_writes_no_run(
    office: Office,
) -> None:
    database = office.world.database
    with database.write() as connection:
        old = slots.take(connection, database.tables, "first", SLOT, SLOT)
        assert old is not None
        assert slots.retake(connection, database.tables, old, SLOT + HOUR) is not None

    with database.write() as connection:
        assert slots.retake(connection, database.tables, old, SLOT + HOUR) is None
        with pytest.raises(Exception, match="taken over by another process"):
            slots.attach(connection, database.tables, old, 1, "x")


def test_calls_at_once_send_each_message_once(office: Office, sink: Sink) -> None:
    calls = [launch(office.world.folder, "run-due", now=str(SLOT)) for _ in range(3)]
    did = sorted((answer_of(call)["did"] for call in calls), key=len)

    assert did[0] == []
    assert did[2] == [["started", ExitCode.DONE]]
    assert [call.returncode for call in calls] == [ExitCode.DONE] * 3
    assert len(office.world.runs()) == 1
    assert sent_once(sink)


# A run that has come to rest


def test_deferred_messages_are_tried_when_they_are_due_and_the_end_is_told_once(
    office: Office, sink: Sink
) -> None:
    sink.refuse[address(2)] = "451 4.2.0 later"
    real = datetime.now(UTC)  # deferred until five minutes from now, by the database's clock

    assert office.did(SLOT) == [("started", ExitCode.INCOMPLETE)]
    assert office.world.runs()[0].status is RunStatus.WAITING
    assert office.news == []
    assert office.did(min(SLOT + MINUTE, real)) == [], "not due yet"
    sink.refuse.clear()
    database = office.world.database
    with database.write() as connection:
        message = database.tables.message
        connection.execute(
            message.update().where(message.c.state == "deferred").values(due_at=SLOT)
        )

    assert office.did(SLOT + 2 * MINUTE) == [("resumed", ExitCode.DONE)]
    assert office.did(SLOT + 3 * MINUTE) == []
    assert [each.kind for each in office.news] == ["finished"]
    assert sent_once(sink)


def test_a_paused_run_is_resumed_within_the_grace_time_unless_a_person_has_to_look(
    desk: Office, sink: Sink
) -> None:
    sink.refuse[address(2)] = "451 4.2.0 later"
    desk.at(SLOT)
    sink.refuse.clear()

    def pause_run(reason: str) -> None:
        with desk.world.database.write() as connection:
            run = desk.world.database.tables.run
            connection.execute(run.update().values(status="paused", reason=reason))

    for reason in ("MR512", "MR506"):
        pause_run(reason)
        assert desk.did(SLOT + HOUR) == []
    pause_run("MR603")
    assert desk.did(SLOT + DAY + MINUTE) == []
    assert [each for each, _ in desk.did(SLOT + DAY)] == ["resumed"]


@pytest.mark.parametrize("what", ["stop", "cancel"])
def test_a_run_that_a_person_ends_is_left_to_that_person(
    desk: Office, sink: Sink, what: str
) -> None:
    sink.refuse[address(2)] = "451 4.2.0 later"
    desk.at(SLOT)
    stop(desk.world.workspace, "last")
    if what == "cancel":
        cancel(desk.world.workspace, "last")
    sink.refuse.clear()

    did = desk.did(SLOT + HOUR)

    assert [each for each, _ in did] == ["ended"]
    assert [each.kind for each in desk.news] == (["failed"] if what == "stop" else [])
    assert desk.did(SLOT + 2 * HOUR) == []
    assert len(sink.received) == 3


# Pausing and looking


def test_a_paused_schedule_starts_nothing_and_goes_on_with_its_next_slot(
    desk: Office, sink: Sink
) -> None:
    pause(desk.world.workspace, "first", paused=True)
    assert desk.did(SLOT) == []
    (seen,) = look(desk.world.workspace, clock=lambda _: SLOT + HOUR)
    assert (seen.state, seen.missed) == ("before", False)
    with desk.world.database.write() as connection:
        slots.unpause(connection, desk.world.database.tables, "first", SLOT + HOUR)

    assert desk.did(SLOT + 2 * HOUR) == []
    assert not sink.received


def test_a_disabled_definition_has_no_slots(desk: Office, sink: Sink) -> None:
    desk.world.reconfigure(
        'recipient_key = "invoice"', 'recipient_key = "invoice"\nenabled = false'
    )
    assert desk.did(SLOT) == []
    desk.world.reconfigure("\nenabled = false", "")

    assert desk.did(SLOT + MINUTE) == []
    assert not sink.received


def test_the_list_says_what_has_become_of_the_last_slot(desk: Office) -> None:
    workspace = desk.world.workspace

    def state(moment: datetime) -> tuple[str, bool]:
        (seen,) = look(workspace, clock=lambda _: moment)
        return seen.state, seen.missed

    assert state(BEFORE) == ("before", False)
    assert state(SLOT + MINUTE) == ("due", False)
    assert state(SLOT + HOUR) == ("overdue", True)
    desk.at(SLOT + HOUR)
    (seen,) = look(workspace, clock=lambda _: SLOT + HOUR)
    assert seen.run is not None
    assert (seen.state, seen.run.status, seen.next) == (
        "ended",
        RunStatus.FINISHED,
        datetime(2026, 12, 1, 6, tzinfo=UTC),
    )


def test_on_postgresql_a_schedule_may_hand_over_to_workers(
    postgresql_database: Database, tmp_path: Path, sink: Sink
) -> None:
    office = make_office(make_world(postgresql_database, tmp_path, sink.port))
    office.world.reconfigure('"previous-month"', '"previous-month"\ndistributed = true')

    assert office.did(SLOT) == [("started", ExitCode.DONE)]
    assert (office.state(), len(sink.received)) == ("started", 0)
    assert office.did(SLOT + MINUTE) == [], "workers take it on"
    answer_of(launch(office.world.folder, "worker-until-idle"))

    assert office.did(SLOT + 2 * MINUTE) == [("ended", ExitCode.DONE)]
    assert [each.kind for each in office.news] == ["finished"]
    assert sent_once(sink)
