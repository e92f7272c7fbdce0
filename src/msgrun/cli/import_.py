"""`msgrun import`: files of customers and invoices into msgrun's own tables."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from msgrun.cli import options
from msgrun.cli.opening import open_workspace, printer_for

Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE...", help="CSV or JSON Lines, named after what it holds: customers.csv."
    ),
]
Replace = Annotated[
    bool, typer.Option("--replace", help="Empty the relations of these files first.")
]


def import_(
    ctx: typer.Context, files: Files, replace: Replace = False, json: options.Json = False
) -> None:
    """Import customers, addresses, clusters, invoices and documents; all or nothing."""
    from msgrun.importing import import_files
    from msgrun.ui import json as documents

    counts = import_files(open_workspace(ctx).database, files, replace=replace)
    if json:
        imported = {relation: asdict(count) for relation, count in counts.items()}
        documents.write({"schema": documents.SCHEMA, "imported": imported}, sys.stdout)
        return
    rows = [
        (relation, f"{count.inserted:,}", f"{count.updated:,}", f"{count.deleted:,}")
        for relation, count in counts.items()
    ]
    header = ("", "new", "updated", "deleted")
    printer_for(json=False).table(header, rows, right=(1, 2, 3))
