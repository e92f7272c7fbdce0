"""The sample billing data, and a world that sends to a sink, for every suite of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from billing_data import Billing, fill_own_tables, foreign_billing

from billing_world import World, make_world
from msgrun.database import Database
from msgrun.demo.sink import Sink, running_sink
from msgrun.source import Source


@pytest.fixture(params=["own", "mapped"])
def billing(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> Billing:
    """The sample data, each way it can be held."""
    if request.param == "own":
        fill_own_tables(database)
        return Billing(database, Source(database, {}, tmp_path), mapped=False)
    return foreign_billing(database, tmp_path)


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    with running_sink(tmp_path / "mail") as running:
        yield running


@pytest.fixture
def world(database: Database, tmp_path: Path, sink: Sink) -> World:
    return make_world(database, tmp_path, sink.port)


@pytest.fixture
def long_world(database: Database, tmp_path: Path, sink: Sink) -> World:
    """Return a world whose run takes a few seconds."""
    sink.delay = 0.05
    return make_world(database, tmp_path, sink.port, customers=120)
