"""Which answer settles which doubt: only the one to the very copy that is in doubt."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, RowMapping, select, update

from billing_world import World, address, bill, code
from msgrun.control.resolve import resolve
from msgrun.control.stop import stop
from msgrun.delivery.floor import Floor
from msgrun.demo.sink import Sink
from msgrun.errors import DatabaseError
from msgrun.ledger.journal import Entry
from msgrun.ledger.rows import Frozen
from msgrun.ledger.settling import Settlement
from msgrun.ledger.writer import Writer
from msgrun.model import ComposedMessage, Envelope, Outcome, Reply, Selection, Stage, Verdict
from msgrun.states import MessageState
from msgrun.transport.base import Intent, TransportFactory
from msgrun.transport.memory import MemoryTransport
from msgrun.workspace import Workspace

_SILENCE = Outcome(Verdict.IN_DOUBT, Stage.DOT, text="no answer", finding="MR507")
_LATER = Outcome(Verdict.DEFERRED, Stage.DOT, Reply(451, "4.3.0", "later"), finding="MR505")
_REFUSED = Outcome(Verdict.REJECTED, Stage.DOT, Reply(554, "5.6.0", "seen it"), finding="MR506")
_QUOTA = Outcome(
    Verdict.SERVER_FAULT, Stage.DOT,
    Reply(550, "5.4.5", "Daily user sending quota exceeded"), finding="MR617",
)  # fmt: skip


def test_an_invoice_whose_resend_is_refused_stays_in_doubt_and_held(
    world: World, sink: Sink
) -> None:
    real = _fake(world, MemoryTransport({address(1): [_SILENCE, _REFUSED]}))
    world.start()
    resolve(world.workspace, [str(_row(world)["id"])], resend=True, because="")
    world.restart()
    assert world.states()[bill(1)] == "in_doubt"
    world.workspace = real
    world.restart(failed=True)
    world.start()
    assert world.states(2)[bill(1)] == "MR125"
    assert sink.received == []


@pytest.mark.parametrize("to", [MessageState.DEFERRED, MessageState.PENDING])
def test_an_old_journal_settles_no_later_doubt_about_the_same_bytes(
    world: World, to: MessageState
) -> None:
    _fake(world, MemoryTransport({address(1): [_LATER, _SILENCE]}))
    world.start()
    first = _row(world)
    world.restart()
    assert (_row(world)["state"], _row(world)["sha256"]) == ("in_doubt", first["sha256"])
    _leave_entry(world, first, token=1, to=to)
    assert world.workspace.journals.merge(world.database) == 0
    assert world.states()[bill(1)] == "in_doubt"


def test_an_entry_that_the_ledger_took_after_all_settles_nothing_any_more(world: World) -> None:
    _fake(world, MemoryTransport({address(1): [_SILENCE]}))
    world.start()
    _leave_entry(world, _row(world), token=1, to=MessageState.DEFERRED, taken_back=True)
    assert world.workspace.journals.merge(world.database) == 0
    assert world.states()[bill(1)] == "in_doubt"


def test_a_late_no_to_the_only_copy_leaves_no_doubt_behind(world: World) -> None:
    _fake(world, MemoryTransport({address(1): [_SILENCE]}))
    world.start()
    _leave_entry(world, _row(world), token=1, to=MessageState.DEFERRED)
    assert world.workspace.journals.merge(world.database) == 1
    row = _row(world)
    assert (row["state"], row["doubted_at"], row["context"]) == ("deferred", None, None)


def test_a_quota_answer_is_not_lost_when_the_database_takes_nothing_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone: list[bool] = []

    class LastWord(MemoryTransport):
        async def send(
            self, envelope: Envelope, message: ComposedMessage, intent: Intent
        ) -> Outcome:
            outcome = await super().send(envelope, message, intent)
            gone.append(outcome is _QUOTA)
            return outcome

    async def failing(self: Writer, work: Callable[[Connection], Any]) -> Any:
        if any(gone):
            raise DatabaseError("the database is gone", "bring it back")
        return await submit(self, work)

    submit = Writer.submit
    _fake(world, LastWord({address(1): [_QUOTA]}))
    with monkeypatch.context() as patch:
        patch.setattr(Writer, "submit", failing)
        patch.setattr(Floor.write, "__defaults__", (0.3,))
        with pytest.raises(DatabaseError):
            world.start()
    worker = world.database.tables.worker
    with world.database.write() as connection:
        long_ago = datetime.now(UTC) - timedelta(hours=1)
        connection.execute(update(worker).values(lease_until=long_ago, host="another"))
    stop(world.workspace, "last")
    assert world.states()[bill(1)] == "deferred"


def _leave_entry(
    world: World, row: RowMapping, *, token: int, to: MessageState, taken_back: bool = False
) -> None:
    """Leave what a worker that died would leave: an answer in its journal."""
    outcome = _LATER if to is MessageState.DEFERRED else None
    wait = timedelta(minutes=5) if outcome else None
    settlement = Settlement(to, outcome, retry_in=wait, counts=False)
    now = datetime.now(UTC)
    entry = Entry(world.runs()[0].uid, row["id"], token, row["sha256"], settlement, now)
    journal = world.workspace.journals.open(token)
    journal.add(entry)
    if taken_back:
        journal.take_back(entry)
    journal.close(merged=False)


def _row(world: World) -> RowMapping:
    """Return the first customer's message as the table has it."""
    message = world.database.tables.message
    with world.database.read() as connection, connection.begin():
        rows = connection.execute(select(message).where(message.c.customer == code(1)))
        return rows.mappings().one()


def _fake(world: World, fake: MemoryTransport) -> Workspace:
    """Let the world send by `fake`; return the workspace that sends by SMTP."""

    class Faked(Workspace):
        def transport_of(self, frozen: Frozen, selection: Selection) -> TransportFactory:
            return lambda: fake

    real = world.workspace
    world.workspace = Faked(real.config, real.database, real.source)
    return real
