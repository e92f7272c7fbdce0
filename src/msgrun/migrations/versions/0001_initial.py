"""The ledger and msgrun's own source tables."""

from msgrun.migrations.scripts import run_script

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Run the statements written down for this kind of database."""
    run_script(revision)
