"""Which earlier runs a planned one is compared with: what each customer got last time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, select

from msgrun.ledger.rows import RunRow
from msgrun.ledger.runs import list_runs, revisions
from msgrun.model import Selection
from msgrun.schema import Tables
from msgrun.states import MessageState, RunStatus

GOT: Final = (MessageState.SENT, MessageState.BOUNCED, MessageState.IN_DOUBT)
"""States of a message that a customer got, or may have got."""

_LOOKED_AT: Final = 200  # runs of the definition, newest first


@dataclass(frozen=True, slots=True)
class LastTime:
    """The runs that made up the last time.

    Attributes:
        run: the one that stands for them.
        period: its label; None for all.
        runs: every run of the same period that sent something: a limited or a single customer's
            one beside it is part of what customers got.
        documents: what it attached.
    """

    run: int
    period: str | None
    created_at: datetime
    runs: tuple[int, ...]
    documents: tuple[str, ...]

    def got(self, tables: Tables) -> ColumnElement[bool]:
        """Return SQL about `message`: it is of these runs, and the customer got it."""
        message = tables.message
        return message.c.run_id.in_(self.runs) & message.c.state.in_(GOT)


def last_time(
    connection: Connection, tables: Tables, definition: str, selection: Selection
) -> LastTime | None:
    """Return what a run of `selection` is to be compared with; None where there is nothing.

    The newest run that was neither redirected nor limited and sent something: before others one
    of the same cluster, and one of another period than the selection's own.
    """
    found = [
        run
        for run in list_runs(connection, tables, limit=_LOOKED_AT, definition=definition)
        if run.selection.redirect_to is None and _sent_any(connection, tables, run)
    ]
    whole = [run for run in found if _stands_for_all(run, selection)]
    if not whole:
        return None
    alike = [run for run in whole if _covers(run.selection) == _covers(selection)] or whole
    others = [run for run in alike if _days(run.selection) != _days(selection)]
    anchor = (others or alike)[0]
    beside = [
        run.id
        for run in found
        if _days(run.selection) == _days(anchor.selection)
        and (anchor.selection.period is not None or run.id == anchor.id)
        and (not run.selection.resend or run.id == anchor.id)
    ]
    frozen = revisions(connection, tables, anchor.id)
    documents: Sequence[str] = frozen[max(frozen)].definition.get("documents", ()) if frozen else ()
    return LastTime(
        anchor.id, anchor.period_label, anchor.created_at, tuple(beside), tuple(documents)
    )


def _stands_for_all(run: RunRow, selection: Selection) -> bool:
    theirs = run.selection
    same = not theirs.customers or set(theirs.customers) == set(selection.customers)
    return theirs.limit is None and same and run.status is not RunStatus.CANCELLED


def _sent_any(connection: Connection, tables: Tables, run: RunRow) -> bool:
    message = tables.message
    one = select(message.c.id).where(message.c.run_id == run.id, message.c.state.in_(GOT)).limit(1)
    return connection.execute(one).first() is not None


def _covers(selection: Selection) -> tuple[Any, ...]:
    return selection.cluster, selection.children


def _days(selection: Selection) -> tuple[Any, ...]:
    period = selection.period
    return (period.start, period.end) if period else ()
