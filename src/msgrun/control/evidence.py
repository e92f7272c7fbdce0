"""What the relay did next with the messages of a run, by its own log."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, select

from msgrun.ledger import runs
from msgrun.ledger.rows import RunRow
from msgrun.maillog import Delivered, Named, read_log
from msgrun.schema import Tables
from msgrun.states import MessageState
from msgrun.workspace import Workspace

_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Traced:
    """One message of the run, and what the log says of it.

    Attributes:
        queue_id: the relay's name for it, from the ledger or from the log.
        logged: whether the log names it at all.
        deliveries: the last try for each recipient; empty where the log has none.
    """

    message: int
    customer: str
    state: MessageState
    message_id: str
    queue_id: str
    logged: bool
    deliveries: tuple[Delivered, ...]

    @property
    def arrived(self) -> bool:
        """Whether a far server has taken it for every recipient that the log tells of."""
        return bool(self.deliveries) and all(each.status == "sent" for each in self.deliveries)


@dataclass
class _Trail:
    queue_id: str = ""
    last: dict[str, Delivered] = field(default_factory=dict)


def trace(
    workspace: Workspace, reference: str, logs: Iterable[Path], *, customer: str | None = None
) -> tuple[RunRow, Iterator[Traced]]:
    """Read logs, oldest first, and say of each message that left what they tell of it.

    Messages in doubt are found by their Message-ID: where the relay has logged it, they have left.

    Args:
        reference: a run's number, or "last".
        customer: only of this one.

    Returns:
        The run, and its messages in order; those that never left are not among them.

    Raises:
        NotFoundError: no such run.
        UsageError: a log cannot be read.
    """
    database = workspace.database
    with database.read() as connection, connection.begin():
        run = runs.find_run(connection, database.tables, reference)
        named = {
            row["queue_id"]: row["message_id"]
            for page in _pages(connection, database.tables, run.id, customer)
            for row in page
            if row["queue_id"]
        }
    trails = _follow(run, named, logs)
    return run, _traced(workspace, run, trails, customer)


def _follow(run: RunRow, named: Mapping[str, str], logs: Iterable[Path]) -> Mapping[str, _Trail]:
    """Return what the logs tell, by Message-ID; `named` has those of the queue ids we know."""
    known, trails = dict(named), defaultdict[str, _Trail](_Trail)
    ours = f"<{run.uid}."
    for told in (each for path in logs for each in read_log(path)):
        if isinstance(told, Named):
            if told.message_id.startswith(ours):
                known[told.queue_id] = told.message_id
                trails[told.message_id].queue_id = told.queue_id
        elif told.queue_id in known:
            name = known[told.queue_id]
            trails[name].last[told.address.casefold()] = told
            if told.next_id:
                known[told.next_id] = name
    return trails


def _traced(
    workspace: Workspace, run: RunRow, trails: Mapping[str, _Trail], customer: str | None
) -> Iterator[Traced]:
    database = workspace.database
    with database.read() as connection:
        for page in _pages(connection, database.tables, run.id, customer):
            for row in page:
                trail = trails.get(row["message_id"] or "", _Trail())
                yield Traced(
                    row["id"],
                    row["customer"],
                    MessageState(row["state"]),
                    row["message_id"] or "",
                    row["queue_id"] or trail.queue_id,
                    bool(trail.queue_id or trail.last),
                    tuple(trail.last.values()),
                )


def _pages(
    connection: Connection, tables: Tables, run_id: int, customer: str | None
) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Yield the messages that have left, or may have."""
    message, last = tables.message, 0
    names = ("id", "number", "customer", "state", "message_id", "queue_id")
    query = (
        select(*(message.c[name] for name in names))
        .where(message.c.run_id == run_id, message.c.state.in_(_LEFT))
        .order_by(message.c.number)
        .limit(_PAGE)
    )
    if customer is not None:
        query = query.where(message.c.customer == customer)
    while True:
        rows = [
            dict(row) for row in connection.execute(query.where(message.c.number > last)).mappings()
        ]
        if not rows:
            return
        last = rows[-1]["number"]
        yield rows


_LEFT: Final = (MessageState.SENT, MessageState.BOUNCED, MessageState.IN_DOUBT)
