"""The whole ledger at one moment, what always holds of it, and what may lie between two of them."""

from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from msgrun.database import Database
from msgrun.ledger import runs, views
from msgrun.ledger.rows import Summary
from msgrun.states import (
    HOLDING,
    LIVE,
    MESSAGE_MOVES,
    RUN_MOVES,
    MessageState,
    RunStatus,
)

M, R = MessageState, RunStatus
Row = Mapping[str, Any]
Move = tuple[MessageState, MessageState]
Key = tuple[str, str, int]
"""Definition, invoice and generation: what may be sent once."""

HELD = frozenset({M.CLAIMED, M.SENDING})
SETTLED = frozenset({M.SENT, M.BOUNCED, M.IN_DOUBT})
"""States whose rows nobody touches without moving them."""


@dataclass(frozen=True)
class Snapshot:
    """Every row that matters, by its number; `links` by message."""

    runs: Mapping[int, Row]
    messages: Mapping[int, Row]
    links: Mapping[int, tuple[Row, ...]]
    workers: Mapping[int, Row]
    figures: Mapping[int, Summary]

    def state(self, message: int) -> MessageState:
        """Return where a message stands."""
        return MessageState(self.messages[message]["state"])

    def status(self, run: int) -> RunStatus:
        """Return where a run stands."""
        return RunStatus(self.runs[run]["status"])

    def of_run(self, run: int, *states: MessageState) -> list[int]:
        """Return the messages of a run that are in one of the states."""
        return [
            key
            for key, row in self.messages.items()
            if row["run_id"] == run and row["state"] in states
        ]

    def keys(self, message: int) -> list[Key]:
        """Return what a message would send; nothing where its run is redirected."""
        if self.runs[self.messages[message]["run_id"]]["redirect_to"] is not None:
            return []
        links = self.links[message]
        return [(link["definition"], link["invoice"], link["generation"]) for link in links]

    def open_workers(self, run: int) -> list[int]:
        """Return the tokens of a run's workers that have not signed off."""
        found = (key for key, row in self.workers.items() if row["run_id"] == run)
        return [key for key in found if self.workers[key]["ended_at"] is None]


def take_snapshot(database: Database) -> Snapshot:
    """Read the ledger in one transaction."""
    tables = database.tables
    with database.read() as connection, connection.begin():
        links: dict[int, list[Row]] = {}
        messages = _rows(connection, tables.message)
        for link in connection.execute(select(tables.message_invoice)).mappings():
            links.setdefault(link["message_id"], []).append(dict(link))
        return Snapshot(
            runs=_rows(connection, tables.run),
            messages=messages,
            links={key: tuple(links.get(key, ())) for key in messages},
            workers=_rows(connection, tables.worker),
            figures={
                run.id: views.summarize(connection, tables, run)
                for run in runs.list_runs(connection, tables, limit=1000)
            },
        )


def _rows(connection: Connection, table: Any) -> dict[int, Row]:
    rows = connection.execute(select(table).order_by(table.c.id)).mappings()
    return {row["id"]: dict(row) for row in rows}


def hold_always(now: Snapshot) -> None:
    """Check what is true of every ledger."""
    held: Counter[Key] = Counter()
    for key, row in now.messages.items():
        state, redirected = now.state(key), now.runs[row["run_id"]]["redirect_to"] is not None
        assert now.links[key], f"a message about nothing: {row}"
        for link in now.links[key]:
            assert link["holds"] == (state in HOLDING and not redirected), f"{link} of {row}"
        held.update(now.keys(key) if state in HOLDING else [])
        if state is not M.IN_DOUBT:  # which keeps it, so that a late answer finds its own try
            assert (row["token"] is not None) == (state in HELD), f"{row}"
        if state in HELD:
            assert now.workers[row["token"]]["ended_at"] is None, f"nobody will find {row}"
        if state not in {M.PENDING, M.SENT, *HELD}:
            assert row["reason"], f"no reason: {row}"
        if state in {M.SENDING, M.SENT, M.IN_DOUBT}:
            assert None not in (row["date"], row["sha256"]), f"no intent: {row}"
    assert max(held.values(), default=1) == 1, f"held twice: {held.most_common(1)}"
    live = Counter(row["definition"] for row in now.runs.values() if row["status"] in LIVE)
    assert max(live.values(), default=1) == 1, f"two live runs: {live}"
    for summary in now.figures.values():
        assert summary.counts.balances, f"{summary}"


def hold_between(
    before: Snapshot, now: Snapshot, allowed: Set[Move], *, new_rows: bool = False
) -> None:
    """Check that only what is allowed has happened; `new_rows`: messages may come and be joined."""
    for run, row in before.runs.items():
        move = (before.status(run), now.status(run))
        assert move[0] is move[1] or move in RUN_MOVES, f"{move} of {row}"
        if move[0] is not move[1] and move[1] in {R.FINISHED, R.CANCELLED}:
            assert not now.of_run(run, M.PENDING, M.DEFERRED, *HELD), f"left over in {row}"
        scopes = [each.figures[run].counts.in_scope for each in (before, now)]
        assert scopes[0] == scopes[1], f"an invoice was lost: {scopes}"
    assert new_rows or before.messages.keys() == now.messages.keys()
    for key, row in before.messages.items():
        if key not in now.messages:
            assert before.state(key) is M.SKIPPED, f"gone: {row}"
            continue
        one, other = before.state(key), now.state(key)
        if one is not other:
            assert (one, other) in MESSAGE_MOVES, f"{one} → {other} of {row}"
            assert (one, other) in allowed, f"not now: {one} → {other} of {row}"
        elif one in SETTLED:
            assert now.messages[key] == row
            assert now.links[key] == before.links[key]
