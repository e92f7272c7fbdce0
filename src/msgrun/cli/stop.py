"""`msgrun stop`: nothing new leaves, from any terminal or host."""

import typer

from msgrun.cli import options
from msgrun.cli.opening import finish, open_workspace


def stop(ctx: typer.Context, run: options.Run = "last", json: options.Json = False) -> None:
    """Stop a run: what is in flight finishes, nothing new starts, nothing sent is recalled."""
    from msgrun.control.stop import stop as stop_run

    finish(ctx, stop_run(open_workspace(ctx), run), json=json)
