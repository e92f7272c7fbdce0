"""Personal data of runs at rest, taken out; counts, states, hashes, ids and the guard stay.

What goes: recipients and their names, the words of replies and of everything that a person or a
server wrote freely, and what a message was composed from. What stays says how many there were, what
became of them, and which invoice was sent: the same invoice is still not sent again.
"""

import hmac
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, bindparam, func, select, update

from msgrun.database import Database
from msgrun.ledger.rows import RunRow
from msgrun.ledger.runs import add_event, lock_run
from msgrun.schema import Tables
from msgrun.states import UNFINISHED, Codes, MessageState, RunStatus

CHUNK: Final = 500
"""Messages changed in one transaction: a run beside it waits no longer than for those."""

PURGED_CODE: Final = "purged:"
"""How a customer code begins once it was hashed; all there is of one that was removed."""

_BREATH_SECONDS: Final = 0.005  # between two chunks: others commit, also where locks are not queued
_AT_REST: Final = (RunStatus.FINISHED, RunStatus.CANCELLED)
_RESOLVED: Final = re.compile(
    r"(message [0-9]+)(?: \(.*?\))? (to be sent again, to the byte|taken for sent)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be purged.

    Attributes:
        before: only runs that came to rest before; None for any.
        customer: only messages of this customer; None for all.
        codes: what becomes of the customers' codes.
        why: in words, for the record.
    """

    before: datetime | None
    customer: str | None
    codes: Codes
    why: str
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def code_of(self, customer: str) -> str:
        """Return what stands in place of a code.

        The key of the hash is forgotten with this order: codes are short, and whoever could hash
        them all would know them again. Within one purge a customer stays one customer.
        """
        if self.codes is Codes.KEEP or customer.startswith(PURGED_CODE):
            return customer
        if self.codes is Codes.REMOVE:
            return PURGED_CODE
        return PURGED_CODE + hmac.digest(self._key, customer.encode(), "sha256").hex()[:16]


@dataclass(frozen=True, slots=True)
class Found:
    """One run that an order concerns.

    Attributes:
        messages: how many have personal data that goes.
        in_doubt: how many keep it, because a person has yet to settle them.
    """

    run: RunRow
    messages: int
    in_doubt: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What an order concerns: the runs that are purged, and those that may still send."""

    runs: Sequence[Found]
    left: Sequence[RunRow]

    @property
    def messages(self) -> int:
        """How many messages have personal data that goes."""
        return sum(each.messages for each in self.runs)

    @property
    def in_doubt(self) -> int:
        """How many messages keep theirs, because they are in doubt."""
        return sum(each.in_doubt for each in self.runs)


def survey(database: Database, order: Order) -> Survey:
    """Return what an order concerns; nothing is changed."""
    tables = database.tables
    with database.read() as connection, connection.begin():
        return Survey(_found(connection, tables, order), _left(connection, tables, order))


def purge(database: Database, order: Order, tell: Callable[[Found], None]) -> Survey:
    """Carry an order out, in many short transactions; made again, it goes on where it was.

    Args:
        database: the ledger.
        order: what is to be purged.
        tell: hears of each run that is done.

    Returns:
        What was done; a run that was restarted meanwhile is among those left.
    """
    looked = survey(database, order)
    done: list[Found] = []
    left = list(looked.left)
    for each in looked.runs:
        changed, last = 0, 0
        try:
            while numbers := _chunk(database, each.run.id, order, after=last):
                changed, last = changed + len(numbers), numbers[-1]
                time.sleep(_BREATH_SECONDS)
        finally:
            if changed:  # also where a Ctrl-C ends it half way
                _note(database, each.run, order, changed)
        if not _finish(database, each.run, order):
            left.append(each.run)
        done.append(Found(each.run, changed, each.in_doubt))
        tell(done[-1])
    if database.is_sqlite and done:
        _forget_log(database)
    return Survey(done, left)


def _found(connection: Connection, tables: Tables, order: Order) -> list[Found]:
    run = tables.run
    counts = {
        name: select(func.count())
        .where(tables.message.c.run_id == run.c.id, *which)
        .correlate(run)
        .scalar_subquery()
        for name, which in (
            ("messages", _goes(tables, order)),
            ("in_doubt", _doubtful(tables, order)),
        )
    }
    query = select(run, *(count.label(name) for name, count in counts.items()))
    query = query.where(run.c.status.in_(_AT_REST), *_old(tables, order)).order_by(run.c.id)
    if order.customer is None and order.codes is Codes.KEEP:
        # What was done before is not counted again; `restart --failed` takes the mark away.
        query = query.where(run.c.purged_at.is_(None))
    found = []
    for row in connection.execute(query).mappings():
        each = Found(RunRow.of(row), row["messages"], row["in_doubt"])
        unmarked = order.customer is None and each.run.purged_at is None
        if each.messages or each.in_doubt or unmarked:
            found.append(each)
    return found


def _left(connection: Connection, tables: Tables, order: Order) -> list[RunRow]:
    run, message = tables.run, tables.message
    query = select(run).where(run.c.status.in_(UNFINISHED)).order_by(run.c.id)
    if order.before is not None:
        query = query.where(run.c.created_at < order.before)
    if order.customer is not None:
        theirs = select(message.c.run_id).where(message.c.customer == order.customer)
        query = query.where(run.c.id.in_(theirs))
    return [RunRow.of(row) for row in connection.execute(query).mappings()]


def _old(tables: Tables, order: Order) -> list[ColumnElement[bool]]:
    return [] if order.before is None else [tables.run.c.finished_at < order.before]


def _mine(tables: Tables, order: Order) -> list[ColumnElement[bool]]:
    return [] if order.customer is None else [tables.message.c.customer == order.customer]


def _goes(tables: Tables, order: Order) -> list[ColumnElement[bool]]:
    """Return the condition that a message has something that goes."""
    message = tables.message
    has: ColumnElement[bool] = message.c.purged_at.is_(None)
    if order.codes is not Codes.KEEP:
        has |= ~message.c.customer.startswith(PURGED_CODE, autoescape=True)
    return [*_mine(tables, order), message.c.state != MessageState.IN_DOUBT, has]


def _doubtful(tables: Tables, order: Order) -> list[ColumnElement[bool]]:
    return [*_mine(tables, order), tables.message.c.state == MessageState.IN_DOUBT]


def _chunk(database: Database, run_id: int, order: Order, *, after: int) -> Sequence[int]:
    """Purge the next messages of a run behind a number; return theirs, () when there are none."""
    tables = database.tables
    message, attempt = tables.message, tables.attempt
    with database.write() as connection:
        _overwrite(connection)
        if not _rests(connection, tables, run_id, order):
            return ()
        rows = connection.execute(
            select(
                message.c.id,
                message.c.number,
                message.c.customer,
                message.c.refused,
                message.c.doubted_at,
            )
            .where(message.c.run_id == run_id, message.c.number > after, *_goes(tables, order))
            .order_by(message.c.number)
            .limit(CHUNK)
        ).all()
        if not rows:
            return ()
        ids = [row.id for row in rows]
        gone = dict.fromkeys(("detail", "reply", "context"))
        connection.execute(
            update(message)
            .where(message.c.id.in_(ids))
            .values(recipients=[], purged_at=database.now(connection), **gone)
        )
        connection.execute(
            update(attempt)
            .where(attempt.c.message_id.in_(ids), attempt.c.reply.is_not(None))
            .values(reply=None)
        )
        by_key = update(message).where(message.c.id == bindparam("key"))
        refused = [
            {"key": row.id, "now": _counted(row.refused)} for row in rows if row.refused is not None
        ]
        if refused:
            connection.execute(by_key.values(refused=bindparam("now")), refused)
        codes = [
            {"key": row.id, "now": code}
            for row in rows
            if (code := order.code_of(row.customer)) != row.customer
        ]
        if codes:
            connection.execute(by_key.values(customer=bindparam("now")), codes)
        doubted = [row.id for row in rows if row.doubted_at is not None]
        _quiet(connection, tables, run_id, doubted)
    return tuple(row.number for row in rows)


def _rests(connection: Connection, tables: Tables, run_id: int, order: Order) -> bool:
    """Hold a run, so that nobody restarts it meanwhile; tell whether it still is to be purged."""
    run = lock_run(connection, tables, run_id)
    if run.status not in _AT_REST or run.finished_at is None:
        return False
    return order.before is None or run.finished_at < order.before


def _counted(refused: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return refusals with their codes alone, so that they are still counted."""
    return [{**each, "address": "", "text": ""} for each in refused]


def _quiet(
    connection: Connection, tables: Tables, run_id: int, messages: Sequence[int] | None
) -> None:
    """Take free words out of a run's events: all, or of those that resolved these messages."""
    event = tables.event
    if messages is not None and not messages:
        return
    rows = connection.execute(
        select(event.c.id, event.c.kind, event.c.detail).where(
            event.c.run_id == run_id, event.c.detail.is_not(None), event.c.kind != "purged"
        )
    ).all()
    named = None if messages is None else {f"message {each}" for each in messages}
    changed = []
    for row in rows:
        told = _RESOLVED.match(row.detail) if row.kind == "resolved" else None
        if named is not None and (told is None or told[1] not in named):
            continue
        changed.append({"key": row.id, "now": f"{told[1]} {told[2]}" if told else None})
    if changed:
        by_key = update(event).where(event.c.id == bindparam("key"))
        connection.execute(by_key.values(detail=bindparam("now")), changed)


def _note(database: Database, run: RunRow, order: Order, changed: int) -> None:
    told = f"personal data of {changed:,} message{'s' * (changed != 1)}, {order.why}"
    with database.write() as connection:
        now = database.now(connection)
        add_event(connection, database.tables, run.id, "purged", now, told)


def _finish(database: Database, run: RunRow, order: Order) -> bool:
    """Purge what a run itself has; False where it is not at rest any more."""
    tables = database.tables
    with database.write() as connection:
        _overwrite(connection)
        if not _rests(connection, tables, run.id, order):
            return False
        values: dict[str, Any] = {}
        listed = run.selection.customers
        theirs = [
            order.code_of(each) if order.customer in {None, each} else each for each in listed
        ]
        if theirs != list(listed):
            values["customers"] = theirs
        doubtful = select(func.count()).where(
            tables.message.c.run_id == run.id, *_doubtful(tables, order)
        )
        if order.customer is None and not connection.execute(doubtful).scalar_one():
            _quiet(connection, tables, run.id, None)
            values |= {"detail": None, "purged_at": database.now(connection)}
        if values:
            connection.execute(update(tables.run).where(tables.run.c.id == run.id).values(**values))
    return True


def _overwrite(connection: Connection) -> None:
    """Have SQLite write zeros over what goes; else it stays readable in the file."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete = ON")


def _forget_log(database: Database) -> None:
    """Empty SQLite's write-ahead log, which has the pages as they were; best effort."""
    with database.connect() as connection:
        raw: Any = connection.connection.driver_connection
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
