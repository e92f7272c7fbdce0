"""Message rows: claimed, intended, settled, released. Every write is guarded by state and token.

Every write may be repeated: when a COMMIT is in doubt the same write is simply made again.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    case,
    exists,
    func,
    insert,
    literal,
    null,
    select,
    update,
)

from msgrun.failpoints import reach
from msgrun.ledger.rows import Claim, Resend, addresses_of, refusals_json
from msgrun.ledger.servers import take_permits
from msgrun.model import Outcome, Verdict
from msgrun.schema import Tables
from msgrun.states import HOLDING, MessageState, RunStatus, sources_of

M = MessageState

_CHUNK: Final = 10_000  # ids named in one statement; PostgreSQL takes 65,535 at most


@dataclass(frozen=True, slots=True)
class Settlement:
    """Where a try takes a message.

    Attributes:
        to: the new state.
        outcome: what the transport said; None when composing failed.
        reason: finding code of a state that is not sent.
        detail: the same in words.
        retry_in: for deferred, not before so much later.
        counts: whether the try costs the message an attempt.
    """

    to: MessageState
    outcome: Outcome | None = None
    reason: str | None = None
    detail: str | None = None
    retry_in: timedelta | None = None
    counts: bool = True


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
) -> Sequence[Claim]:
    """Take up to `wanted` pending messages of a run, each with a permit of the server's rate.

    Nothing is taken for a worker that was signed off: others hold it for dead, and
    nobody would find its claims again. Nor what the worker still holds: its token is the
    same for all its claims, so that the end of one (a release made again because its COMMIT
    was in doubt) would undo the next, dot and all.
    """
    message, worker = tables.message, tables.worker
    # Locked, so that a take-over either sees these claims or is seen here.
    alive = select(worker.c.id).where(worker.c.id == token, worker.c.ended_at.is_(None))
    if connection.execute(alive.with_for_update(read=True)).first() is None:
        return []
    ids = list(
        connection.execute(
            select(message.c.id)
            .where(
                message.c.run_id == run_id,
                message.c.state == M.PENDING,
                message.c.id.not_in(held),
            )
            .order_by(message.c.number)
            .limit(wanted)
            .with_for_update(skip_locked=True)
        ).scalars()
    )
    if not ids:
        return []
    moments = take_permits(connection, tables, server, len(ids), every, now)
    taken = dict(zip(ids, moments, strict=False))
    rows = connection.execute(
        update(message)
        .where(message.c.id.in_(taken), message.c.state == M.PENDING)
        .values(state=M.CLAIMED, token=token, lease_until=now + lease, updated_at=now)
        .returning(message)
    ).mappings()
    claimed = {row["id"]: row for row in rows}
    reach("claim.writing")
    invoices = invoices_of(connection, tables, list(claimed))
    return [
        Claim(
            id=key,
            number=row["number"],
            revision=row["revision"],
            customer=row["customer"],
            recipients=addresses_of(row["recipients"]),
            message_id=row["message_id"],
            date=row["date"],
            invoices=invoices[key],
            attempts=row["attempts"],
            not_before=taken[key],
            resend=Resend.of(row),
        )
        for key, row in sorted(claimed.items(), key=lambda item: item[1]["number"])
    ]


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
    connection: Connection, tables: Tables, *, token: int, known: Collection[int], now: datetime
) -> None:
    """Give back claims of this worker that it does not know of: their COMMIT was in doubt."""
    message = tables.message
    ours = (message.c.token == token, message.c.state == M.CLAIMED)
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


def intend(
    connection: Connection,
    tables: Tables,
    *,
    run_id: int,
    message_id: int,
    token: int,
    date: datetime,
    sha256: str,
    size: int,
    context: Mapping[str, Any],
    now: datetime,
) -> bool:
    """Mark a message `sending`, directly before its dot; False when it must not leave.

    It must not when the claim is no longer ours, its lease is over, or a stop was asked;
    nor when it may have left before with other bytes.
    """
    message, run = tables.message, tables.run
    running = exists().where(run.c.id == run_id, run.c.status == RunStatus.RUNNING)
    marked = connection.execute(
        update(message)
        .where(
            message.c.id == message_id,
            message.c.token == token,
            message.c.state == M.CLAIMED,
            message.c.lease_until > now,
            running,
            message.c.doubted_at.is_(None) | (message.c.sha256 == sha256),
        )
        .values(
            state=M.SENDING, date=date, sha256=sha256, size=size, context=context, updated_at=now
        )
    )
    reach("intent.writing")
    return bool(marked.rowcount)


def settle(
    connection: Connection,
    tables: Tables,
    *,
    message_id: int,
    token: int,
    settlement: Settlement,
    now: datetime,
) -> bool:
    """Record what came of a try; False when the claim is no longer ours (nothing is written)."""
    message = tables.message
    # What is in doubt keeps its token, for `credit` alone.
    sources = sources_of(settlement.to) - {M.IN_DOUBT}
    which = (message.c.token == token, message.c.state.in_(sources))
    return _settle(connection, tables, message_id, which, settlement, now)


def credit(
    connection: Connection,
    tables: Tables,
    *,
    message_id: int,
    token: int,
    sha256: str,
    settlement: Settlement,
    now: datetime,
) -> bool:
    """Record a definite answer that comes late: from the journal, or after a take-over.

    It counts while nobody has settled the doubt otherwise, and the doubt is about the very
    try that was answered: the same bytes may have left again since, from another worker.
    False when it changes nothing.
    """
    message = tables.message
    which = (
        message.c.state.in_((M.IN_DOUBT, M.SENDING)),
        message.c.token == token,
        message.c.sha256 == sha256,
    )
    return _settle(connection, tables, message_id, which, settlement, now)


def _settle(
    connection: Connection,
    tables: Tables,
    message_id: int,
    which: tuple[ColumnElement[bool], ...],
    settlement: Settlement,
    now: datetime,
) -> bool:
    message = tables.message
    definite_no = settlement.to not in (M.SENT, M.IN_DOUBT)
    earlier = definite_no and _may_have_left_before(connection, tables, message_id, which)
    if earlier and settlement.to not in HOLDING:
        # That this copy was refused says nothing of the one that may have left.
        detail = settlement.detail or (str(settlement.outcome.reply) if settlement.outcome else "")
        told = f"the resend was refused: {detail}"
        settlement = replace(settlement, to=M.IN_DOUBT, reason="MR507", detail=told)
    values: dict[str, Any] = {
        "state": settlement.to,
        "reason": settlement.reason,
        "detail": settlement.detail,
        "due_at": None if settlement.retry_in is None else now + settlement.retry_in,
        "token": None,
        "lease_until": None,
        "context": message.c.context if earlier or settlement.to is M.IN_DOUBT else null(),
        "updated_at": now,
    }
    if settlement.to is M.IN_DOUBT:
        # The token stays: a late answer is credited to its own try alone.
        del values["token"]
        values["doubted_at"] = func.coalesce(message.c.doubted_at, _moment(tables, now))
    elif definite_no and not earlier:
        values["doubted_at"] = None  # nobody has it: there was nothing to doubt
    outcome = settlement.outcome
    if outcome is not None:
        values |= _answer(outcome)
        if settlement.to is M.SENT:
            values["sent_at"] = now
    if settlement.counts:
        values["attempts"] = message.c.attempts + 1
    settled = connection.execute(
        update(message).where(message.c.id == message_id, *which).values(**values)
    )
    if not settled.rowcount:
        return False
    if settlement.to not in HOLDING:
        hold(connection, tables, [message_id], holds=False)
    if outcome is not None and (outcome.verdict is not Verdict.ACCEPTED or outcome.refused):
        _add_attempt(connection, tables, message_id, outcome, now)
    reach("record.writing")
    return True


def _may_have_left_before(
    connection: Connection,
    tables: Tables,
    message_id: int,
    which: tuple[ColumnElement[bool], ...],
) -> bool:
    """Tell whether an earlier copy of a message than the one being settled may have left."""
    message = tables.message
    row = connection.execute(
        select(message.c.state, message.c.doubted_at, message.c.updated_at)
        .where(message.c.id == message_id, *which)
        .with_for_update()
    ).first()
    if row is None or row.doubted_at is None:
        return False
    # In doubt since the doubt began: it is about this very copy.
    return not (row.state == M.IN_DOUBT and row.doubted_at == row.updated_at)


def _context_after(tables: Tables, to: MessageState) -> Any:
    """Return what becomes of the stored context: it goes when no resend can need it."""
    context, doubted_at = tables.message.c.context, tables.message.c.doubted_at
    if to is M.IN_DOUBT:
        return context
    if to in (M.PENDING, M.DEFERRED):
        return case((doubted_at.is_not(None), context), else_=null())
    return null()


def _moment(tables: Tables, now: datetime) -> ColumnElement[Any]:
    return literal(now, tables.message.c.doubted_at.type)


def _answer(outcome: Outcome) -> dict[str, Any]:
    reply = outcome.reply
    return {
        "stage": outcome.stage,
        "code": reply.code if reply else None,
        "enhanced": reply.enhanced if reply else None,
        "reply": reply.text if reply else outcome.text,
        "queue_id": outcome.queue_id or None,
        "refused": refusals_json(outcome.refused + outcome.refused_bcc) or null(),
    }


def _add_attempt(
    connection: Connection, tables: Tables, message_id: int, outcome: Outcome, now: datetime
) -> None:
    reply = outcome.reply
    connection.execute(
        insert(tables.attempt).values(
            message_id=message_id,
            at=now,
            verdict=outcome.verdict,
            stage=outcome.stage,
            code=reply.code if reply else None,
            enhanced=reply.enhanced if reply else None,
            reply=reply.text if reply else outcome.text,
        )
    )


def set_deadline(
    connection: Connection, tables: Tables, message_id: int, deadline: datetime
) -> None:
    """Set the moment after which a deferred message is given up, unless it has one."""
    message = tables.message
    connection.execute(
        update(message)
        .where(message.c.id == message_id, message.c.deadline_at.is_(None))
        .values(deadline_at=deadline)
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
    doubted_at = func.coalesce(message.c.doubted_at, _moment(tables, now))
    doubted = _unclaim(
        connection, tables, (*theirs, sending), M.IN_DOUBT, now,
        reason="MR507", doubted_at=doubted_at, token=message.c.token,
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
    values = {
        "state": to,
        "reason": None,
        "token": None,
        "lease_until": None,
        "context": _context_after(tables, to),
        "updated_at": now,
    }
    changed = connection.execute(update(tables.message).where(*which).values(**(values | further)))
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


def count_in(
    connection: Connection, tables: Tables, run_id: int, states: Collection[MessageState]
) -> int:
    """Return how many messages of a run are in any of the states."""
    message = tables.message
    number: int = connection.execute(
        select(func.count()).where(message.c.run_id == run_id, message.c.state.in_(states))
    ).scalar_one()
    return number
