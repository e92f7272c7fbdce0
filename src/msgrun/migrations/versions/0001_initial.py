"""The ledger and msgrun's own source tables."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Run the statements written down for this kind of database."""
    dialect = op.get_bind().dialect.name
    script = Path(__file__).parents[1] / "sql" / f"0001.{dialect}.sql"
    for statement in script.read_text("utf-8").split(";\n"):
        if statement.strip():
            op.execute(statement)
