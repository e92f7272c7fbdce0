"""Processes that begin at once, and a PostgreSQL server that may be stopped."""

from collections.abc import Iterator

import pytest
from nursery import Nursery, running_nursery
from own_server import OwnServer, running_server

from msgrun.database import Database


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where this session's short-lived processes come from."""
    with running_nursery() as running:
        yield running


@pytest.fixture(scope="session")
def _own_server() -> Iterator[OwnServer]:
    with running_server() as server:
        Database(server.url("msgrun_template")).upgrade()
        yield server


@pytest.fixture
def own_server(_own_server: OwnServer) -> Iterator[OwnServer]:
    """A PostgreSQL server that a test may stop; it runs again afterwards."""
    yield _own_server
    _own_server.start()
