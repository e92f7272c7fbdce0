"""Figures over all runs, for those who watch msgrun from outside; a look that costs little."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, func, select

from msgrun.database import Database
from msgrun.ledger import runs, views
from msgrun.ledger.census import WorkerState, take_census
from msgrun.ledger.rows import RunRow
from msgrun.schema import Tables
from msgrun.states import MessageState, RunStatus


@dataclass(slots=True)
class OfDefinition:
    """The figures of one definition.

    Attributes:
        runs: how many there are in each status.
        in_doubt: invoices in doubt, in any run.
        last: its newest run.
        messages: of that run, in each state.
        finished: its newest run that finished.
    """

    runs: Counter[RunStatus] = field(default_factory=Counter)
    in_doubt: int = 0
    last: RunRow | None = None
    messages: Counter[MessageState] = field(default_factory=Counter)
    finished: RunRow | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """What there is at one moment.

    Attributes:
        at: by the database's clock.
        definitions: by name.
        workers: how many there are in each state; ended ones left out.
    """

    at: datetime
    definitions: Mapping[str, OfDefinition]
    workers: Mapping[WorkerState, int]


def take_figures(connection: Connection, database: Database) -> Figures:
    """Return the figures of every definition that ever had a run."""
    tables = database.tables
    run = tables.run
    found: dict[str, OfDefinition] = {}
    rows = connection.execute(
        select(run.c.definition, run.c.status, func.count()).group_by(
            run.c.definition, run.c.status
        )
    )
    for name, status, number in rows:
        found.setdefault(name, OfDefinition()).runs[RunStatus(status)] = number
    for name, number in _in_doubt(connection, tables).items():
        found[name].in_doubt = number
    for name, figures in found.items():
        newest = runs.list_runs(connection, tables, limit=1, definition=name)
        figures.last = newest[0]
        figures.messages.update(views.states_of(connection, tables, newest[0].id))
        figures.finished = _finished(connection, tables, name)
    seen = Counter(each.state for each in take_census(connection, database, ended=False))
    return Figures(database.now(connection), found, seen)


def _in_doubt(connection: Connection, tables: Tables) -> dict[str, int]:
    """Return how many invoices of each definition are in doubt; asked run by run, by its index."""
    run, message, link = tables.run, tables.message, tables.message_invoice
    doubtful = (
        select(func.count())
        .select_from(message.join(link, link.c.message_id == message.c.id))
        .where(message.c.run_id == run.c.id, message.c.state == MessageState.IN_DOUBT)
        .correlate(run)
        .scalar_subquery()
    )
    each = select(run.c.definition, doubtful.label("number")).subquery("each")
    rows = connection.execute(
        select(each.c.definition, func.sum(each.c.number)).group_by(each.c.definition)
    )
    return {name: int(number) for name, number in rows}


def _finished(connection: Connection, tables: Tables, definition: str) -> RunRow | None:
    run = tables.run
    row = connection.execute(
        select(run)
        .where(run.c.definition == definition, run.c.status == RunStatus.FINISHED)
        .order_by(run.c.finished_at.desc())
        .limit(1)
    )
    found = row.mappings().one_or_none()
    return RunRow.of(found) if found else None
