"""Reading the ledger: figures of a run, and its messages page by page."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, func, select

from msgrun.ledger.messages import invoices_of
from msgrun.ledger.rows import Counts, MessageRow, RunRow, Summary, addresses_of, refusals_of
from msgrun.model import Reply
from msgrun.schema import Tables
from msgrun.states import MessageState

PAGE = 500
"""Rows read at once; no cursor is held open while somebody looks."""

_SKIPPED = MessageState.SKIPPED.value
_COUNTED_AS = {
    MessageState.CLAIMED: "pending",
    MessageState.SENDING: "pending",
}


def summarize(connection: Connection, tables: Tables, run: RunRow) -> Summary:
    """Return a run's figures, counted in invoices and in messages."""
    message = tables.message
    messages_by_state = _by_state(connection, tables, run.id)
    further = _further_invoices(connection, tables, run.id)
    refused = connection.execute(
        select(func.count()).where(
            message.c.run_id == run.id,
            message.c.state == MessageState.SENT,
            message.c.refused.is_not(None),
        )
    ).scalar_one()
    reasons = connection.execute(
        select(message.c.reason, func.count())
        .where(message.c.run_id == run.id, message.c.state == MessageState.SKIPPED)
        .group_by(message.c.reason)
    )
    skipped = Counter[str | None]({row[0]: row[1] for row in reasons})
    skipped.update({key[1]: each for key, each in further.items() if key[0] == _SKIPPED})
    invoices = [*messages_by_state, *((key[0], number) for key, number in further.items())]
    return Summary(
        run=run,
        counts=_counts(invoices),
        messages=_counts(messages_by_state),
        skipped={code: skipped[code] for code in sorted(filter(None, skipped))},
        refused=refused,
    )


def _further_invoices(
    connection: Connection, tables: Tables, run_id: int
) -> dict[tuple[str, str | None], int]:
    """Return how many invoices a run has beside the first of each message, by state and reason.

    Most messages have one invoice: what an index tells of their links need not be looked up.
    """
    message, link = tables.message, tables.message_invoice
    ends = select(func.min(message.c.id), func.max(message.c.id)).where(message.c.run_id == run_id)
    first, last = connection.execute(ends).one()
    if first is None:
        return {}
    several = (
        select(link.c.message_id, (func.count() - 1).label("further"))
        .where(link.c.message_id.between(first, last))
        .group_by(link.c.message_id)
        .having(func.count() > 1)
        .subquery("several")
    )
    rows = connection.execute(
        select(message.c.state, message.c.reason, func.sum(several.c.further))
        .join(several, several.c.message_id == message.c.id)
        .where(message.c.run_id == run_id)
        .group_by(message.c.state, message.c.reason)
    )
    return {(state, reason): int(number) for state, reason, number in rows}


def count_messages(connection: Connection, tables: Tables, run_id: int) -> Counts:
    """Return how many messages of a run are in each state; an index alone answers."""
    return _counts(_by_state(connection, tables, run_id))


def states_of(connection: Connection, tables: Tables, run_id: int) -> dict[MessageState, int]:
    """Return how many messages of a run are in each state that occurs."""
    return {MessageState(name): n for name, n in _by_state(connection, tables, run_id)}


def _by_state(connection: Connection, tables: Tables, run_id: int) -> list[tuple[str, int]]:
    message = tables.message
    rows = connection.execute(
        select(message.c.state, func.count())
        .where(message.c.run_id == run_id)
        .group_by(message.c.state)
    )
    return [(state, number) for state, number in rows]


def _counts(rows: Iterable[tuple[str, int]]) -> Counts:
    figures = dict.fromkeys(Counts.__dataclass_fields__, 0)
    for name, number in rows:
        state = MessageState(name)
        figures["in_scope"] += number
        figures[_COUNTED_AS.get(state, state.value)] += number
        if state is MessageState.BOUNCED:
            figures["sent"] += number
    return Counts(**figures)


def messages(
    connection: Connection,
    tables: Tables,
    *,
    run_id: int | None = None,
    customer: str | None = None,
    definition: str | None = None,
    states: Sequence[MessageState] = (),
) -> Iterator[MessageRow]:
    """Return messages in order of run and number, read page by page."""
    message = tables.message
    query, place = _selected(tables), message.c.id
    if run_id is not None:
        # The index of a run's numbers yields a page; by id, each would sort the whole run.
        query, place = query.where(message.c.run_id == run_id), message.c.number
    if customer is not None:
        query = query.where(message.c.customer == customer)
    if definition is not None:
        query = query.where(tables.run.c.definition == definition)
    if states:
        query = query.where(message.c.state.in_(states))
    after = 0
    while True:
        rows = connection.execute(query.where(place > after).order_by(place).limit(PAGE))
        page = rows.mappings().all()
        invoices = invoices_of(connection, tables, [row["id"] for row in page])
        for row in page:
            yield _message(row, invoices[row["id"]])
        if len(page) < PAGE:
            return
        after = page[-1][place.name]


def _selected(tables: Tables) -> Select[Any]:
    message, run = tables.message, tables.run
    return select(message, run.c.definition).join(run, run.c.id == message.c.run_id)


def _message(row: RowMapping, invoices: tuple[str, ...]) -> MessageRow:
    code = row["code"]
    reply = None if code is None else Reply(code, row["enhanced"] or "", row["reply"] or "")
    same = (
        "id",
        "run_id",
        "revision",
        "definition",
        "customer",
        "reason",
        "detail",
        "message_id",
        "date",
        "stage",
        "queue_id",
        "attempts",
        "due_at",
        "doubted_at",
        "sent_at",
        "updated_at",
        "purged_at",
    )
    return MessageRow(
        recipients=addresses_of(row["recipients"]),
        invoices=invoices,
        state=MessageState(row["state"]),
        reply=reply,
        answer=str(reply) if reply else row["reply"],
        refused=refusals_of(row["refused"]),
        **{name: row[name] for name in same},
    )


def latest_answers(
    connection: Connection, tables: Tables, run_id: int, since: datetime
) -> list[RowMapping]:
    """Return messages settled since a moment, oldest first, for those who watch from outside."""
    message = tables.message
    rows = connection.execute(
        select(message)
        .where(message.c.run_id == run_id, message.c.updated_at > since)
        .order_by(message.c.updated_at)
        .limit(PAGE)
    )
    return list(rows.mappings())
