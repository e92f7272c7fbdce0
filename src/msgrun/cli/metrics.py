"""`msgrun metrics`: figures for Prometheus."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from msgrun.cli.opening import Invocation, open_database

TextFile = Annotated[
    Path | None,
    typer.Option(
        "--textfile",
        metavar="FILE",
        help="Write this file, whole or not at all; for node_exporter its name ends in .prom.",
    ),
]


def metrics(ctx: typer.Context, textfile: TextFile = None) -> None:
    """Print figures for Prometheus: runs, messages, invoices in doubt, workers.

    Meant for cron, with the folder of node_exporter's textfile collector. When the database cannot
    be read, the file stays as it was: alert on msgrun_metrics_timestamp_seconds.
    """
    from msgrun.cli.writing import refuse_overwriting, whole_file
    from msgrun.config import load_config
    from msgrun.ledger.figures import take_figures
    from msgrun.ui.metrics import write_metrics

    if textfile is not None:
        refuse_overwriting(textfile, "--textfile", force=True)
    configured = load_config(ctx.ensure_object(Invocation).config).definitions
    database = open_database(ctx)
    with database.read() as connection, connection.begin():
        figures = take_figures(connection, database)
    if textfile is None:
        write_metrics(figures, configured, sys.stdout)
        return
    with whole_file(textfile, "--textfile", mode=0o644) as stream:
        write_metrics(figures, configured, stream)
