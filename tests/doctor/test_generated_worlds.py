"""Two or three faults at once: all of them are found, and nothing that is not there."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planting import NOTABLE, ask, planted
from plantings import PLANTINGS, Planting
from sqlalchemy import delete

from doctor_world import World
from msgrun.database import Database
from msgrun.doctor import Report

Office = Callable[[], Any]
QUIET = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(params=["sqlite", "postgresql"])
def new_world(
    request: pytest.FixtureRequest, sqlite_template: Path
) -> Callable[[], Iterator[World]]:
    """Makes a healthy office, as often as one is wanted."""
    kept: Database | None = None
    if request.param == "postgresql":
        kept = request.getfixturevalue("postgresql_database")

    @contextmanager
    def make() -> Iterator[World]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            if kept is None:
                shutil.copyfile(sqlite_template, folder / "msgrun.db")
                yield World(Database(f"sqlite:///{folder / 'msgrun.db'}"), folder)
            else:
                clear(kept)
                yield World(kept, folder)

    return make


@st.composite
def several(draw: st.DrawFn) -> list[Planting]:
    """Two or three plantings that do not stand in each other's way."""
    chosen: list[Planting] = []
    for _ in range(draw(st.integers(2, 3))):
        taken = frozenset[str]().union(*(each.touches for each in chosen))
        free = [each for each in PLANTINGS if not each.touches & taken]
        if free:
            chosen.append(draw(st.sampled_from(free)))
    return chosen


@settings(QUIET, max_examples=25)
@given(chosen=several())
def test_all_planted_faults_are_found_and_no_other(
    new_world: Office, chosen: list[Planting]
) -> None:
    check(new_world, chosen)


@pytest.mark.campaign
@pytest.mark.timeout(1800)
@settings(QUIET, max_examples=200)
@given(chosen=several())
def test_all_planted_faults_are_found_in_many_worlds(
    new_world: Office, chosen: list[Planting]
) -> None:
    check(new_world, chosen)


@pytest.mark.parametrize("alone", PLANTINGS, ids=lambda each: each.name)
def test_each_planting_alone_is_found(
    sqlite_database: Database, tmp_path: Path, alone: Planting
) -> None:
    assert told(World(sqlite_database, tmp_path), [alone]) == expected([alone])


def check(new_world: Office, chosen: Sequence[Planting]) -> None:
    with new_world() as world:
        found = told(world, chosen)

    assert found == expected(chosen), [each.name for each in chosen]


def told(world: World, chosen: Sequence[Planting]) -> set[str]:
    """Plant the faults and return the base codes of what the doctor finds."""
    content: dict[str, Any] = {
        "plant": [dict(step) for each in chosen for step in each.steps],
        "ask": {"offline": not any(each.online for each in chosen)},
    }
    for each in chosen:
        if each.dialogue is not None:
            content["dialogue"] = each.dialogue
        if each.builder:
            content["builder"] = each.builder
    with planted(world, content):
        report: Report = ask(world, content)
    return {each.base for each in report.findings if each.status in NOTABLE}


def expected(chosen: Sequence[Planting]) -> set[str]:
    """Return the base codes of the faults; a run is missing where nothing else holds it up."""
    codes = {each.code for each in chosen}
    return codes if any(each.blocks for each in chosen) else codes | {"MR501"}


def clear(database: Database) -> None:
    """Delete every row of a database, so that it can be used again."""
    with database.write() as connection:
        for table in reversed(database.tables.metadata.sorted_tables):
            connection.execute(delete(table))
