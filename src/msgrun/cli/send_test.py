"""`msgrun send-test`: one real message, to the operator only."""

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from msgrun.cli import options
from msgrun.cli.opening import open_workspace, printer_for
from msgrun.cli.selecting import check_address, choose_definition

if TYPE_CHECKING:
    from msgrun.control.send_test import Tested
    from msgrun.ui.text import Printer

To = Annotated[
    str, typer.Option("--to", metavar="ME", help="Your own address; nobody else gets anything.")
]
Customer = Annotated[
    str | None,
    typer.Option(
        "--customer", metavar="CODE", help="Whose message to take; else the first one's in scope."
    ),
]


def send_test(
    ctx: typer.Context,
    to: To,
    definition: options.Definition = None,
    customer: Customer = None,
    cluster: options.Cluster = None,
    period: options.PeriodOption = None,
    json: options.Json = False,
) -> None:
    """Send yourself one message exactly as a customer would get it, marked as redirected.

    No run is written and no invoice is taken. Exit code 3: the server did not accept it; 12: the
    server is down.
    """
    from msgrun.control.send_test import send_test as send

    check_address("--to", to)
    workspace = open_workspace(ctx)
    tested = send(
        workspace,
        choose_definition(workspace.config, definition),
        to,
        today=datetime.now().astimezone().date(),
        customer=customer,
        cluster=cluster,
        period=period,
    )
    if json:
        from msgrun.ui.json import tested_document, write

        write(tested_document(tested), sys.stdout)
    _print(printer_for(json=json), tested)
    raise typer.Exit(_exit_code(tested))


def _exit_code(tested: "Tested") -> int:
    from msgrun.errors import ExitCode
    from msgrun.model import Verdict

    verdict = tested.outcome.verdict
    if verdict is Verdict.ACCEPTED:
        return ExitCode.DONE
    return ExitCode.PAUSED if verdict is Verdict.SERVER_FAULT else ExitCode.INCOMPLETE


def _print(printer: "Printer", tested: "Tested") -> None:
    from msgrun.model import Verdict
    from msgrun.transport.answers import classify

    outcome = tested.outcome
    about = f"{tested.customer} {', '.join(tested.invoices)}"
    printer.line(f"{tested.definition}, as for {about}: {tested.size:,} bytes to {tested.to}")
    answer = str(outcome.reply) if outcome.reply is not None else outcome.text
    if outcome.verdict is Verdict.ACCEPTED:
        queue = f", queue id {outcome.queue_id}" if outcome.queue_id else ""
        printer.line(("accepted", "green"), f" by {tested.server}: {answer}{queue}")
        return
    verdict = outcome.verdict.value.replace("_", " ")
    printer.line((verdict, "red"), f" by {tested.server} at {outcome.stage}: {answer}")
    if outcome.reply is not None:
        meaning = classify(outcome.stage, outcome.reply)
        printer.line(f"{meaning.diagnosis}: {meaning.remedy}")
    if outcome.finding:
        printer.line(f"`msgrun doctor` walks through it; `msgrun explain {outcome.finding}`")
