"""The SQL of a migration, one file for each database kind."""

from pathlib import Path

from alembic import op


def run_script(revision: str) -> None:
    """Run `sql/REVISION.DIALECT.sql`, statement by statement, in the migration's transaction."""
    dialect = op.get_bind().dialect.name
    script = Path(__file__).parent / "sql" / f"{revision}.{dialect}.sql"
    for statement in script.read_text("utf-8").split(";\n"):
        if statement.strip():
            op.execute(statement)
