"""The migrations make the tables that the code describes, on every database."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, inspect, text
from sqlalchemy.exc import IntegrityError

from msgrun.database import Database, version_table
from msgrun.errors import DatabaseError
from msgrun.migrations import migrate
from msgrun.schema import RELATIONS, REVISION


def set_revision(database: Database, revision: str) -> None:
    name, schema = version_table(database.dialect)
    qualified = name if schema is None else f"{schema}.{name}"
    with database.write() as connection:
        connection.execute(text(f"UPDATE {qualified} SET version_num = :r"), {"r": revision})


def test_the_upgraded_schema_is_the_one_that_the_code_describes(database: Database) -> None:
    version, _ = version_table(database.dialect)
    schema = None if database.is_sqlite else "msgrun"

    def ours(name: str | None, kind: str, parents: dict[str, str | None]) -> bool:
        if kind == "schema":
            return name == schema
        return kind != "table" or name != version

    with database.read() as connection, connection.begin():
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": not database.is_sqlite,
                "include_name": ours,
                "compare_type": True,
                "version_table": version,
                "version_table_schema": schema,
            },
        )
        assert compare_metadata(context, database.tables.metadata) == []


def test_on_sqlite_every_table_has_the_prefix(sqlite_database: Database) -> None:
    with sqlite_database.read() as connection:
        names = inspect(connection).get_table_names()
    assert names
    assert all(name.startswith("msgrun_") for name in names)


def test_on_postgresql_every_table_is_in_our_schema(postgresql_database: Database) -> None:
    with postgresql_database.read() as connection:
        assert inspect(connection).get_table_names(schema="public") == []
        assert set(RELATIONS) < set(inspect(connection).get_table_names(schema="msgrun"))


def test_upgrading_twice_is_harmless(database: Database) -> None:
    with database.write() as connection:
        connection.execute(insert(database.tables.clusters).values(name="All"))
    assert database.upgrade() == REVISION
    assert database.current_revision() == REVISION
    with database.read() as connection, connection.begin():
        assert connection.execute(database.tables.clusters.select()).one().name == "All"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_ledger_of_the_first_version_keeps_its_rows(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    if kind == "postgresql":
        url = request.getfixturevalue("empty_postgresql_url")
    database = Database(url)
    with database.write() as connection:
        migrate(connection, "0001")
        connection.execute(insert(database.tables.clusters).values(name="All"))
    with pytest.raises(DatabaseError, match="wants"):
        database.ensure()
    assert database.upgrade() == REVISION
    with database.read() as connection, connection.begin():
        assert connection.execute(database.tables.clusters.select()).one().name == "All"
        assert connection.execute(database.tables.message.select()).all() == []


@pytest.mark.parametrize(("revision", "word"), [("9999", "newer"), ("0000", "db upgrade")])
def test_a_database_of_another_revision_is_refused(
    database: Database, revision: str, word: str
) -> None:
    set_revision(database, revision)
    with pytest.raises(DatabaseError, match="MR001") as refused:
        database.ensure()
    assert word in f"{refused.value.message} {refused.value.hint}"
    assert database.current_revision() == revision


def test_the_first_use_makes_a_missing_sqlite_ledger(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'new.db'}")
    database.ensure()
    assert database.current_revision() == REVISION


def test_a_missing_ledger_on_postgresql_is_for_db_upgrade_to_make(
    empty_postgresql_url: str,
) -> None:
    database = Database(empty_postgresql_url)
    with pytest.raises(DatabaseError, match="no msgrun tables") as refused:
        database.ensure()
    assert "db upgrade" in refused.value.hint
    assert database.upgrade() == REVISION
    database.ensure()


def test_two_processes_may_make_the_sqlite_ledger_at_once(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    script = f"from msgrun.database import Database; Database('sqlite:///{path}').ensure()"
    both = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    assert Database(f"sqlite:///{path}").current_revision() == REVISION


def test_two_processes_may_upgrade_postgresql_at_once(empty_postgresql_url: str) -> None:
    script = f"from msgrun.database import Database; Database({empty_postgresql_url!r}).upgrade()"
    both = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    assert Database(empty_postgresql_url).current_revision() == REVISION


def test_an_unknown_state_is_refused_by_the_database(database: Database) -> None:
    values = {
        "run_id": 1, "number": 1, "revision": 1, "customer": "C", "recipients": [],
        "state": "delivered", "attempts": 0, "updated_at": datetime.now(UTC),
    }  # fmt: skip
    refused = pytest.raises(IntegrityError, match="message_state_known")
    with refused, database.write() as connection:
        connection.execute(insert(database.tables.message).values(values))
