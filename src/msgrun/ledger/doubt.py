"""Messages in doubt, settled by a person: it arrived, or the same bytes are sent again."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, exists, func, select, update

from msgrun.errors import NotFoundError
from msgrun.failpoints import reach
from msgrun.ledger.messages import invoices_of
from msgrun.ledger.rows import Claim
from msgrun.ledger.runs import actor, add_event
from msgrun.schema import Tables
from msgrun.states import MessageState, RunStatus

_MOST_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A message that a person wants to settle.

    Attributes:
        run_id: its run.
        state: where it stands now.
        claim: what it would be composed from; its `resend` is set once it was in doubt.
    """

    run_id: int
    state: MessageState
    claim: Claim


def find(connection: Connection, tables: Tables, reference: str) -> Doubtful:
    """Return the message that a person names, by number or by Message-ID.

    Raises:
        NotFoundError: there is none.
    """
    message = tables.message
    query = select(message)
    if reference.isdecimal() and len(reference) <= _MOST_DIGITS:
        query = query.where(message.c.id == int(reference))
    else:
        query = query.where(message.c.message_id == f"<{reference.strip('<>')}>")
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise NotFoundError(
            f"there is no message '{reference}'",
            "`msgrun results RUN --state in_doubt` lists those in doubt, with their numbers",
        )
    invoices = invoices_of(connection, tables, [row["id"]])[row["id"]]
    claim = Claim.of(row, invoices, not_before=row["updated_at"])
    return Doubtful(row["run_id"], MessageState(row["state"]), claim)


def settle_doubt(
    connection: Connection,
    tables: Tables,
    message: Doubtful,
    *,
    resend: bool,
    because: str,
    now: datetime,
) -> bool:
    """Write a person's decision, with who and when; False when it cannot be carried out any more.

    That is when the message is no longer in doubt, or is to be resent in a cancelled run.
    """
    what = "to be sent again, to the byte" if resend else "taken for sent"
    why = f": {because}" if because else ""
    table = tables.message
    values: dict[str, Any] = {"state": MessageState.SENT, "context": None}
    if resend:
        values = {"state": MessageState.PENDING, "due_at": None, "deadline_at": None}
    told = f"resolved by {actor()}, {what}{why}"
    which = [table.c.id == message.claim.id, table.c.state == MessageState.IN_DOUBT]
    if resend:
        run = tables.run
        which.append(
            exists().where(run.c.id == table.c.run_id, run.c.status != RunStatus.CANCELLED)
        )
    settled = connection.execute(
        update(table)
        .where(*which)
        .values(reason=None, detail=told, token=None, updated_at=now, **values)
    )
    if not settled.rowcount:
        return False
    told = f"message {message.claim.id} ({message.claim.customer}) {what}{why}"
    add_event(connection, tables, message.run_id, "resolved", now, told)
    reach("resolve.writing")
    return True


def count_resends(connection: Connection, tables: Tables, run_id: int) -> int:
    """Return how many unsent messages of a run were in doubt, to be sent again."""
    message = tables.message
    waiting = (MessageState.PENDING, MessageState.DEFERRED)
    number: int = connection.execute(
        select(func.count()).where(
            message.c.run_id == run_id,
            message.c.state.in_(waiting),
            message.c.doubted_at.is_not(None),
        )
    ).scalar_one()
    return number
