"""Among more customers than can be compared one by one, a mistyped code still finds its own."""

from pathlib import Path

import pytest
from sqlalchemy import insert

from doctor_world import World
from msgrun.database import Database


@pytest.fixture
def crowd(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Two thousand customers, of whom the first hundred by code are compared."""
    monkeypatch.setattr("msgrun.workspace._COMPARED", 100)
    world = World(database, tmp_path)
    people = [
        {"code": f"K{n:07}", "name": f"Person {n}", "cluster": "DE", "suspended": False}
        for n in range(0, 2_000_000, 1000)
    ]
    with database.write() as connection:
        connection.execute(insert(database.tables.customers), people)
    return world


@pytest.mark.parametrize(
    "typed",
    ["K0777O00", "K077700", "K07770000", "K0777900", "0K777000", "k0777001", "L0777000"],
    ids=["mistaken", "left out", "added", "exchanged", "swapped", "last", "first"],
)
def test_a_slip_finds_the_code(crowd: World, typed: str) -> None:
    workspace = crowd.workspace
    with crowd.database.read() as connection, connection.begin():
        near = workspace.near_customers(connection, typed, 5)

    assert ("K0777000", "Person 777000") in near


@pytest.mark.parametrize("typed", ["", "%", "_______", "x" * 1000, "K%/_'\\"])
def test_any_text_is_taken_as_it_is(crowd: World, typed: str) -> None:
    workspace = crowd.workspace
    with crowd.database.read() as connection, connection.begin():
        assert workspace.source.resembling(connection, typed, limit=10) == []
