"""Every finding of the catalogue is found where its fault is planted, and nothing else is."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from planting import WORLDS, Planted, all_worlds, ask, check, opened, planted

from doctor_world import World
from msgrun.catalogue import CATALOGUE
from msgrun.database import Database
from msgrun.doctor import Report
from msgrun.ui.doctor import report_document

EXCUSED: Mapping[str, str] = {}
"""Codes of the catalogue without a world, with the reason."""

CASES = [
    pytest.param(world, kind, id=f"{world.name}-{kind}")
    for world in all_worlds()
    for kind in world.databases
]


@pytest.mark.parametrize(("place", "kind"), CASES)
def test_the_planted_fault_is_found_and_no_other(
    place: Planted, kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    database: Database = request.getfixturevalue(f"{kind}_database")

    with opened(place.content, database, tmp_path) as world, planted(world, place.content):
        report = ask(world, place.content, place.sample)

    check(report, place.code, place.expected)
    json.dumps(report_document(report))


def test_every_code_of_the_catalogue_has_a_world_or_an_excuse() -> None:
    have = {folder.name for folder in WORLDS.iterdir() if any(folder.glob("*.toml"))}

    assert have - set(CATALOGUE) == set()
    assert set(CATALOGUE) - have - set(EXCUSED) == set()
    assert have & set(EXCUSED) == set()
    assert set(EXCUSED) <= set(CATALOGUE)


def test_a_world_of_which_nothing_is_planted_is_told_from_one_that_is(
    sqlite_database: Database, tmp_path: Path
) -> None:
    report: Report = ask(World(sqlite_database, tmp_path), {})
    expected: dict[str, Any] = {"stage": "address", "evidence": ["'invoices'"]}

    with pytest.raises(AssertionError, match="MR106 was not found"):
        check(report, "MR106", expected)
    with pytest.raises(AssertionError, match="MR501"):  # what is there, must be expected
        check(report, "MR501", {"stage": "run", "evidence": ["monthly"], "also": ["MR105"]})
