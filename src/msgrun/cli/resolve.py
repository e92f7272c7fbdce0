"""`msgrun resolve`: a person settles messages in doubt."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from msgrun.cli import options
from msgrun.cli.opening import open_workspace, printer_for
from msgrun.errors import UsageError

if TYPE_CHECKING:
    from msgrun.control.resolve import Resolved
    from msgrun.ui.text import Printer

Messages = Annotated[
    list[str], typer.Argument(metavar="MESSAGE…", help="Numbers (see `results`) or Message-IDs.")
]
Sent = Annotated[bool, typer.Option("--sent", help="It arrived: take it for sent.")]
Resend = Annotated[
    bool,
    typer.Option(
        "--resend", help="It did not arrive: send the same bytes again, at the next restart."
    ),
]
Because = Annotated[
    str, typer.Option("--because", metavar="TEXT", help="Why; kept with your name and the time.")
]


def resolve(
    ctx: typer.Context,
    messages: Messages,
    sent: Sent = False,
    resend: Resend = False,
    because: Because = "",
    json: options.Json = False,
) -> None:
    """Settle messages in doubt: they arrived, or the same bytes are sent again."""
    from msgrun.control.resolve import resolve as resolve_messages

    if sent == resend:
        raise UsageError(
            "did they arrive? Give --sent or --resend, one of the two",
            "look for the Message-ID in the mail server's log: "
            "`msgrun results RUN --state in_doubt --json` has it",
        )
    workspace = open_workspace(ctx)
    done = resolve_messages(workspace, messages, resend=resend, because=because)
    if json:
        from msgrun.ui.json import resolved_document, write

        write(resolved_document(done), sys.stdout)
    _print(printer_for(json=json), done)


def _print(printer: "Printer", done: "list[Resolved]") -> None:
    for each in done:
        printer.line(f"message {each.message} ({each.customer}): {each.state}")
    for run in dict.fromkeys(each.run for each in done if each.state == "pending"):
        printer.line(f"`msgrun restart {run}` sends what is to be sent again")
