"""The fixtures of this folder: a private Postfix, and the Chinook example ready to run."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from chinook_store import EXAMPLE, Example, Sent, copy_to_postgresql, place_sqlite
from postfix_server import SEARCH_PATH, Postfix
from sqlalchemy import NullPool, create_engine, make_url

MISSING = "Debian's postfix is not installed; .ci/install-packages installs it"
NOT_ROOT = "only root can start a Postfix"
_numbers = count(1)


@pytest.fixture(scope="session")
def running_postfix() -> Iterator[Postfix]:
    """A Postfix that lives as long as the session."""
    if shutil.which("postfix", path=SEARCH_PATH) is None:
        _do_without(MISSING)
    if os.geteuid() != 0:
        _do_without(NOT_ROOT)
    root = Path(tempfile.mkdtemp(prefix="postfix"))  # pytest's own folders are closed to nobody
    try:
        server = Postfix(root)
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(root)


@pytest.fixture
def postfix(running_postfix: Postfix) -> Postfix:
    """The Postfix with an empty mailbox."""
    running_postfix.drain()
    running_postfix.empty_mailbox()
    return running_postfix


@pytest.fixture(params=["sqlite", "postgresql"])
def example(request: pytest.FixtureRequest, postfix: Postfix, tmp_path: Path) -> Example:
    """The example on each database, its ledger still empty."""
    return _example(request, request.param, postfix, tmp_path)


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def sent(
    request: pytest.FixtureRequest,
    running_postfix: Postfix,
    tmp_path_factory: pytest.TempPathFactory,
) -> Sent:
    """The example on each database after one start: sent once, for the tests that only look."""
    folder = tmp_path_factory.mktemp("sent")
    made = _example(request, request.param, running_postfix, folder)
    before = hashlib.sha256(made.store.read_bytes()).hexdigest()
    running_postfix.drain()
    running_postfix.empty_mailbox()
    shown = json.loads(made.msgrun("start", "statement", "--yes", "--json"))
    running_postfix.drain()
    return Sent(made, shown, before, running_postfix.messages)


def _example(
    request: pytest.FixtureRequest, database: str, server: Postfix, parent: Path
) -> Example:
    folder = parent / "chinook"
    shutil.copytree(EXAMPLE, folder)
    store = place_sqlite(folder)
    if database == "sqlite":
        _edit(folder / "msgrun.toml", "port = 2525", f"port = {server.port}")
        return Example(folder / "msgrun.toml", store)
    config = folder / "msgrun-postgresql.toml"
    url = _new_database(request.getfixturevalue("postgres_url"))
    copy_to_postgresql(store, url)
    _edit(config, "postgresql://localhost/chinook", url)
    _edit(config, "port = 2525", f"port = {server.port}")
    made = Example(config, store)
    made.msgrun("db", "upgrade")
    return made


def _new_database(server: str) -> str:
    """Make a database that goes when the session's server goes; return its URL."""
    name = f"chinook_{next(_numbers)}"
    engine = create_engine(server, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE template0")
    return make_url(server).set(database=name).render_as_string(hide_password=False)


def _edit(config: Path, old: str, new: str) -> None:
    text = config.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{config.name} has {text.count(old)} of {old!r}"
    config.write_text(text.replace(old, new), encoding="utf-8")


def _do_without(reason: str) -> None:
    """Skip for want of a Postfix; in CI, where one is installed before, that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
