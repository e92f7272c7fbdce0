"""Plans, proposals and runs as text."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from msgrun.ledger.census import Seen
from msgrun.ledger.rows import RunRow, Summary
from msgrun.model import Address, Period, Selection
from msgrun.states import RESTARTABLE, RunStatus
from msgrun.ui.text import STYLES, Printer, duration, moment, plural

if TYPE_CHECKING:
    from msgrun.control.restart import Proposal
    from msgrun.planning.draft import Plan
    from msgrun.preflight import Note, Preflight

NAMED: Final = 20
"""So many skipped invoices, changes and notes are named; the rest is counted."""


def title_of(code: str | None) -> str:
    """Return the title of a finding code; "" for one that is none."""
    from msgrun.catalogue import CATALOGUE  # most runs have nothing to name

    entry = CATALOGUE.get(code or "")
    return entry.title if entry else ""


def amount(value: Decimal) -> str:
    """Return a sum of money with two decimals, or as many as it has."""
    decimals = -int(value.normalize().as_tuple().exponent)
    return f"{value:,.{max(decimals, 2)}f}"


def size(number: int) -> str:
    """Return a number of bytes for people."""
    for limit, unit in ((1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")):
        if number >= limit:
            return f"{number / limit:.1f} {unit}"
    return f"{number} bytes"


def selection_fields(selection: Selection, also_bcc: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Return what a run covers, as names and values; `also_bcc` is the definition's own."""
    below = ", with those below it" if selection.children else ", without those below it"
    cluster = f"{selection.cluster}{below}" if selection.cluster else "every customer"
    fields = [("cluster", cluster), ("period", _period(selection.period))]
    if selection.customers:
        fields.append(("customers", ", ".join(selection.customers)))
    if selection.limit is not None:
        fields.append(("limit", plural(selection.limit, "message")))
    bcc = dict.fromkeys((*also_bcc, *selection.bcc))
    if bcc and not selection.redirect_to:
        fields.append(("bcc", ", ".join(bcc)))
    if selection.redirect_to:
        fields.append(("redirect", f"EVERY MESSAGE GOES TO {selection.redirect_to}"))
    if selection.resend:
        fields.append(("resend", "INVOICES THAT WERE SENT BEFORE GO AGAIN"))
    return fields


def _period(period: Period | None) -> str:
    if period is None:
        return "all"
    days = f"{period.start} to {period.end}"
    return days if ".." in period.label else f"{period.label} ({days})"


def print_plan(
    printer: Printer,
    plan: "Plan",
    checked: "Preflight",
    *,
    sender: str,
    server: str,
    rate_per_minute: int,
    bcc: Sequence[str],
    examples: bool,
) -> None:
    """Print what a run would do; with `examples`, also who is skipped."""
    fields = [("from", sender), ("server", server), *selection_fields(plan.selection, bcc)]
    fields.append(("in scope", plural(plan.in_scope, "invoice")))
    fields.append(("to send", _to_send(plan, checked)))
    for currency, total in plan.totals.items():
        fields.append(("total", f"{currency} {amount(total)}".strip()))
    for word, (customer, addresses) in zip(("first", "last"), plan.ends, strict=False):
        fields.append((word, f"{customer} {', '.join(addresses)}"))
    if rate_per_minute and plan.messages > 1:
        seconds = (plan.messages - 1) * 60 / rate_per_minute
        limit = f"at least {duration(seconds)}, at {rate_per_minute:,} a minute"
        fields.append(("time", limit))
    skipped = plan.in_scope - plan.invoices
    if skipped:
        fields.append(("skipped", plural(skipped, "invoice")))
    printer.line(("Plan of ", "bold"), (plan.definition, "bold"))
    printer.fields(fields)
    print_skipped(printer, plan.skipped)
    if plan.held_by:
        for number in plan.held_by:
            printer.line(
                f"  run {number} holds some of them: `msgrun restart {number}` sends those"
            )
    if examples:
        _print_examples(printer, plan)
    print_notes(printer, checked.notes)


def _to_send(plan: "Plan", checked: "Preflight") -> str:
    text = f"{plural(plan.invoices, 'invoice')} in {plural(plan.messages, 'message')}"
    if checked.average_size and plan.messages:
        total = size(checked.average_size * plan.messages)
        text += f", about {size(checked.average_size)} each, {total} together"
    return text


def print_skipped(printer: Printer, skipped: Mapping[str, int]) -> None:
    """Print each reason to skip with its title and number."""
    width = max((len(f"{number:,}") for number in skipped.values()), default=0)
    for code, number in skipped.items():
        printer.line("    ", (code, "bold"), f"  {number:>{width},}  {title_of(code)}")


def _print_examples(printer: Printer, plan: "Plan") -> None:
    named = [
        (code, customer, invoice, title_of(code))
        for code, found in plan.examples.items()
        for customer, invoice in found
    ]
    if not named:
        return
    printer.line()
    printer.line(("Skipped", "bold"))
    printer.table(("", "", "", ""), [("  " + code, *rest) for code, *rest in named[:NAMED]])
    print_more(printer, plan.in_scope - plan.invoices - NAMED)


def print_notes(printer: Printer, notes: Sequence["Note"]) -> None:
    """Print what the pre-flight found about single customers."""
    if not notes:
        return
    printer.line()
    printer.line(("These cannot be composed as they are", "bold"))
    for note in notes[:NAMED]:
        printer.line(f"  {note.code}  {note.customer}  {note.message}")
    print_more(printer, len(notes) - NAMED)


def print_more(printer: Printer, number: int) -> None:
    """Say how many are not named."""
    if number > 0:
        printer.line(f"  and {number:,} more")


