"""Alembic's entry point; always run by `msgrun.migrations.migrate`."""

from alembic import context
from sqlalchemy import text

from msgrun.schema import tables

connection = context.config.attributes["connection"]
dialect = connection.dialect.name
sqlite = dialect == "sqlite"
if not sqlite:
    # Two upgrades at once: the second waits, then finds nothing to do.
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('msgrun migrations'))"))
    connection.execute(text("CREATE SCHEMA IF NOT EXISTS msgrun"))
context.configure(
    connection=connection,
    target_metadata=tables(dialect).metadata,
    version_table="msgrun_version" if sqlite else "version",
    version_table_schema=None if sqlite else "msgrun",
    transactional_ddl=True,
)
context.run_migrations()
