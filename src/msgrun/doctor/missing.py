"""Everybody who would not get a message, or has not got one: streamed, a row each."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import Connection, select

from msgrun.doctor.context import Context
from msgrun.doctor.everybody import Named, Namer, reason_of
from msgrun.doctor.places import Places, Row
from msgrun.ledger import views
from msgrun.ledger.rows import RunRow
from msgrun.schema import Tables
from msgrun.source import Live
from msgrun.states import MessageState

_UNSENT = tuple(state for state in MessageState if state is not MessageState.SENT)


@dataclass(frozen=True, slots=True)
class Missing:
    """One customer or invoice without a message.

    Attributes:
        run: the run looked at; None where there is none.
        state: of the run's message; "" where it has none.
    """

    who: Named
    code: str
    definition: str
    run: int | None
    state: str


def missing(
    connection: Connection, tables: Tables, facts: Live, context: Context, places: Places
) -> Iterator[Missing]:
    """Yield what the run has not sent, then what has no message in it for a rule.

    Read page by page: whoever writes the rows down holds no transaction open.

    Args:
        connection: in no transaction.
    """
    run, namer = context.run, Namer(connection, facts)
    if run is not None:
        yield from _unsent(connection, tables, namer, run)
    pages = places.rows()
    while True:
        with connection.begin():
            page = next(pages, None)
            if page is None:
                return
            if run is not None:
                page = _without_message(connection, tables, run, page)
            named = namer([(row.customer, row.invoice) for row in page])
        for row, who in zip(page, named, strict=True):
            yield Missing(who, row.code, context.name, run.id if run else None, "")


def _unsent(connection: Connection, tables: Tables, namer: Namer, run: RunRow) -> Iterator[Missing]:
    messages = views.messages(connection, tables, run_id=run.id, states=_UNSENT)
    while True:
        with connection.begin():
            page = list(islice(messages, views.PAGE))
            pairs = [
                (row, (row.customer, invoice))
                for row in page
                for invoice in row.invoices or (None,)
            ]
            named = namer([pair for _, pair in pairs])
        for (row, _), who in zip(pairs, named, strict=True):
            code = reason_of(row.state, row.reason, run) or ""
            yield Missing(who, code, run.definition, run.id, row.state.value)
        if len(page) < views.PAGE:
            return


def _without_message(
    connection: Connection, tables: Tables, run: RunRow, page: list[Row]
) -> list[Row]:
    """Leave out what the run has a message of: that has been told of."""
    message, link = tables.message, tables.message_invoice
    ids = {row.invoice for row in page if row.invoice is not None}
    codes = {row.customer for row in page if row.invoice is None}
    invoices = select(link.c.invoice).join(message, message.c.id == link.c.message_id)
    billed = invoices.where(link.c.invoice.in_(ids), message.c.run_id == run.id)
    people = select(message.c.customer).where(
        message.c.customer.in_(codes), message.c.run_id == run.id
    )
    told = set(connection.scalars(billed)), set(connection.scalars(people))
    return [
        row
        for row in page
        if (row.invoice not in told[0] if row.invoice is not None else row.customer not in told[1])
    ]
