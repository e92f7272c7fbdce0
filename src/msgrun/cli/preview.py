"""`msgrun preview`: one message exactly as it would leave; nothing is written or sent."""

import sys
from datetime import datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msgrun.cli import options
from msgrun.cli.opening import open_workspace, printer_for
from msgrun.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from msgrun.ui.text import Printer

Definition = Annotated[str, typer.Argument(metavar="DEF", help="The message definition.")]
Customer = Annotated[str, typer.Argument(metavar="CUSTOMER", help="The customer's code.")]
Invoice = Annotated[
    str | None,
    typer.Option("--invoice", metavar="ID", help="The message with this invoice, by id or number."),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE.eml", help="Write its bytes to a file; - is stdout."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the file of --out.")]
Open = Annotated[
    bool, typer.Option("--open", help="Open it in the default mail program, or a browser.")
]
Resend = Annotated[
    bool, typer.Option("--resend", help="Also what was sent before, or another run holds.")
]


def preview(
    ctx: typer.Context,
    definition: Definition,
    customer: Customer,
    cluster: options.Cluster = None,
    period: options.PeriodOption = None,
    invoice: Invoice = None,
    resend: Resend = False,
    out: Out = None,
    force: Force = False,
    open_: Open = False,
    json: options.Json = False,
) -> None:
    """Show one customer's message exactly as it would leave; nothing is written or sent.

    Message-ID and Date alone are other ones in a run. Exit code 3: the customer would get nothing.
    """
    from msgrun.cli.letter_file import write_letter
    from msgrun.control.preview import preview as look
    from msgrun.ui.json import preview_document, write
    from msgrun.ui.preview import print_preview

    to_stdout = str(out) == "-"
    if to_stdout and json:
        raise UsageError("--out - and --json both want stdout", "name a file after --out")
    if force and (out is None or to_stdout):
        raise UsageError("--force replaces the file of --out, and there is none", "give --out FILE")
    found = look(
        open_workspace(ctx),
        definition,
        customer,
        today=datetime.now().astimezone().date(),
        cluster=cluster,
        period=period,
        invoice=invoice,
        again=resend,
    )
    data = found.message.data if found.message is not None else None
    printer = printer_for(json=json or to_stdout)
    if data is not None and out is not None and not to_stdout:
        write_letter(data, out, force=force)
    if json:
        write(preview_document(found, str(out) if out and data is not None else None), sys.stdout)
    elif not to_stdout or data is None:
        print_preview(printer, found)
    if data is None:
        raise typer.Exit(ExitCode.INCOMPLETE)
    if to_stdout:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    elif out is not None:
        printer.line()
        printer.line(f"written to {out}")
    if open_:
        _open(printer, data, None if to_stdout else out)


def _open(printer: "Printer", data: bytes, out: Path | None) -> None:
    from msgrun.cli.letter_file import kept_letter, open_letter
    from msgrun.ui.letter import read_letter

    file = out or kept_letter(data, "preview.eml")
    letter = read_letter(data)
    page = letter.html or f"<pre>{escape(letter.text)}</pre>"
    program = open_letter(file, page)
    if program:
        printer.line(f"opened in the {program}: {file}")
    else:
        printer.line(f"there is no program here that could open it; the message is in {file}")
