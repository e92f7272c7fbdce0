"""A message in doubt waits for a person: taken for sent, or the same bytes once more."""

import hashlib
from pathlib import Path

import pytest
from sending import everybody, recipients

from billing_process import launch
from billing_world import DEFINITION, World, address, bill, code, make_world
from msgrun.control.resolve import Resolved, resolve
from msgrun.control.stop import cancel, stop
from msgrun.database import Database
from msgrun.demo.sink import Sink, running_sink
from msgrun.errors import MsgrunError, NotFoundError, UsageError
from msgrun.ledger import runs
from msgrun.ledger.rows import MessageRow
from msgrun.states import MessageState, RunStatus

M = MessageState


@pytest.fixture
def doubtful(world: World) -> World:
    """Return a finished run of four whose second message may have left."""
    return with_doubt(world, "intent.committed=kill@2")


def with_doubt(world: World, failpoint: str) -> World:
    """Let a run's process die at a step, then let the run come to its end."""
    world.reconfigure("connections = 2", "connections = 1")
    die(world, "start", failpoint)
    world.restart()
    assert world.runs()[0].status is RunStatus.FINISHED
    return world


def die(world: World, action: str, failpoint: str) -> None:
    process = launch(world.folder, action, failpoint=failpoint)
    process.communicate(timeout=60)
    assert process.returncode == -9, "it was to die at its failpoint"


def the_doubtful(world: World) -> MessageRow:
    (message,) = (each for each in world.messages() if each.state is M.IN_DOUBT)
    return message


def row_of(world: World, key: int) -> MessageRow:
    (message,) = (each for each in world.messages() if each.id == key)
    return message


def decide(world: World, key: int, *, resend: bool = True) -> list[Resolved]:
    return resolve(world.workspace, [str(key)], resend=resend, because="the log says so")


def events_of(world: World) -> list[tuple[str, str, str]]:
    with world.database.read() as connection, connection.begin():
        found = runs.events(connection, world.database.tables, world.runs()[0].id)
    return [(each["kind"], each["actor"], each["detail"] or "") for each in found]


def test_what_is_taken_for_sent_counts_as_sent_and_never_leaves_again(
    doubtful: World, sink: Sink
) -> None:
    key = the_doubtful(doubtful).id
    (done,) = decide(doubtful, key, resend=False)
    assert (done.message, done.state) == (key, M.SENT)
    assert set(doubtful.states().values()) == {"sent"}
    ending, proposals = doubtful.restart(failed=True)
    assert (proposals, ending.summary.counts.sent) == ([], 4)
    assert sum(recipients(sink).values()) == 3


def test_the_decision_is_on_record_with_who_and_why(doubtful: World) -> None:
    message = the_doubtful(doubtful)
    decide(doubtful, message.id)
    ((actor, told),) = [
        (who, told) for kind, who, told in events_of(doubtful) if kind == "resolved"
    ]
    assert actor == runs.actor()
    assert f"message {message.id}" in told
    assert "the log says so" in told


def test_a_resend_goes_out_with_the_next_restart(doubtful: World, sink: Sink) -> None:
    key = the_doubtful(doubtful).id
    assert decide(doubtful, key)[0].state is M.PENDING
    ending, (proposal,) = doubtful.restart()
    assert (proposal.resends, proposal.never_tried, proposal.to_send) == (1, 0, 1)
    assert (ending.summary.counts.sent, ending.summary.run.status) == (4, RunStatus.FINISHED)
    assert recipients(sink) == everybody()


def test_a_resend_has_the_same_bytes_date_and_message_id_whatever_has_changed_since(
    world: World, sink: Sink
) -> None:
    with_doubt(world, "answer.received=kill@2")
    message = the_doubtful(world)
    (first,) = (entry for entry in sink.received if entry.message_id == message.message_id)
    number = int(message.customer[1:])
    world.change("customers", {"code": message.customer}, name="Another Name", suspended=True)
    world.change("addresses", {"customer": message.customer}, address="new@customer.test")
    world.change("invoices", {"id": bill(number)}, total="99.00", status="Closed")
    (world.folder / "monthly.txt").write_text("Another text\n")
    decide(world, message.id)
    world.restart()
    second = sink.received[-1]
    assert second.path.read_bytes() == first.path.read_bytes()
    assert second.recipients == first.recipients == (address(number),)
    assert row_of(world, message.id).state is M.SENT


def test_other_bytes_are_refused_and_the_message_stays_in_doubt(doubtful: World) -> None:
    message = the_doubtful(doubtful)
    document = doubtful.folder / "documents" / f"{message.invoices[0]}.pdf"
    document.write_bytes(document.read_bytes() + b"% generated anew\n")
    with pytest.raises(MsgrunError, match="bytes would differ") as refused:
        decide(doubtful, message.id)
    assert "--resend" in refused.value.hint
    assert the_doubtful(doubtful).id == message.id


