"""Options that several commands take."""

from typing import Annotated

import typer

from msgrun.cli import completing

Json = Annotated[bool, typer.Option("--json", help="Print JSON; all else goes to stderr.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Wait = Annotated[
    bool | None,
    typer.Option(
        "--wait/--no-wait",
        help="Wait for deferred messages; the default on a terminal.",
        show_default=False,
    ),
]
Distributed = Annotated[
    bool,
    typer.Option(
        "--distributed",
        help="Leave it to the workers of any host (`msgrun worker`), in place of sending it here.",
    ),
]
Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run's number, or 'last'.", autocompletion=completing.runs
    ),
]
Definition = Annotated[
    str | None,
    typer.Argument(
        metavar="DEF",
        help="The message definition; may be left out if only one.",
        autocompletion=completing.definitions,
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="NAME",
        help="Customers of this cluster and those below it.",
        autocompletion=completing.clusters,
    ),
]
NoChildren = Annotated[bool, typer.Option("--no-children", help="Leave out the clusters below it.")]
PeriodOption = Annotated[
    str | None,
    typer.Option(
        "--period",
        metavar="PERIOD",
        help="2026-10, 2026-10-01..2026-10-31, previous-month or all.",
    ),
]
Customers = Annotated[
    list[str] | None,
    typer.Option(
        "--customer",
        metavar="CODE",
        help="Only this customer; repeatable.",
        autocompletion=completing.customers,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", min=1, help="At most so many messages."),
]
Bcc = Annotated[
    list[str] | None,
    typer.Option("--bcc", metavar="ADDR", help="A blind copy of each message; repeatable."),
]
RedirectTo = Annotated[
    str | None,
    typer.Option(
        "--redirect-to", metavar="ADDR", help="Send every message here instead, marked so."
    ),
]
Resend = Annotated[bool, typer.Option("--resend", help="Also send invoices that were sent before.")]
Processes = Annotated[
    int | None,
    typer.Option(
        "--processes",
        metavar="N",
        min=1,
        max=64,
        help="How many processes work on it: one sends, the others compose. Two for a long run.",
        show_default=False,
    ),
]
