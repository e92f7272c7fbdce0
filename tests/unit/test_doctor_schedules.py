"""Slots of schedules, before and after the clocks change; which runs make up for one."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from doctor_world import TODAY, World
from msgrun.config import ScheduleConfig
from msgrun.database import Database
from msgrun.doctor import Report, diagnose
from msgrun.doctor.findings import Status
from msgrun.doctor.schedules import slots
from msgrun.ledger import slots as slots_seen
from msgrun.states import RunStatus

NOW = datetime(2026, 11, 25, 6, 59, 59, tzinfo=UTC)


def around(cron: str, zone: str, now: datetime) -> list[str]:
    schedule = ScheduleConfig(definition="monthly", cron=cron, timezone=zone)
    return [each.astimezone(UTC).isoformat() if each else "never" for each in slots(schedule, now)]


@pytest.mark.parametrize(
    ("cron", "zone", "now", "last", "following"),
    [
        ("0 7 1 * *", "UTC", NOW, "2026-11-01T07:00", "2026-12-01T07:00"),
        # Berlin is an hour from UTC in winter, two in summer: the change lies between the slots.
        ("0 7 * * *", "Europe/Berlin", "2026-10-25T05:59", "2026-10-24T05:00", "2026-10-25T06:00"),
        ("0 7 * * *", "Europe/Berlin", "2026-10-25T06:00", "2026-10-25T06:00", "2026-10-26T06:00"),
        # 02:30 does not exist on the day when the clocks go forward.
        ("30 2 * * *", "Europe/Berlin", "2026-03-29T12:00", "2026-03-29T01:00", "2026-03-30T00:30"),
        ("0 0 29 2 *", "UTC", NOW, "2024-02-29T00:00", "2028-02-29T00:00"),
    ],
)
def test_slots_are_those_of_the_zone(
    cron: str, zone: str, now: datetime | str, last: str, following: str
) -> None:
    moment = datetime.fromisoformat(f"{now}+00:00") if isinstance(now, str) else now

    assert around(cron, zone, moment) == [f"{last}:00+00:00", f"{following}:00+00:00"]


@pytest.mark.parametrize("cron", ["61 0 * * *", "* * * * mon-xyz", "0 0 0 * *"])
def test_an_impossible_cron_is_a_value_error(cron: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        around(cron, "UTC", NOW)


@pytest.fixture
def world(sqlite_template: Path, tmp_path: Path) -> World:
    path = tmp_path / "msgrun.db"
    path.write_bytes(sqlite_template.read_bytes())
    world = World(Database(f"sqlite:///{path}"), tmp_path)
    # Every first of the month, November's last; whatever the day is on which this is run.
    first = datetime.now(UTC).replace(day=1)
    world.sections["schedules.monthly"] = {
        "definition": "monthly",
        "cron": f"0 0 1 {first.month} *",
        "period": "2026-10",
    }
    return world


def missed(report: Report) -> bool:
    return any(each.code == "MR504" for each in report.findings)


def test_a_slot_without_a_run_is_missed(world: World) -> None:
    assert missed(world.ask(None))
    assert world.ask().primary == "MR504"


def test_a_run_of_the_same_cluster_and_period_makes_up_for_it(world: World) -> None:
    world.move(world.run(), RunStatus.FINISHED)

    assert not missed(world.ask(None))


def test_of_a_paused_schedule_it_is_a_warning_that_says_so(world: World) -> None:
    with world.database.write() as connection:
        tables, first = world.database.tables, datetime(2026, 1, 1, tzinfo=UTC)
        slots_seen.know(connection, tables, "monthly", "x", "UTC", first)
        slots_seen.pause(connection, tables, "monthly", first)

    (finding,) = [each for each in world.ask(None).findings if each.code == "MR504"]

    assert finding.status is Status.WARN
    assert "msgrun schedule resume monthly" in " ".join(finding.evidence)


@pytest.mark.parametrize(
    "selection",
    [
        {"period": "2026-09"},
        {"cluster": "US"},
        {"limit": 1},
        {"customers": ("C1",)},
        {"redirect_to": "me@sender.test"},
    ],
)
def test_another_run_does_not(world: World, selection: dict[str, object]) -> None:
    world.move(world.run(**selection), RunStatus.FINISHED)  # type: ignore[arg-type]

    assert missed(world.ask(None))


@pytest.mark.parametrize(
    ("now", "is_missed"), [("06:59", False), ("07:04", False), ("07:06", True)]
)
def test_without_a_period_a_slot_wants_a_run_of_its_own_a_few_minutes_later(
    world: World, now: str, is_missed: bool
) -> None:
    world.definition["period"] = "all"
    world.sections["schedules.monthly"] = {"definition": "monthly", "cron": "0 7 * * *"}
    moments = [datetime(2026, 11, 24, 7, 1, tzinfo=UTC)]
    clocked = Database(world.database.url.render_as_string(), clock=lambda: moments[-1])
    world.database = clocked
    world.move(world.run(period="all"), RunStatus.FINISHED)
    moments.append(datetime.fromisoformat(f"2026-11-25T{now}+00:00"))

    report = diagnose(replace(world.workspace, database=clocked), None, today=TODAY, offline=True)

    assert missed(report) is is_missed