def test_bytes_that_change_after_the_decision_do_not_leave(doubtful: World, sink: Sink) -> None:
    message = the_doubtful(doubtful)
    decide(doubtful, message.id)
    document = doubtful.folder / "documents" / f"{message.invoices[0]}.pdf"
    document.unlink()
    doubtful.restart()
    after = the_doubtful(doubtful)
    assert (after.id, after.reason) == (message.id, "MR507")
    assert len(sink.received) == 3


def test_a_resend_that_is_deferred_keeps_its_bytes(doubtful: World, sink: Sink) -> None:
    message = the_doubtful(doubtful)
    to = message.recipients[0].address
    sink.refuse[to] = "451 4.7.1 greylisted"
    decide(doubtful, message.id)
    doubtful.restart()
    assert row_of(doubtful, message.id).state is M.DEFERRED
    doubtful.change("customers", {"code": message.customer}, name="Another Name")
    del sink.refuse[to]
    doubtful.restart()
    assert row_of(doubtful, message.id).state is M.SENT
    with doubtful.database.read() as connection, connection.begin():
        table = doubtful.database.tables.message
        stored = connection.execute(table.select().where(table.c.id == message.id)).one()
    sent = sink.received[-1].path.read_bytes()
    assert hashlib.sha256(sent).hexdigest() == stored.sha256
    assert stored.context is None, "what nobody needs any more is not kept"


def test_cancelling_gives_up_the_resend_and_not_the_guard(doubtful: World) -> None:
    message = the_doubtful(doubtful)
    decide(doubtful, message.id)
    stop_unfinished(doubtful)
    cancel(doubtful.workspace, "last")
    assert the_doubtful(doubtful).id == message.id
    again = doubtful.start()
    assert again.summary.skipped == {"MR125": 4}


def stop_unfinished(world: World) -> None:
    """Bring a finished run with something left to a status from which it can be cancelled."""
    with world.database.write() as connection:
        table = world.database.tables.run
        connection.execute(table.update().values(status=RunStatus.STOPPED))


def test_a_resend_in_a_cancelled_run_is_refused(doubtful: World) -> None:
    stop_unfinished(doubtful)
    cancel(doubtful.workspace, "last")
    with pytest.raises(UsageError, match="cancelled") as refused:
        decide(doubtful, the_doubtful(doubtful).id)
    assert f"start {DEFINITION}" in refused.value.hint


def test_only_what_is_in_doubt_can_be_resolved_and_all_or_nothing_is(doubtful: World) -> None:
    message = the_doubtful(doubtful)
    sent = next(each for each in doubtful.messages() if each.state is M.SENT)
    with pytest.raises(UsageError, match="not in doubt"):
        resolve(doubtful.workspace, [str(message.id), str(sent.id)], resend=False, because="")
    assert the_doubtful(doubtful).id == message.id


def test_a_message_may_be_named_by_its_message_id(doubtful: World) -> None:
    message = the_doubtful(doubtful)
    assert message.message_id is not None
    (done,) = resolve(
        doubtful.workspace, [message.message_id.strip("<>")], resend=False, because=""
    )
    assert done.message == message.id


@pytest.mark.parametrize("reference", ["999", "nobody@nowhere.test", "9" * 30])
def test_a_message_that_is_not_there_is_not_found(doubtful: World, reference: str) -> None:
    with pytest.raises(NotFoundError, match="no message"):
        resolve(doubtful.workspace, [reference], resend=True, because="")


def test_a_second_doubt_of_the_same_message_is_a_doubt_again(doubtful: World, sink: Sink) -> None:
    message = the_doubtful(doubtful)
    decide(doubtful, message.id)
    die(doubtful, "restart", "dot.written=kill")
    stop(doubtful.workspace, "last")
    assert the_doubtful(doubtful).id == message.id
    decide(doubtful, message.id)
    doubtful.restart()
    copies = [each for each in sink.received if each.message_id == message.message_id]
    assert row_of(doubtful, message.id).state is M.SENT
    assert len({each.path.read_bytes() for each in copies}) == 1


def test_documents_held_in_the_source_are_read_there_again(
    database: Database, tmp_path: Path
) -> None:
    with running_sink(tmp_path / "mail") as sink:
        world = make_world(database, tmp_path, sink.port)
        content = b"%PDF-1.4\nheld in the database\n%%EOF\n"
        for number in range(1, 5):
            world.change("documents", {"invoice": bill(number)}, path=None, content=content)
        with_doubt(world, "intent.committed=kill@2")
        message = the_doubtful(world)
        assert code(int(message.customer[1:])) == message.customer
        decide(world, message.id)
        ending, _ = world.restart()
        assert ending.summary.counts.sent == 4
        assert recipients(sink) == everybody()
