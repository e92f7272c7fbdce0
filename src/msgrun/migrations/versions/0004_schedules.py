"""Schedules, their slots, and what was told of them."""

from msgrun.migrations.scripts import run_script

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Run the statements written down for this kind of database."""
    run_script(revision)
