"""Runs that are handed over to workers, and workers that have no run."""

from msgrun.migrations.scripts import run_script

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Run the statements written down for this kind of database."""
    run_script(revision)
