"""Personal data of old runs goes; counts and the guard stay, and runs beside it are not touched."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from billing_world import TODAY, World, address, bill, code
from msgrun.control.resolve import resolve
from msgrun.control.stop import cancel
from msgrun.database import Database
from msgrun.demo.sink import Sink
from msgrun.doctor import diagnose
from msgrun.ledger import purge as purging
from msgrun.ledger import runs, views
from msgrun.ledger.purge import Order, Survey, purge, survey
from msgrun.ledger.rows import Summary
from msgrun.report import read_report
from msgrun.states import Codes, MessageState, RunStatus

M = MessageState
SECRET = "Zanzibar"


def order(
    *, days: int | None = 400, customer: str | None = None, codes: Codes = Codes.KEEP
) -> Order:
    before = None if days is None else datetime.now(UTC) - timedelta(days=days)
    return Order(before, customer, codes, "as a test")


def carry_out(world: World, wanted: Order) -> Survey:
    return purge(world.database, wanted, lambda _found: None)


def age(world: World, run: int, *, days: int = 500) -> None:
    table, then = world.database.tables.run, datetime.now(UTC) - timedelta(days=days)
    with world.database.write() as connection:
        connection.execute(
            update(table).where(table.c.id == run).values(finished_at=then, created_at=then)
        )


def written(database: Database) -> str:
    """Return all that the ledger has in words; the billing data is left out."""
    tables = database.tables
    with database.read() as connection, connection.begin():
        rows = [
            row
            for table in (tables.run, tables.message, tables.attempt, tables.event)
            for row in connection.execute(select(table)).all()
        ]
    return repr(rows)


def figures(world: World, run: int = 1) -> Summary:
    with world.database.read() as connection, connection.begin():
        found = runs.get_run(connection, world.database.tables, run)
        return views.summarize(connection, world.database.tables, found)


def doubt(world: World, number: int, state: MessageState = M.IN_DOUBT) -> int:
    message = world.database.tables.message
    with world.database.write() as connection:
        found: int = connection.execute(
            update(message)
            .where(message.c.customer == code(number))
            .values(state=state, context={"customer": address(number)}, sha256="0" * 64,
                    doubted_at=datetime.now(UTC), reason="MR507")
            .returning(message.c.id)
        ).scalar_one()  # fmt: skip
    return found


@pytest.fixture
def old(world: World, sink: Sink) -> World:
    """A finished run of four, long ago: two sent, one of them in part, one refused, one skipped."""
    world.add("addresses", customer=code(1), key="invoice", address="other@customer.test")
    sink.refuse["other@customer.test"] = f"550 5.1.1 {SECRET} has no other@customer.test"
    sink.refuse[address(2)] = f"550 5.1.1 {SECRET} does not know {address(2)}"
    world.remove("addresses", customer=code(3))
    world.start()
    assert set(world.states().values()) == {"sent", "rejected", "MR105"}
    age(world, 1)
    return world


def test_nothing_of_a_person_is_left_and_every_figure_is_the_same(old: World) -> None:
    before, kept = figures(old), world_ids(old)
    assert SECRET in written(old.database)

    done = carry_out(old, order())

    assert (done.messages, [each.run.id for each in done.runs]) == (4, [1])
    left = written(old.database)
    assert SECRET not in left
    assert "@customer.test" not in left
    after = figures(old)
    assert (after.counts, after.messages, after.skipped) == (
        before.counts, before.messages, before.skipped,
    )  # fmt: skip
    assert after.refused == before.refused == 1
    assert after.run.purged_at is not None
    assert world_ids(old) == kept


def world_ids(world: World) -> list[tuple[Any, ...]]:
    return [
        (each.customer, each.invoices, each.state, each.reason, each.message_id, each.queue_id,
         each.reply and each.reply.code, each.attempts, each.sent_at)
        for each in world.messages()
    ]  # fmt: skip


def test_on_sqlite_the_words_are_overwritten_in_the_file(old: World) -> None:
    if not old.database.is_sqlite:
        pytest.skip("PostgreSQL's vacuum does that")
    assert SECRET.encode() in old.database.path.read_bytes()

    carry_out(old, order())

    files = old.database.path.parent.glob(f"{old.database.path.name}*")
    assert not any(SECRET.encode() in file.read_bytes() for file in files)


def test_the_same_invoice_is_still_not_sent_again(old: World, sink: Sink) -> None:
    carry_out(old, order(codes=Codes.REMOVE))
    taken = len(sink.received)

    old.start()

    assert old.states(2)[bill(1)] == old.states(2)[bill(4)] == "MR125"
    assert len(sink.received) == taken


def test_a_second_purge_finds_nothing_and_is_not_noted(old: World) -> None:
    carry_out(old, order())
    noted = old.count("event")

    assert carry_out(old, order()) == Survey([], [])
    assert old.count("event") == noted


def test_young_runs_keep_everything(old: World) -> None:
    age(old, 1, days=399)
    before = written(old.database)

    assert survey(old.database, order()).runs == []
    carry_out(old, order())

    assert written(old.database) == before


def test_a_run_that_may_still_send_is_left_alone_and_named(world: World, sink: Sink) -> None:
    sink.refuse[address(1)] = "451 4.2.0 later"
    world.start()
    age(world, 1)
    assert world.runs()[0].status is RunStatus.WAITING

    done = carry_out(world, order())

    assert (done.runs, [run.id for run in done.left]) == ([], [1])
    assert address(1) in written(world.database)
    cancel(world.workspace, "1")
    age(world, 1)
    assert carry_out(world, order()).messages == 4


def test_a_message_in_doubt_keeps_what_settles_it_until_it_is_settled(old: World) -> None:
    key = doubt(old, 4)

    first = carry_out(old, order())
    assert (first.messages, first.in_doubt) == (3, 1)
    assert address(4) in written(old.database)
    assert figures(old).run.purged_at is None
    resolve(old.workspace, [str(key)], resend=False, because=f"{SECRET} told me")
    second = carry_out(old, order())

    assert (second.messages, second.in_doubt) == (1, 0)
    left = written(old.database)
    assert SECRET not in left
    assert address(4) not in left
    assert f"message {key} taken for sent" in left
    assert figures(old).run.purged_at is not None


def test_a_purge_is_noted_with_who_and_how_much(old: World) -> None:
    carry_out(old, order())

    with old.database.read() as connection, connection.begin():
        (noted,) = (
            each
            for each in runs.events(connection, old.database.tables, 1)
            if each["kind"] == "purged"
        )
    assert "4 messages" in noted["detail"]
    assert "@" in noted["actor"]


def test_one_customers_request_touches_no_other_customer(old: World) -> None:
    done = carry_out(old, order(days=None, customer=code(2)))

    assert done.messages == 1
    left = written(old.database)
    assert address(2) not in left
    assert address(4) in left
    assert figures(old).run.purged_at is None


@pytest.mark.parametrize("codes", [Codes.HASH, Codes.REMOVE])
def test_customers_codes_go_when_asked_also_later(old: World, codes: Codes) -> None:
    carry_out(old, order())
    assert code(1) in written(old.database)

    assert carry_out(old, order(codes=codes)).messages == 4

    customers = {each.customer for each in old.messages()}
    assert all(each.startswith("purged:") for each in customers)
    assert len(customers) == (4 if codes is Codes.HASH else 1)
    assert carry_out(old, order(codes=codes)).runs == []


def test_a_hashed_code_is_not_found_again_by_hashing_all_codes() -> None:
    first, second = order(codes=Codes.HASH), order(codes=Codes.HASH)

    assert first.code_of("CU1") == first.code_of("CU1")
    assert first.code_of("CU1") != second.code_of("CU1")
    assert first.code_of(first.code_of("CU1")) == first.code_of("CU1")


def test_a_run_that_is_restarted_meanwhile_is_left_alone(
    old: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = survey(old.database, order())
    monkeypatch.setattr(purging, "survey", lambda _database, _order: looked)
    table = old.database.tables.run
    with old.database.write() as connection:
        connection.execute(update(table).values(status=RunStatus.RUNNING, finished_at=None))

    done = carry_out(old, order())

    assert done.messages == 0
    assert [run.id for run in done.left] == [1]
    assert SECRET in written(old.database)


def test_it_goes_chunk_by_chunk_and_on_where_it_was(
    old: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "CHUNK", 1)
    monkeypatch.setattr(purging.time, "sleep", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        carry_out(old, order())
    assert sum(each.purged_at is not None for each in old.messages()) == 1
    assert "personal data of 1 message," in written(old.database)
    monkeypatch.setattr(purging.time, "sleep", lambda _seconds: None)

    assert carry_out(old, order()).messages == 3


def _interrupt(_seconds: float) -> None:
    raise KeyboardInterrupt


def test_a_purged_message_that_is_tried_again_is_none_any_more(old: World, sink: Sink) -> None:
    carry_out(old, order())
    sink.refuse.clear()
    old.add("addresses", customer=code(3), key="invoice", address=address(3))

    old.restart("1", failed=True)

    assert old.states(1)[bill(2)] == old.states(1)[bill(3)] == "sent"
    by_customer = {each.customer: each for each in old.messages()}
    assert by_customer[code(2)].purged_at is None
    age(old, 1)
    assert carry_out(old, order()).messages == 2


def test_the_doctor_and_the_report_say_that_it_was_purged(old: World) -> None:
    carry_out(old, order())

    told = repr(diagnose(old.workspace, code(1), today=TODAY, offline=True))
    assert "purged" in told
    assert "MR510" not in told
    report = read_report(old.workspace, old.runs()[-1])
    assert report.purged == 4
    assert [each.name for each in report.providers] == [""]
    assert report.counts == figures(old).counts
