"""Message rows: claimed, intended, released. Every write is guarded by state and token.

Every write may be repeated: when a COMMIT is in doubt the same write is simply made again.
What came of a try is written by `ledger.settling`.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    Text,
    Update,
    bindparam,
    case,
    exists,
    func,
    literal,
    null,
    select,
    tuple_,
    type_coerce,
    update,
)
from sqlalchemy.engine.interfaces import Dialect

from msgrun.failpoints import reach
from msgrun.ledger.many import Given, ManyRows
from msgrun.ledger.rows import Claim
from msgrun.ledger.servers import take_permits
from msgrun.schema import Tables
from msgrun.states import MessageState, RunStatus

M = MessageState

_CHUNK: Final = 10_000  # ids named in one statement; PostgreSQL takes 65,535 at most


def claim(
    connection: Connection,
    tables: Tables,
    *,
    run_id: int,
    server: str,
    token: int,
    wanted: int,
    every: timedelta,
    now: datetime,
    lease: timedelta,
    held: Collection[int] = (),
    after: int = 0,
) -> Sequence[Claim]:
    """Take up to `wanted` pending messages of a run, each with a permit of the server's rate.

    Nothing is taken for a worker that was signed off: others hold it for dead, and
    nobody would find its claims again. Nor what the worker still holds: its token is the
    same for all its claims, so that the end of one (a release made again because its COMMIT
    was in doubt) would undo the next, dot and all.

    Args:
        after: only messages whose number in the run is higher. While somebody reads an old state
            of the database, PostgreSQL keeps what was pending in the index: a claim from the
            start goes through all of it.
    """
    message, worker = tables.message, tables.worker
    # Locked, so that a take-over either sees these claims or is seen here.
    alive = select(worker.c.id).where(worker.c.id == token, worker.c.ended_at.is_(None))
    if connection.execute(alive.with_for_update(read=True)).first() is None:
        return []
    pending = connection.execute(
        _pending(tables, run_id, after).limit(wanted).with_for_update(skip_locked=True)
    )
    ids = [key for key in pending.scalars() if key not in held]
    if not ids:
        return []
    moments = take_permits(connection, tables, server, len(ids), every, now)
    taken = dict(zip(ids, moments, strict=False))
    rows = connection.execute(
        update(message)
        .where(message.c.id.in_(taken), message.c.state == M.PENDING)
        .values(state=M.CLAIMED, token=token, lease_until=now + lease, updated_at=now)
        .returning(*(message.c[name] for name in Claim.COLUMNS))
    ).mappings()
    claimed = {row["id"]: row for row in rows}
    reach("claim.writing")
    invoices = invoices_of(connection, tables, list(claimed))
    return [
        Claim.of(row, invoices[key], taken[key])
        for key, row in sorted(claimed.items(), key=lambda item: item[1]["number"])
    ]


def _pending(tables: Tables, run_id: int, after: int) -> Select[Any]:
    """Return the ids of pending messages behind a number, in the order of their numbers.

    Compared and ordered so, PostgreSQL can use the index by state alone: by the one of numbers
    it would walk, at each claim, past all that was sent before.
    """
    message = tables.message
    place = tuple_(message.c.state, message.c.number)
    return (
        select(message.c.id)
        .where(
            message.c.run_id == run_id,
            place > tuple_(literal(str(M.PENDING)), literal(after)),
            message.c.state <= M.PENDING,
        )
        .order_by(message.c.state, message.c.number)
    )


def invoices_of(
    connection: Connection, tables: Tables, messages: Collection[int]
) -> dict[int, tuple[str, ...]]:
    """Return the invoice ids of messages, in order."""
    link = tables.message_invoice
    found: dict[int, list[str]] = {key: [] for key in messages}
    rows = connection.execute(
        select(link.c.message_id, link.c.invoice)
        .where(link.c.message_id.in_(messages))
        .order_by(link.c.message_id, link.c.invoice)
    )
    for key, invoice in rows:
        found[key].append(invoice)
    return {key: tuple(ids) for key, ids in found.items()}


def wake_deferred(connection: Connection, tables: Tables, run_id: int, now: datetime) -> None:
    """Move deferred messages whose time has come to pending; past their deadline, to rejected.

    A resend of one that was in doubt goes back there: nobody knows of the first copy.
    """
    message = tables.message
    due = (message.c.run_id == run_id, message.c.state == M.DEFERRED, message.c.due_at <= now)
    late = (*due, message.c.deadline_at <= now)
    give_up_resends(connection, tables, late, now)
    rejected = connection.execute(
        update(message)
        .where(*late)
        .values(state=M.REJECTED, reason="MR513", updated_at=now)
        .returning(message.c.id)
    )
    hold(connection, tables, list(rejected.scalars()), holds=False)
    connection.execute(update(message).where(*due).values(state=M.PENDING, updated_at=now))


def give_up_resends(
    connection: Connection, tables: Tables, which: Sequence[ColumnElement[bool]], now: datetime
) -> int:
    """Put messages that a person decided to resend back in doubt; return how many."""
    message = tables.message
    given_up = connection.execute(
        update(message)
        .where(*which, message.c.doubted_at.is_not(None))
        .values(state=M.IN_DOUBT, reason="MR507", due_at=None, deadline_at=None, updated_at=now)
    )
    return given_up.rowcount


def release_unknown(
    connection: Connection,
    tables: Tables,
    *,
    run_id: int,
    token: int,
    known: Collection[int],
    now: datetime,
) -> None:
    """Give back claims of this worker that it does not know of: their COMMIT was in doubt."""
    message = tables.message
    run = message.c.run_id == run_id  # there is an index by run and state, none by token
    ours = (run, message.c.token == token, message.c.state == M.CLAIMED)
    _unclaim(connection, tables, (*ours, message.c.id.not_in(known)), M.PENDING, now)


def make_due(connection: Connection, tables: Tables, run_id: int, now: datetime) -> None:
    """Let deferred messages of a run be tried now: a person asked."""
    message = tables.message
    connection.execute(
        update(message)
        .where(message.c.run_id == run_id, message.c.state == M.DEFERRED)
        .values(state=M.PENDING, due_at=None, updated_at=now)
    )


def next_due(connection: Connection, tables: Tables, run_id: int) -> datetime | None:
    """Return when the earliest deferred message of a run is due; None when none is deferred."""
    message = tables.message
    moment: datetime | None = connection.execute(
        select(message.c.due_at)
        .where(message.c.run_id == run_id, message.c.state == M.DEFERRED)
        .order_by(message.c.due_at)
        .limit(1)
    ).scalar_one_or_none()
    return moment


@dataclass(frozen=True, slots=True)
class Intent:
    """What is kept of a message directly before its dot.

    Attributes:
        message_id: its row.
        date: what its Date header says.
        sha256: of its bytes.
        size: of its bytes.
        context: what it was composed from, as JSON text (`ledger.context`).
    """

    message_id: int
    date: datetime
    sha256: str
    size: int
    context: str


def intend(
    connection: Connection,
    tables: Tables,
    *,
    run_id: int,
    token: int,
    intents: Sequence[Intent],
    now: datetime,
) -> bool:
    """Mark messages `sending`, directly before their dots; False when not all of them may leave.

    One must not when the claim is no longer ours, its lease is over, or a stop was asked;
    nor when it may have left before with other bytes. Where it is False for several, the caller
    takes the transaction back and asks for each alone.
    """
    common = {
        "state": str(M.SENDING),
        "updated_at": now,
        "ours": token,
        "this_run": run_id,
        "moment": now,
    }
    rows = [(each.message_id, each.date, each.sha256, each.size, each.context) for each in intents]
    marked = _intending(tables, connection.dialect).execute(connection, common, rows)
    reach("intent.writing")
    return marked == len(rows)


@cache
def _intending(tables: Tables, dialect: Dialect) -> ManyRows:
    message, moment = tables.message, tables.message.c.date.type
    # Whoever composes has made the text of the context already.
    varying = {"key": message.c.id.type, "dated": moment, "hash": Text(), "bytes": Integer()}
    return ManyRows(
        partial(_intent, tables),
        dialect,
        columns=("state", "updated_at"),
        varying=varying | {"made_of": Text()},
    )


def _intent(tables: Tables, given: Given) -> Update:
    """Return the statement of an intent."""
    message, run = tables.message, tables.run
    running = exists().where(run.c.id == bindparam("this_run"), run.c.status == RunStatus.RUNNING)
    statement = update(message).where(
        message.c.id == given("key"),
        message.c.token == bindparam("ours"),
        message.c.state == M.CLAIMED,
        message.c.lease_until > bindparam("moment"),
        running,
        message.c.doubted_at.is_(None) | (message.c.sha256 == given("hash")),
    )
    return statement.values(
        date=given("dated"),
        sha256=given("hash"),
        size=given("bytes"),
        context=type_coerce(given("made_of"), Text),
    )


def release(
    connection: Connection,
    tables: Tables,
    *,
    token: int,
    now: datetime,
    message_ids: Collection[int],
) -> None:
    """Give claimed messages back unspent.

    Also those marked `sending` whose dot was provably not written: the caller vouches for that.
    """
    message = tables.message
    _unclaim(
        connection,
        tables,
        (
            message.c.id.in_(message_ids),
            message.c.token == token,
            message.c.state.in_((M.CLAIMED, M.SENDING)),
        ),
        M.PENDING,
        now,
    )


def recover(
    connection: Connection,
    tables: Tables,
    *,
    run_id: int,
    dead_tokens: Iterable[int],
    now: datetime,
) -> tuple[int, int]:
    """Take over what dead workers of a run held; return how many were (released, put in doubt).

    The workers must be signed off before (`workers.end`), so that none of them claims any more.
    """
    message = tables.message
    theirs = (message.c.run_id == run_id, message.c.token.in_(list(dead_tokens)))
    claimed, sending = message.c.state == M.CLAIMED, message.c.state == M.SENDING
    released = _unclaim(connection, tables, (*theirs, claimed), M.PENDING, now)
    since = literal(now, message.c.doubted_at.type)
    doubted = _unclaim(
        connection, tables, (*theirs, sending), M.IN_DOUBT, now,
        reason="MR507", doubted_at=func.coalesce(message.c.doubted_at, since),
        token=message.c.token, context=message.c.context,
    )  # fmt: skip
    reach("recover.writing")
    return released, doubted


def _unclaim(
    connection: Connection,
    tables: Tables,
    which: tuple[ColumnElement[bool], ...],
    to: MessageState,
    now: datetime,
    **further: Any,
) -> int:
    message = tables.message
    values = {
        "state": to,
        "reason": None,
        "token": None,
        "lease_until": None,
        "context": case((message.c.doubted_at.is_not(None), message.c.context), else_=null()),
        "updated_at": now,
    }
    changed = connection.execute(update(message).where(*which).values(**(values | further)))
    return changed.rowcount


def hold(
    connection: Connection, tables: Tables, message_ids: Sequence[int], *, holds: bool
) -> None:
    """Let messages take or give up the unique guard of their invoices.

    Raises:
        sqlalchemy.exc.IntegrityError: another message holds one of them.
    """
    link = tables.message_invoice
    for start in range(0, len(message_ids), _CHUNK):
        chunk = message_ids[start : start + _CHUNK]
        connection.execute(update(link).where(link.c.message_id.in_(chunk)).values(holds=holds))


def held_elsewhere(connection: Connection, tables: Tables, run_id: int, token: int) -> bool:
    """Tell whether another worker than `token` holds a message of a run."""
    message = tables.message
    held = select(message.c.id).where(
        message.c.run_id == run_id,
        message.c.state.in_((M.CLAIMED, M.SENDING)),
        message.c.token != token,
    )
    return connection.execute(held.limit(1)).first() is not None


def is_any_in(
    connection: Connection, tables: Tables, run_id: int, states: Collection[MessageState]
) -> bool:
    """Tell whether a message of a run is in any of the states: at once, among however many."""
    message = tables.message
    found = select(message.c.id).where(message.c.run_id == run_id, message.c.state.in_(states))
    return connection.execute(found.limit(1)).first() is not None


def count_in(
    connection: Connection, tables: Tables, run_id: int, states: Collection[MessageState]
) -> int:
    """Return how many messages of a run are in any of the states."""
    message = tables.message
    number: int = connection.execute(
        select(func.count()).where(message.c.run_id == run_id, message.c.state.in_(states))
    ).scalar_one()
    return number
