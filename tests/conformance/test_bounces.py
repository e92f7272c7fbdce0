"""What a notice changes in the ledger: the message that came back, once, and nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from billing_world import World, address, code
from msgrun.bounces.mailboxes import Mail
from msgrun.control.bounces import Taken, take_in
from msgrun.ledger import runs
from msgrun.ledger.returned import Effect, Returned
from msgrun.ledger.rows import MessageRow
from msgrun.states import MessageState
from notices import notice


class Heap:
    """Mails in memory, and how often one of them was marked as read."""

    name = "heap"

    def __init__(self, *mails: bytes) -> None:
        self.mails = mails
        self.marked = 0

    @contextmanager
    def opened(self) -> Iterator[Iterator[Mail]]:
        yield (Mail(data, self._done) for data in self.mails)

    def _done(self) -> None:
        self.marked += 1


def taken_in(world: World, *mails: bytes, dry_run: bool = False) -> tuple[Taken, list[Returned]]:
    found: list[Returned] = []
    return take_in(world.workspace, [Heap(*mails)], told=found.append, dry_run=dry_run), found


def row_of(world: World, number: int) -> MessageRow:
    (row,) = [each for each in world.messages() if each.customer == code(number)]
    return row


def id_of(world: World, number: int) -> str:
    found = row_of(world, number).message_id
    assert found is not None
    return found


def test_a_sent_message_becomes_bounced_with_status_and_diagnostic(world: World) -> None:
    world.start()

    taken, (returned,) = taken_in(world, notice(id_of(world, 1), [address(1)]))

    row = row_of(world, 1)
    assert taken.effects == {Effect.BOUNCED: 1}
    assert (returned.customer, returned.hard) == (code(1), True)
    assert (row.state, row.reason) == (MessageState.BOUNCED, "MR509")
    assert row.reply is not None
    assert (row.reply.code, row.reply.enhanced) == (550, "5.1.1")
    assert "User unknown" in (row.detail or "")
    assert {each.state for each in world.messages()} == {MessageState.SENT, MessageState.BOUNCED}


def test_the_same_notice_again_changes_nothing(world: World) -> None:
    world.start()
    mail = notice(id_of(world, 1), [address(1)])
    taken_in(world, mail)
    before = world.messages()

    taken, _ = taken_in(world, mail, mail)

    assert taken.effects == {Effect.KNOWN: 2}
    assert world.messages() == before


def test_the_envelope_id_is_enough(world: World) -> None:
    world.start()
    envelope = id_of(world, 2).strip("<>")

    taken, _ = taken_in(world, notice("", [address(2)], envelope_id=envelope))

    assert taken.effects == {Effect.BOUNCED: 1}


def test_an_address_that_it_was_forwarded_to_still_loses_the_only_recipient(world: World) -> None:
    world.start()

    taken, _ = taken_in(world, notice(id_of(world, 1), ["forwarded@elsewhere.test"]))

    assert taken.effects == {Effect.BOUNCED: 1}


def test_one_of_several_recipients_leaves_it_sent_and_the_last_makes_it_bounced(
    world: World,
) -> None:
    world.add("addresses", customer=code(1), key="invoice", address="second@customer.test")
    world.start()
    first = notice(id_of(world, 1), [address(1)])
    second = notice(id_of(world, 1), ["second@customer.test"])

    taken, _ = taken_in(world, first)
    partly = row_of(world, 1)
    taken_in(world, notice(id_of(world, 1), ["copy@acme.test"]))
    unchanged = row_of(world, 1)
    last, _ = taken_in(world, second)

    assert taken.effects == {Effect.PARTLY: 1}
    assert partly.state is MessageState.SENT
    assert [each.address for each in partly.refused] == [address(1)]
    assert unchanged == partly, "a blind copy that came back is nobody's trouble"
    assert last.effects == {Effect.BOUNCED: 1}
    assert row_of(world, 1).state is MessageState.BOUNCED


def test_a_delay_and_a_stranger_change_nothing(world: World) -> None:
    world.start()
    before = world.messages()

    taken, _ = taken_in(
        world,
        notice(id_of(world, 1), [address(1)], action="delayed", status="4.4.1"),
        notice("<never@acme.test>", [address(1)]),
    )

    assert taken.effects == {Effect.DELAYED: 1, Effect.FOREIGN: 1}
    assert world.messages() == before


def test_a_dry_run_writes_and_marks_nothing(world: World) -> None:
    world.start()
    heap = Heap(notice(id_of(world, 1), [address(1)]))
    before = world.messages()

    taken = take_in(world.workspace, [heap], told=lambda _one: None, dry_run=True)

    assert taken.effects == {Effect.BOUNCED: 1}
    assert world.messages() == before
    assert heap.marked == 0


def test_only_notices_of_ours_are_marked_as_read(world: World) -> None:
    world.start()
    heap = Heap(
        notice(id_of(world, 1), [address(1)]),
        notice("<never@acme.test>", ["x@y.test"]),
        b"Subject: hello\n\nWhere is my invoice?\n",
    )

    take_in(world.workspace, [heap], told=lambda _one: None)

    assert heap.marked == 1


def test_the_runs_history_says_that_messages_came_back(world: World) -> None:
    run = world.start().summary.run
    taken_in(world, notice(id_of(world, 1), [address(1)]), notice(id_of(world, 2), [address(2)]))

    with world.database.read() as connection, connection.begin():
        events = runs.events(connection, world.database.tables, run.id)
    assert ("came back", "2 messages came back") in [
        (each["kind"], each["detail"]) for each in events
    ]


def test_a_restart_with_failed_sends_it_again_to_the_new_address(world: World) -> None:
    world.start()
    taken_in(world, notice(id_of(world, 1), [address(1)]))
    world.change("addresses", {"customer": code(1)}, address="right@customer.test")

    ending, _ = world.restart(failed=True)

    assert ending.summary.counts.bounced == 0
    assert [each.address for each in row_of(world, 1).recipients] == ["right@customer.test"]


@pytest.mark.parametrize("address_case", [str.upper, str.title])
def test_an_address_counts_in_any_letters(world: World, address_case) -> None:
    world.add("addresses", customer=code(1), key="invoice", address="second@customer.test")
    world.start()

    taken, _ = taken_in(world, notice(id_of(world, 1), [address_case(address(1))]))

    assert taken.effects == {Effect.PARTLY: 1}