def print_proposal(printer: Printer, proposal: "Proposal") -> None:
    """Print what a restart would send, and what today's data changes."""
    run, review = proposal.run, proposal.review
    parts = [f"{proposal.deferred:,} deferred", f"{proposal.never_tried:,} never tried"]
    if review.revived:
        parts.append(f"{len(review.revived):,} that could not be sent before")
    if proposal.resends:
        parts.append(f"{proposal.resends:,} in doubt before, as decided")
    stays = f"; {proposal.in_doubt:,} in doubt stay" if proposal.in_doubt else ""
    printer.line((f"Restart of run {run.id}", "bold"), f" ({run.definition}, {run.status})")
    printer.line(f"  {plural(proposal.to_send, 'message')}: {', '.join(parts)}{stays}")
    if proposal.closed_until is not None:
        until = moment(proposal.closed_until)
        printer.line(f"  the server's daily quota is taken to be used up until {until}:")
        printer.line("  deferred messages wait for that; the others are tried")
    printer.fields(selection_fields(run.selection))
    if review.addresses:
        printer.line("  other addresses than before:")
        for change in review.addresses[:NAMED]:
            before, after = _addresses(change.before), _addresses(change.after)
            printer.line(f"    {change.customer}  {before} → {after}")
        print_more(printer, len(review.addresses) - NAMED)
    if review.excluded:
        printer.line("  no longer sent:")
        for each in review.excluded[:NAMED]:
            what = f"{each.customer}  {each.invoice}  {each.reason}  {title_of(each.reason)}"
            printer.line(f"    {what}")
        print_more(printer, len(review.excluded) - NAMED)
    print_notes(printer, proposal.checked.notes)


def _addresses(addresses: Sequence[Address]) -> str:
    return ", ".join(each.address for each in addresses) or "none"


def print_run(printer: Printer, summary: Summary) -> None:
    """Print a run with its figures."""
    run = summary.run
    status = run.status.value
    printer.line((f"Run {run.id} · {run.definition} · ", "bold"), (status, STYLES.get(status, "")))
    fields = selection_fields(run.selection)
    if run.reason:
        fields.append(("reason", f"{run.reason} {title_of(run.reason)}".strip()))
    if run.detail:
        fields.append(("detail", run.detail))
    if run.schedule:
        fields.append(("schedule", f"{run.schedule}, slot {run.slot}"))
    fields.append(("created", f"{moment(run.created_at)} by {run.created_by}"))
    for name, when in (("started", run.started_at), ("ended", run.finished_at)):
        if when is not None:
            fields.append((name, moment(when)))
    if run.purged_at is not None:
        fields.append(("purged", f"{moment(run.purged_at)}: addresses, names and replies are gone"))
    printer.fields(fields)
    printer.line()
    _print_counts(printer, summary)
    if summary.refused:
        refused = plural(summary.refused, "sent message")
        printer.line(f"{refused} had some of the recipients refused; `msgrun results` names them")
    if not summary.counts.balances:
        printer.line(("The figures do not add up: please report this", "bold red"))
    print_next(printer, summary)


def _print_counts(printer: Printer, summary: Summary) -> None:
    invoices, messages = asdict(summary.counts), asdict(summary.messages)
    always = ("in_scope", "sent", "skipped")
    # Last, so that the reasons stand below it.
    names = [name for name in invoices if name != "skipped"] + ["skipped"]
    rows = [
        (name.replace("_", " "), f"{invoices[name]:,}", f"{messages[name]:,}")
        for name in names
        if name in always or invoices[name] or messages[name]
    ]
    printer.table(("", "invoices", "messages"), rows, right=(1, 2))
    print_skipped(printer, summary.skipped)


def print_next(printer: Printer, summary: Summary) -> None:
    """Print what a person can do about what was not sent."""
    run, counts = summary.run, summary.counts
    steps = []
    if counts.pending + counts.deferred and run.status in RESTARTABLE:
        steps.append(f"`msgrun restart {run.id}` sends what is left")
    if counts.rejected + counts.failed:
        steps.append(f"`msgrun results {run.id} --state rejected --state failed` says why")
    if counts.in_doubt:
        steps.append(f"`msgrun results {run.id} --state in_doubt` lists what is to be looked up,")
        steps.append("`msgrun resolve MESSAGE --sent` or `--resend` settles it")
    if run.status is RunStatus.FINISHED and counts.rejected + counts.failed + counts.skipped:
        steps.append(f"`msgrun restart {run.id} --failed` tries again once the cause is repaired")
    for step in steps:
        printer.line(step)


def print_runs(printer: Printer, runs: Sequence[RunRow]) -> None:
    """Print runs, one a line."""
    if not runs:
        printer.line("there is no run yet; `msgrun start` makes the first")
        return
    rows = [
        (
            str(run.id),
            run.definition,
            run.status.value,
            run.period_label or "all",
            run.selection.cluster or "every customer",
            moment(run.created_at),
            run.created_by,
        )
        for run in runs
    ]
    header = ("run", "definition", "status", "period", "cluster", "created", "by")
    printer.table(header, rows, right=(0,))


def print_workers(printer: Printer, seen: Sequence[Seen]) -> None:
    """Print workers, one a line."""
    if not seen:
        printer.line("no worker is alive; `msgrun worker` starts one (PostgreSQL)")
        return
    rows = [
        (
            str(each.worker.id),
            each.worker.host,
            str(each.worker.pid),
            str(each.worker.run_id or ""),
            each.state.value,
            moment(each.worker.seen_at),
            f"{each.worker.sent:,}",
            f"{each.worker.per_minute:,}",
        )
        for each in seen
    ]
    header = ("worker", "host", "pid", "run", "state", "last sign", "sent", "a minute")
    printer.table(header, rows, right=(0, 2, 3, 6, 7))
