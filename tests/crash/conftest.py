"""Processes that begin at once, and a PostgreSQL server that may be stopped."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from nursery import Nursery, running_nursery
from own_server import OwnServer, Vanishing, running_server

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


@pytest.fixture(params=["sqlite", "postgresql"])
def vanishing(request: pytest.FixtureRequest) -> Iterator[Vanishing]:
    """SQLite: somebody else keeps it locked. PostgreSQL: its server is stopped."""
    if request.param == "sqlite":
        database: Database = request.getfixturevalue("sqlite_database")
        with closing(
            sqlite3.connect(
                database.path, timeout=30, isolation_level=None, check_same_thread=False
            )
        ) as other:
            yield Vanishing(
                database,
                lambda: other.execute("BEGIN IMMEDIATE"),
                lambda: other.execute("ROLLBACK"),
            )
    else:
        server: OwnServer = request.getfixturevalue("own_server")
        yield Vanishing(Database(server.new_database()), server.stop, server.start)
