"""The report as a few lines in the terminal."""

from msgrun.report import Report
from msgrun.states import MessageState
from msgrun.ui.report import chart, words
from msgrun.ui.summary import title_of
from msgrun.ui.text import STYLES, Printer

_NAMED = 5


def print_report(printer: Printer, report: Report) -> None:
    """Print outcome, amounts, reasons, rate and the largest providers."""
    run = report.run
    period = words.period_words(run.selection.period)
    printer.line((f"Run {run.id} · {run.definition} · {period}", "bold"))
    printer.line(words.outcome(report))
    if run.selection.redirect_to:
        printer.line(("EVERY MESSAGE WENT TO ", "bold"), run.selection.redirect_to)
    if report.purged:
        printer.line(f"{report.purged:,} of its messages were purged of personal data")
    if report.money:
        rows = [
            (f"  {currency or 'no currency'}", words.money(each.sent), words.money(each.not_sent))
            for currency, each in report.money.items()
        ]
        printer.line()
        printer.table(("amounts", "sent", "not sent"), rows, right=(1, 2))
    for line in words.unpriced(report):
        printer.line(f"  {line}")
    _print_reasons(printer, report)
    printer.line()
    printer.line(chart.summary(report.timeline))
    _print_providers(printer, report)
    printer.line(f"`msgrun report {run.id} --html run-{run.id}.html` makes a page of it")


def _print_reasons(printer: Printer, report: Report) -> None:
    if not report.reasons:
        return
    printer.line()
    printer.line(("Why invoices were not sent", "bold"))
    width = max(len(f"{each.invoices:,}") for each in report.reasons)
    for each in report.reasons:
        label = words.LABELS[each.state]
        printer.line(
            f"  {each.invoices:>{width},}  ",
            (each.code or "", "bold"),
            f"  {title_of(each.code) or 'no reason was recorded'} · ",
            (label, STYLES.get(each.state, "")),
        )
        for answer, number in each.answers:
            times = f" × {number:,}" if number > 1 else ""
            printer.line(f"  {' ' * width}  {answer}{times}")


def _print_providers(printer: Printer, report: Report) -> None:
    if not report.providers:
        return
    accepted = (MessageState.SENT, MessageState.BOUNCED)
    rows = []
    for each in report.providers[:_NAMED]:
        name = "all others" if each.name is None else each.name or "purged"
        taken = sum(each.states.get(state, 0) for state in accepted)
        answer = each.answers[0][0] if each.answers else ""
        rows.append((f"  {name}", f"{each.messages:,}", f"{taken:,}", answer))
    printer.line()
    printer.table(("providers", "messages", "accepted", "commonest answer"), rows, right=(1, 2))
    more = len(report.providers) - _NAMED
    if more > 0:
        printer.line(f"  and {more:,} more on the page")
