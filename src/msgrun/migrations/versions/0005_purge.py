"""When the personal data of a run, or of one message, was taken out."""

from msgrun.migrations.scripts import run_script

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Run the statements written down for this kind of database."""
    run_script(revision)
