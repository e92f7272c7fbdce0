"""`msgrun db`: the revision of msgrun's tables."""

from typing import TYPE_CHECKING, Annotated

import typer

from msgrun.cli.opening import Invocation, printer_for

if TYPE_CHECKING:
    from msgrun.database import Database

db = typer.Typer(help="Bring msgrun's tables to this program's revision.", rich_markup_mode=None)

Queue = Annotated[
    bool,
    typer.Option(
        "--queue",
        help="Also the tables of procrastinate, which wakes workers (PostgreSQL, msgrun[workers]).",
    ),
]


@db.command(epilog="Example: msgrun db upgrade")
def upgrade(ctx: typer.Context, queue: Queue = False) -> None:
    """Create msgrun's tables, or bring them up to date."""
    database = _database(ctx)
    revision = database.upgrade()
    printer_for(json=False).line(f"{database.describe()} is at revision {revision}")
    if queue:
        from msgrun.control.waking import SCHEMA, install

        version = install(database)
        printer_for(json=False).line(f"workers are woken by {version}, in schema {SCHEMA}")


@db.command(epilog="Example: msgrun db current")
def current(ctx: typer.Context) -> None:
    """Say which revision the tables are at, and which one this program wants."""
    from msgrun.schema import REVISION

    database = _database(ctx)
    revision = database.current_revision() or "none"
    said = f"{database.describe()} is at revision {revision}; this program wants {REVISION}"
    printer_for(json=False).line(said)


def _database(ctx: typer.Context) -> "Database":
    from msgrun.config import load_config
    from msgrun.workspace import Workspace

    return Workspace.of(load_config(ctx.ensure_object(Invocation).config)).database
