"""Reading the ledger: figures of a run, and its messages page by page."""

from collections.abc import Iterator, Sequence
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

_COUNTED_AS = {
    MessageState.CLAIMED: "pending",
    MessageState.SENDING: "pending",
}


def summarize(connection: Connection, tables: Tables, run: RunRow) -> Summary:
    """Return a run's figures, counted in invoices and in messages."""
    message, link = tables.message, tables.message_invoice
    by_invoice = connection.execute(
        select(message.c.state, message.c.reason, func.count())
        .join(link, link.c.message_id == message.c.id)
        .where(message.c.run_id == run.id)
        .group_by(message.c.state, message.c.reason)
    ).all()
    refused = connection.execute(
        select(func.count()).where(
            message.c.run_id == run.id,
            message.c.state == MessageState.SENT,
            message.c.refused.is_not(None),
        )
    ).scalar_one()
    skipped = {
        reason: number
        for state, reason, number in sorted(by_invoice, key=lambda row: row[1] or "")
        if state == MessageState.SKIPPED
    }
    return Summary(
        run=run,
        counts=_counts((state, number) for state, _, number in by_invoice),
        messages=count_messages(connection, tables, run.id),
        skipped=skipped,
        refused=refused,
    )


def count_messages(connection: Connection, tables: Tables, run_id: int) -> Counts:
    """Return how many messages of a run are in each state; an index alone answers."""
    message = tables.message
    rows = connection.execute(
        select(message.c.state, func.count())
        .where(message.c.run_id == run_id)
        .group_by(message.c.state)
    )
    return _counts((state, number) for state, number in rows)


def _counts(rows: Iterator[tuple[str, int]]) -> Counts:
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
    query = _selected(tables)
    if run_id is not None:
        query = query.where(message.c.run_id == run_id)
    if customer is not None:
        query = query.where(message.c.customer == customer)
    if definition is not None:
        query = query.where(tables.run.c.definition == definition)
    if states:
        query = query.where(message.c.state.in_(states))
    after = 0
    while True:
        page = connection.execute(query.where(message.c.id > after).limit(PAGE)).mappings().all()
        invoices = invoices_of(connection, tables, [row["id"] for row in page])
        for row in page:
            yield _message(row, invoices[row["id"]])
        if len(page) < PAGE:
            return
        after = page[-1]["id"]


def _selected(tables: Tables) -> Select[Any]:
    message, run = tables.message, tables.run
    return (
        select(message, run.c.definition)
        .join(run, run.c.id == message.c.run_id)
        .order_by(message.c.id)
    )


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
