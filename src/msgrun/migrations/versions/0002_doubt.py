"""What a resend needs to make the same bytes again; how long a server's quota is used up."""

from msgrun.migrations.scripts import run_script

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Run the statements written down for this kind of database."""
    run_script(revision)
