"""What the shell completes with: the definitions, runs, clusters and customers that there are.

A shell waits for it, and shows nothing else meanwhile: whatever fails here yields no words.
"""

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from msgrun.workspace import Workspace

_MOST: Final = 100
"""Words that are worth showing."""


def definitions(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the enabled definitions that begin so."""
    found: list[str] = []
    with suppress(Exception):
        known = _workspace(ctx).config.definitions.items()
        found = [name for name, each in known if each.enabled and name.startswith(incomplete)]
    return found


def runs(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the newest runs whose number begins so, with their definition and status."""
    found: list[tuple[str, str]] = []
    with suppress(Exception):
        found = list(_runs(_workspace(ctx), incomplete))
    return found


def clusters(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the clusters that begin so."""
    found: list[str] = []
    with suppress(Exception):
        workspace = _workspace(ctx)
        with workspace.database.read(attach=True) as connection, connection.begin():
            names = workspace.source.cluster_names(connection)
        found = [name for name in names if name.startswith(incomplete)][:_MOST]
    return found


def customers(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the customers whose code begins so, with their names."""
    found: list[tuple[str, str]] = []
    with suppress(Exception):
        workspace = _workspace(ctx)
        with workspace.database.read(attach=True) as connection, connection.begin():
            known = workspace.source.customer_codes(connection, incomplete or None, limit=_MOST)
        found = [(code, name or "") for code, name in known if code.startswith(incomplete)]
    return found


def _runs(workspace: "Workspace", incomplete: str) -> Iterator[tuple[str, str]]:
    from msgrun.ledger.runs import list_runs

    database = workspace.database
    with database.read() as connection, connection.begin():
        newest = list_runs(connection, database.tables, limit=_MOST)
    if "last".startswith(incomplete):
        yield "last", "the newest run"
    fitting = (run for run in newest if str(run.id).startswith(incomplete))
    for run in islice(fitting, _MOST):
        yield str(run.id), f"{run.definition} {run.period_label or ''} {run.status}"


def _workspace(ctx: typer.Context) -> "Workspace":
    from msgrun.config import load_config
    from msgrun.workspace import Workspace

    given = ctx.find_root().params.get("config")
    return Workspace.of(load_config(Path(given) if given else None))
