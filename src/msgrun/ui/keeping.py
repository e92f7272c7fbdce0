"""What happened to runs, and what is taken out of old ones, as text."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgrun.ledger.purge import Order, Survey
from msgrun.ui.summary import NAMED, print_more
from msgrun.ui.text import Printer, moment, plural


def print_events(printer: Printer, events: Sequence[Mapping[str, Any]]) -> None:
    """Print events, one a line."""
    if not events:
        printer.line("nothing has happened yet; `msgrun start` makes the first run")
        return
    rows = [
        (
            moment(each["at"]),
            str(each["run_id"]),
            each["definition"],
            each["kind"],
            each["actor"],
            each["detail"] or "",
        )
        for each in events
    ]
    printer.table(("at", "run", "definition", "what", "who", "detail"), rows, right=(1,))


def print_purge(printer: Printer, survey: Survey, order: Order) -> None:
    """Print what a purge takes out, what it leaves alone, and why."""
    whose = "every customer" if order.customer is None else f"customer {order.customer}"
    since = f" in runs that ended before {moment(order.before)}" if order.before else ""
    printer.line(("Purge of ", "bold"), (f"{whose}{since}", "bold"))
    rows = [
        (str(each.run.id), each.run.definition, moment(each.run.finished_at), f"{each.messages:,}")
        for each in survey.runs
        if each.messages or not each.in_doubt
    ]
    if rows:
        printer.table(("run", "definition", "ended", "messages"), rows[:NAMED], right=(0, 3))
        print_more(printer, len(rows) - NAMED)
        codes = {"keep": "customer codes, ", "hash": "hashed customer codes, "}.get(order.codes, "")
        printer.line("  goes   addresses, names, the words of replies, free text")
        printer.line(
            f"  stays  counts, states, {codes}invoice ids, Message-IDs, reply codes, times"
        )
    for each in survey.runs:
        if each.in_doubt:
            printer.line(
                f"  run {each.run.id}: {plural(each.in_doubt, 'message')} in doubt left alone; "
                "settle them with `msgrun resolve`"
            )
    for run in survey.left[:NAMED]:
        printer.line(
            f"  run {run.id} ({run.definition}, {run.status}) left alone: it may still send; "
            f"`msgrun cancel {run.id}` gives it up"
        )
    print_more(printer, len(survey.left) - NAMED)
