"""What a report says in words, the same on the page, in the terminal and in JSON."""

from calendar import month_name
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from msgrun.model import Period
from msgrun.report import Report
from msgrun.states import LIVE, MessageState, RunStatus
from msgrun.ui.summary import amount

_M = MessageState

FATES: Final = {
    _M.REJECTED: "refused by the mail server",
    _M.FAILED: "could not be composed",
    _M.SKIPPED: "left out by a rule",
    _M.IN_DOUBT: "in doubt",
    _M.DEFERRED: "put off by the mail server",
    _M.PENDING: "still to be sent",
}
"""What became of invoices that were not sent, the gravest first."""

LABELS: Final = {
    _M.SENT: "sent",
    _M.REJECTED: "refused",
    _M.FAILED: "failed",
    _M.IN_DOUBT: "in doubt",
    _M.DEFERRED: "put off",
    _M.PENDING: "waiting",
    _M.CLAIMED: "waiting",
    _M.SENDING: "waiting",
    _M.BOUNCED: "came back",
    _M.SKIPPED: "left out",
}
"""The states in a word or two, for people who never saw msgrun."""

_STANDING: Final = {
    RunStatus.PLANNED: "The run has not begun yet.",
    RunStatus.RUNNING: "The run is still going.",
    RunStatus.STOPPING: "The run is being stopped.",
    RunStatus.STOPPED: "The run is stopped.",
    RunStatus.PAUSED: "The run has paused because of a fault.",
    RunStatus.WAITING: "The run waits to try some again.",
    RunStatus.CANCELLED: "The run was cancelled.",
}


def outcome(report: Report) -> str:
    """Return what became of a run, in one sentence; a second one where it is not finished."""
    standing = _STANDING.get(report.run.status, "")
    return f"{_outcome(report)} {standing}".strip()


def _outcome(report: Report) -> str:
    counts = report.counts
    if not counts.in_scope:
        return "The run covered no invoice."
    number = f"{counts.in_scope:,} invoice{'' if counts.in_scope == 1 else 's'}"
    so_far = " so far" if report.run.status in LIVE else ""
    if counts.sent == counts.in_scope:
        every = "The one invoice was" if counts.in_scope == 1 else f"All {number} were"
        return f"{every} sent{_came_back(report)}."
    if not counts.sent:
        said = "None of the" if counts.in_scope > 1 else "The one invoice was not sent"
        first = f"{said} {number} was sent{so_far}" if counts.in_scope > 1 else said
    else:
        were = "was" if counts.sent == 1 else "were"
        first = f"{counts.sent:,} of {number} {were} sent{so_far}{_came_back(report)}"
    parts = [
        f"{n:,} {words}" if report.not_sent > 1 else words
        for state, words in FATES.items()
        if (n := getattr(counts, state.value))
    ]
    were = "was" if report.not_sent == 1 else "were"
    rest = f"; {report.not_sent:,} {were} not" if counts.sent else ""
    return f"{first}{rest}: {_listed(parts)}."


def _came_back(report: Report) -> str:
    number = report.counts.bounced
    return f", {number:,} of which came back" if number else ""


def _listed(parts: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def period_words(period: Period | None) -> str:
    """Return a period as people say it: "October 2026", "1 October to 15 November 2026"."""
    if period is None:
        return "all periods"
    start, end = period.start, period.end
    month = f"{month_name[start.month]} {start.year}"
    if len(period.label) == len("2026-10"):
        return month if period.label[5] != "Q" else period.label
    if ".." in period.label:
        return f"{day(start)} to {day(end)}"
    return period.label if start != end else day(start)


def day(when: object) -> str:
    """Return a date as "3 November 2026"."""
    date = when if not isinstance(when, datetime) else when.astimezone(UTC)
    return f"{date.day} {month_name[date.month]} {date.year}"  # type: ignore[attr-defined]


def instant(when: datetime | None) -> str:
    """Return a moment as "3 November 2026, 12:04 UTC"; "" for none."""
    return f"{day(when)}, {when.astimezone(UTC):%H:%M} UTC" if when else ""


def money(value: Decimal) -> str:
    """Return a sum with a true minus sign."""
    return amount(value).replace("-", "\u2212")


def unpriced(report: Report) -> list[str]:
    """Return in words which invoices the amounts leave out."""
    told = []
    for found, why in (
        (report.gone, "no longer in the billing data"),
        (report.unstated, "in the billing data without an amount"),
    ):
        number = found.sent + found.not_sent
        if number:
            are, them = ("is", "it") if number == 1 else ("are", "them")
            of = f" ({found.sent:,} sent, {found.not_sent:,} not sent)"
            told.append(
                f"{number:,} invoice{'' if number == 1 else 's'}{of} {are} {why}; "
                f"the amounts leave {them} out."
            )
    return told
