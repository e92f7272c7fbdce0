"""`msgrun evidence`: what the relay did next, by its own log."""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msgrun.cli import completing, options
from msgrun.cli.opening import open_workspace, printer_for

if TYPE_CHECKING:
    from msgrun.control.evidence import Traced
    from msgrun.ledger.rows import RunRow
    from msgrun.ui.text import Printer

Maillog = Annotated[
    list[Path],
    typer.Option(
        "--maillog",
        metavar="FILE",
        help="A Postfix log, or an export of the journal; repeatable, the oldest first.",
    ),
]
Customer = Annotated[
    str | None,
    typer.Option(
        "--customer",
        metavar="CODE",
        help="Only of this customer.",
        autocompletion=completing.customers,
    ),
]
Everything = Annotated[bool, typer.Option("--all", help="Also list what has arrived.")]


def evidence(
    ctx: typer.Context,
    maillog: Maillog,
    run: options.Run = "last",
    customer: Customer = None,
    everything: Everything = False,
    json: options.Json = False,
) -> None:
    """Say what the relay did next with a run's messages, by its own log.

    A message in doubt that the relay has logged did leave: `msgrun resolve … --sent`. Nothing is
    written to the ledger. Exit code 3: the log tells of messages that have not arrived.
    """
    from msgrun.control.evidence import trace
    from msgrun.errors import ExitCode

    workspace = open_workspace(ctx)
    found, messages = trace(workspace, run, maillog, customer=customer)
    counts = Counter[str]()
    if json:
        from msgrun.ui.json import traced_object, write

        for message in messages:
            counts[verdict_of(message)] += 1
            write(traced_object(message, verdict_of(message)), sys.stdout)
    else:
        shown = everything or customer is not None
        _print(printer_for(json=False), found, messages, counts, everything=shown)
    raise typer.Exit(ExitCode.INCOMPLETE if _is_incomplete(counts) else ExitCode.DONE)


def verdict_of(message: "Traced") -> str:
    """Return in a word where a message stands, by the log."""
    if not message.deliveries:
        return "queued" if message.queue_id and message.logged else "not in the log"
    if message.arrived:
        return "sent"
    worst = next(each for each in message.deliveries if each.status != "sent")
    return worst.status


def _is_incomplete(counts: Counter[str]) -> bool:
    return any(counts[word] for word in counts if word not in ("sent", "not in the log"))


def _print(
    printer: "Printer",
    run: "RunRow",
    messages: "Iterator[Traced]",
    counts: Counter[str],
    *,
    everything: bool,
) -> None:
    for message in messages:
        word = verdict_of(message)
        counts[word] += 1
        if everything or word != "sent" or message.state == "in_doubt":
            _print_message(printer, message, word)
    printer.line(f"run {run.id} of {run.definition}, by the relay's log:")
    for word, number in counts.most_common():
        printer.line(f"  {number:>8,}  {word}")
    if counts["not in the log"]:
        printer.line("what is not in the log may stand in an older one: name it before this one")


def _print_message(printer: "Printer", message: "Traced", word: str) -> None:
    queue = message.queue_id or "no queue id"
    printer.line(
        (word, _STYLES.get(word, "yellow")),
        f"  message {message.message}  {message.customer}  {queue}",
    )
    for each in message.deliveries:
        where = f" by {each.relay}" if each.relay and each.relay != "none" else ""
        printer.line(f"  {each.at} {each.address}: {each.status} {each.enhanced}{where}")
        if each.said:
            printer.line(f"    {each.said}")
    if message.state == "in_doubt" and message.logged:
        printer.line(f"  it left: `msgrun resolve {message.message} --sent` settles the doubt")


_STYLES = {"sent": "green", "bounced": "red", "expired": "red", "not in the log": "dim"}
