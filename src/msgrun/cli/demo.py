"""`msgrun demo`: the whole story, with nothing set up."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    directory: Annotated[
        Path | None,
        typer.Argument(help="Where to put the workspace; default: a new scratch folder."),
    ] = None,
) -> None:
    """Show everything in under a minute: sample data, a local mail sink, real commands.

    Nothing outside this machine is contacted. The workspace is kept.
    """
    from msgrun.demo.story import tell
    from msgrun.errors import UsageError

    if directory is not None and directory.exists() and any(directory.iterdir()):
        raise UsageError(f"{directory} is not empty", "name a new folder, or none")
    tell(typer.echo, directory)
