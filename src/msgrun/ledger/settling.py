"""What came of a try, written down: by the worker that made it, or late, from a journal.

Guarded and repeatable as in `ledger.messages`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Update,
    bindparam,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.engine.interfaces import Dialect

from msgrun.failpoints import reach
from msgrun.ledger.many import Given, ManyRows
from msgrun.ledger.messages import hold
from msgrun.ledger.rows import refusals_json
from msgrun.model import Outcome, Verdict
from msgrun.schema import Tables
from msgrun.states import HOLDING, MessageState, sources_of

M = MessageState

_ANSWERED: Final = ("stage", "code", "enhanced", "reply", "queue_id")


@dataclass(frozen=True, slots=True)
class Settlement:
    """Where a try takes a message.

    Attributes:
        to: the new state.
        outcome: what the transport said; None when composing failed.
        reason: finding code of a state that is not sent.
        detail: the same in words.
        retry_in: for deferred, not before so much later.
        give_up_in: for deferred, not after so much later, unless it has a deadline already.
        counts: whether the try costs the message an attempt.
    """

    to: MessageState
    outcome: Outcome | None = None
    reason: str | None = None
    detail: str | None = None
    retry_in: timedelta | None = None
    give_up_in: timedelta | None = None
    counts: bool = True


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
    which = {"key": message_id, "ours": token}
    return _settle(connection, tables, which, settlement, now)


def accept(
    connection: Connection,
    tables: Tables,
    *,
    token: int,
    accepted: Sequence[tuple[int, Outcome]],
    now: datetime,
) -> bool:
    """Record that messages were accepted for all their recipients, in one statement.

    Args:
        accepted: message and outcome; without a refused recipient.

    Returns:
        False when not all of them are ours to settle: the caller takes the transaction back and
        settles each alone.
    """
    common = _values(Settlement(M.SENT), now) | {
        "token": None,
        "context": None,
        "refused": None,
        "sent_at": now,
        "ours": token,
    }
    rows = []
    for key, outcome in accepted:
        answer = _answer(outcome)
        rows.append((key, *(answer[name] for name in _ANSWERED)))
    settled = _accepting(tables, connection.dialect).execute(connection, common, rows)
    reach("record.writing")
    return settled == len(rows)


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
    which = {"key": message_id, "ours": token, "same": sha256}
    return _settle(connection, tables, which, settlement, now)


def _settle(
    connection: Connection,
    tables: Tables,
    which: dict[str, Any],
    settlement: Settlement,
    now: datetime,
) -> bool:
    late, tried = "same" in which, settlement.to
    definite_no = tried not in (M.SENT, M.IN_DOUBT)
    earlier = definite_no and _may_have_left_before(connection, tables, tried, which)
    if earlier and tried not in HOLDING:
        settlement = _still_in_doubt(settlement)
    statement = _settling(tables, tried, settlement.to, late=late, counts=settlement.counts)
    values = _values(settlement, now)
    if settlement.to is M.IN_DOUBT:
        which = which | {"moment": now}
    elif settlement.to is M.DEFERRED:
        late_by = settlement.give_up_in
        which = which | {"moment": None if late_by is None else now + late_by}
    if settlement.to is not M.IN_DOUBT:
        # In doubt, the token stays: a late answer is credited to its own try alone.
        values["token"] = None
    if not earlier and settlement.to is not M.IN_DOUBT:
        values["context"] = None  # no resend can need it
    if definite_no and not earlier:
        values["doubted_at"] = None  # nobody has it: there was nothing to doubt
    outcome = settlement.outcome
    if outcome is not None:
        values |= _answer(outcome)
        if settlement.to is M.SENT:
            values["sent_at"] = now
    if not connection.execute(statement, values | which).rowcount:
        return False
    if settlement.to not in HOLDING:
        hold(connection, tables, [which["key"]], holds=False)
    if outcome is not None and (outcome.verdict is not Verdict.ACCEPTED or outcome.refused):
        _add_attempt(connection, tables, which["key"], outcome, now)
    reach("record.writing")
    return True


@cache
def _accepting(tables: Tables, dialect: Dialect) -> ManyRows:
    message = tables.message
    same = (*_values(Settlement(M.SENT), datetime.now(UTC)), "token", "context", "refused")
    varying = {f"new_{name}": message.c[name].type for name in _ANSWERED}

    def make(given: Given) -> Update:
        rows = _rows(tables, M.SENT, late=False, key=given("key"))
        answer = {name: given(f"new_{name}") for name in _ANSWERED}
        return update(message).where(*rows).values(attempts=message.c.attempts + 1, **answer)

    return ManyRows(
        make,
        dialect,
        columns=(*same, "sent_at"),
        varying={"key": message.c.id.type} | varying,
    )


def _values(settlement: Settlement, now: datetime) -> dict[str, Any]:
    return {
        "state": str(settlement.to),
        "reason": settlement.reason,
        "detail": settlement.detail,
        "due_at": None if settlement.retry_in is None else now + settlement.retry_in,
        "lease_until": None,
        "updated_at": now,
    }


def _still_in_doubt(settlement: Settlement) -> Settlement:
    """Return what becomes of a resend that is refused: that says nothing of the first copy."""
    outcome = settlement.outcome
    detail = settlement.detail or (str(outcome.reply) if outcome else "")
    told = f"the resend was refused: {detail}"
    return replace(settlement, to=M.IN_DOUBT, reason="MR507", detail=told)


def _may_have_left_before(
    connection: Connection, tables: Tables, tried: MessageState, which: dict[str, Any]
) -> bool:
    """Tell whether an earlier copy of a message than the one being settled may have left."""
    message = tables.message
    row = connection.execute(
        select(message.c.state, message.c.doubted_at, message.c.updated_at)
        .where(*_rows(tables, tried, late="same" in which))
        .with_for_update(),
        which,
    ).first()
    if row is None or row.doubted_at is None:
        return False
    # In doubt since the doubt began: it is about this very copy.
    return not (row.state == M.IN_DOUBT and row.doubted_at == row.updated_at)


@cache
def _settling(
    tables: Tables, tried: MessageState, to: MessageState, *, late: bool, counts: bool
) -> Update:
    """Return the statement of a settlement, but for its plain values.

    Made once: making it costs more than running it.
    """
    message = tables.message
    values: dict[str, Any] = {}
    moment = bindparam("moment", type_=message.c.doubted_at.type)
    if to is M.IN_DOUBT:
        values["doubted_at"] = func.coalesce(message.c.doubted_at, moment)
    elif to is M.DEFERRED:
        values["deadline_at"] = func.coalesce(message.c.deadline_at, moment)
    if counts:
        values["attempts"] = message.c.attempts + 1
    return update(message).where(*_rows(tables, tried, late=late)).values(values)


def _rows(
    tables: Tables, tried: MessageState, *, late: bool, key: ColumnElement[int] | None = None
) -> list[ColumnElement[bool]]:
    """Return what a row must be for a try to settle it; `key`, `ours` and `same` are given."""
    message = tables.message
    key = bindparam("key") if key is None else key
    which = [message.c.id == key, message.c.token == bindparam("ours")]
    if late:
        in_doubt = _is_one_of(message.c.state, (M.IN_DOUBT, M.SENDING))
        return [*which, in_doubt, message.c.sha256 == bindparam("same")]
    # What is in doubt keeps its token, for `credit` alone.
    return [*which, _is_one_of(message.c.state, sorted(sources_of(tried) - {M.IN_DOUBT}))]


def _is_one_of(column: Column[str], states: Iterable[MessageState]) -> ColumnElement[bool]:
    """Return `column IN states` in a form that one statement for many rows can hold."""
    return or_(*(column == state for state in states))


def _answer(outcome: Outcome) -> dict[str, Any]:
    reply = outcome.reply
    return {
        "stage": str(outcome.stage),
        "code": reply.code if reply else None,
        "enhanced": reply.enhanced if reply else None,
        "reply": reply.text if reply else outcome.text,
        "queue_id": outcome.queue_id or None,
        "refused": refusals_json(outcome.refused + outcome.refused_bcc),
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
