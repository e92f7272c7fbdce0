"""A run's messages with what the billing data has of their invoices, page by page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, select

from msgrun.ledger.messages import invoices_of
from msgrun.ledger.rows import RunRow
from msgrun.states import MessageState, RunStatus
from msgrun.workspace import Workspace

PAGE: Final = 2_000
"""Messages read at once; between two pages no transaction keeps a run's writer waiting."""

_M = MessageState
_COMMON: Final = {_M.REJECTED: "MR506", _M.IN_DOUBT: "MR507", _M.BOUNCED: "MR509"}
_HELD: Final = frozenset({RunStatus.STOPPED, RunStatus.PAUSED, RunStatus.CANCELLED})
_MOST_DIGITS: Final = 40  # of an amount; longer text is none


@dataclass(frozen=True, slots=True)
class Billed:
    """One invoice of a message, as the billing data has it now.

    Attributes:
        number: None for a concept.
        there: False where the billing data has it no longer.
        total: None where it has none, or one that is no number.
    """

    id: str
    number: str | None
    there: bool
    currency: str
    total: Decimal | None


@dataclass(frozen=True, slots=True)
class Reported:
    """One message.

    Attributes:
        reason: the finding code of one that was not sent, or came back.
        to: addresses, as the ledger has them.
        answer: the server's last words with their codes, or what happened in words.
        partly: some of its recipients were refused while others were taken.
        purged: its personal data was taken out.
    """

    id: int
    customer: str
    state: MessageState
    reason: str | None
    to: tuple[str, ...]
    code: int | None
    answer: str
    sent_at: datetime | None
    partly: bool
    purged: bool
    invoices: tuple[Billed, ...]


def read_messages(
    workspace: Workspace, connection: Connection, run: RunRow
) -> Iterator[list[Reported]]:
    """Yield the messages of a run in pages, in order.

    Args:
        workspace: whose billing data says what the invoices come to.
        connection: of `database.read(attach=True)`, in no transaction; none is left open.
        run: whose messages.

    Raises:
        SourceError: the billing data cannot be read (MR006).
    """
    tables = workspace.database.tables
    message = tables.message
    columns = [
        message.c[name]
        for name in (
            *("id", "number", "customer", "recipients", "state", "reason", "detail", "code"),
            *("enhanced", "reply", "refused", "sent_at", "purged_at"),
        )
    ]
    query = select(*columns).where(message.c.run_id == run.id).order_by(message.c.number)
    after = 0
    while True:
        rows = connection.execute(query.where(message.c.number > after).limit(PAGE)).mappings()
        page = rows.all()
        links = invoices_of(connection, tables, [row["id"] for row in page])
        billed = workspace.source.totals(connection, [i for ids in links.values() for i in ids])
        connection.rollback()
        if page:
            yield [_reported(row, run, _invoices(links[row["id"]], billed)) for row in page]
        if len(page) < PAGE:
            return
        after = page[-1]["number"]


def reason_of(state: MessageState, reason: str | None, status: RunStatus) -> str | None:
    """Return the finding code that says why a message was not sent; None for one that was."""
    if reason is not None or state in {_M.SENT, _M.SKIPPED, _M.FAILED}:
        return reason
    if state in _COMMON:
        return _COMMON[state]
    return "MR502" if status in _HELD else "MR505"


def _invoices(ids: Sequence[str], billed: dict[str, Any]) -> tuple[Billed, ...]:
    found = []
    for key in ids:
        row = billed.get(key)
        if row is None:
            found.append(Billed(key, None, there=False, currency="", total=None))
        else:
            currency = (row.currency or "").strip().upper()
            found.append(Billed(key, row.number, True, currency, _amount(row.total)))
    return tuple(found)


def _amount(text: str | None) -> Decimal | None:
    if text is None or len(text) > _MOST_DIGITS:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() and abs(value.adjusted()) < _MOST_DIGITS else None


def _reported(row: RowMapping, run: RunRow, invoices: tuple[Billed, ...]) -> Reported:
    state = MessageState(row["state"])
    parts = (row["code"], row["enhanced"], row["reply"])
    return Reported(
        id=row["id"],
        customer=row["customer"],
        state=state,
        reason=reason_of(state, row["reason"], run.status),
        to=tuple(each["address"] for each in row["recipients"]),
        code=row["code"],
        answer=" ".join(str(part) for part in parts if part) or row["detail"] or "",
        sent_at=row["sent_at"],
        partly=row["refused"] is not None,
        purged=row["purged_at"] is not None,
        invoices=invoices,
    )
