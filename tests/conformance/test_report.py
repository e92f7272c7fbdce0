"""A report's figures are those of the ledger and the billing data, on every database."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import event, update

from billing_world import World, address, bill, code, make_world
from msgrun.database import Database
from msgrun.demo.sink import Sink
from msgrun.ledger import figures as outside
from msgrun.ledger import views
from msgrun.report import Report, read_messages, read_report, reading
from msgrun.states import MessageState, RunStatus

M = MessageState


def report_of(world: World) -> Report:
    return read_report(world.workspace, world.runs()[0])


def settle(world: World, number: int, state: MessageState, **values: object) -> None:
    table = world.database.tables.message
    with world.database.write() as connection:
        changed = connection.execute(
            update(table).where(table.c.customer == code(number)).values(state=state, **values)
        )
    assert changed.rowcount == 1


@pytest.fixture
def motley(database: Database, tmp_path, sink: Sink) -> World:
    """A run of ten with every fate."""
    world = make_world(database, tmp_path, sink.port, customers=10)
    world.change("invoices", {"id": bill(2)}, currency="USD", total="0.1")
    world.change("invoices", {"id": bill(3)}, currency="USD", total="0.2")
    world.change("invoices", {"id": bill(4)}, total="-3.30")
    world.remove("addresses", customer=code(6))
    for number, domain in ((7, "gmail.com"), (8, "GoogleMail.com")):
        world.change("addresses", {"customer": code(number)}, address=f"c{number}@{domain}")
    sink.refuse[address(9)] = f"550 5.1.1 {address(9)}: unknown"
    world.start()
    settle(world, 1, M.BOUNCED)
    settle(world, 2, M.IN_DOUBT)
    world.remove("invoices", id=bill(10))
    world.change("invoices", {"id": bill(5)}, total="about ten")
    return world


def test_amounts_are_exact_and_each_invoice_is_in_one_of_them(motley: World) -> None:
    report = report_of(motley)

    assert (report.counts.in_scope, report.counts.sent, report.not_sent) == (10, 7, 3)
    assert (report.money["USD"].sent, report.money["USD"].not_sent) == (
        Decimal("0.2"), Decimal("0.1"),
    )  # fmt: skip
    assert report.money["EUR"].sent == 3 * 10 - Decimal("3.30")
    assert report.money["EUR"].not_sent == 20
    priced = sum(each.sent_invoices + each.not_sent_invoices for each in report.money.values())
    assert (report.gone.sent, report.unstated.sent) == (1, 1)
    assert priced + 2 == report.counts.in_scope


def test_its_counts_are_those_of_show(motley: World) -> None:
    report = report_of(motley)

    with motley.database.read() as connection, connection.begin():
        summary = views.summarize(connection, motley.database.tables, report.run)
    assert (report.counts, report.messages) == (summary.counts, summary.messages)


def test_every_message_that_was_not_sent_has_its_reason(motley: World) -> None:
    found = {(each.state, each.code): each for each in report_of(motley).reasons}

    assert set(found) == {
        (M.BOUNCED, "MR509"), (M.IN_DOUBT, "MR507"), (M.SKIPPED, "MR105"), (M.REJECTED, "MR506"),
    }  # fmt: skip
    assert found[M.REJECTED, "MR506"].answers == [("550 5.1.1 …@…: unknown", 1)]


def test_the_domains_of_one_provider_stand_together(motley: World) -> None:
    found = {each.name: each for each in report_of(motley).providers}

    assert set(found) == {"Google", "customer.test"}
    assert found["Google"].states == {M.SENT: 2}
    assert found["customer.test"].messages == 7, "the skipped one went nowhere"


def test_many_domains_are_named_up_to_a_number_and_none_is_lost(motley: World) -> None:
    table = motley.database.tables.message
    with motley.database.write() as connection:
        for each in motley.messages():
            to = [{"address": f"a@d{each.id}.test", "display_name": ""}]
            connection.execute(update(table).where(table.c.id == each.id).values(recipients=to))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("msgrun.report.figures._NAMED", 3)
        providers = report_of(motley).providers

    assert [each.name for each in providers][3:] == [None]
    assert providers[-1].domains == 6
    assert sum(each.messages for each in providers) == 9


def test_a_page_at_a_time_says_the_same(motley: World, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = report_of(motley)
    monkeypatch.setattr(reading, "PAGE", 3)
    paged = report_of(motley)

    for name in ("counts", "reasons", "money", "gone", "listed"):
        assert getattr(paged, name) == getattr(whole, name)


def test_it_asks_by_the_page_in_transactions_that_end_with_it(motley: World) -> None:
    asked: list[str] = []
    pages = []
    with motley.database.read(attach=True) as connection:
        event.listen(connection, "before_cursor_execute", lambda *about: asked.append(about[2]))
        for page in read_messages(motley.workspace, connection, motley.runs()[0]):
            assert not connection.in_transaction()
            pages.append(page)

    assert sum(map(len, pages)) == 10
    assert len([each for each in asked if each.startswith("SELECT")]) == 3


def test_a_collated_message_counts_each_invoice(database: Database, tmp_path, sink: Sink) -> None:
    world = make_world(database, tmp_path, sink.port, customers=2, collate=True)
    world.change("invoices", {"id": bill(2)}, customer=code(1))
    world.change("documents", {"invoice": bill(2)}, path=f"{bill(1)}.pdf")
    world.start()

    report = report_of(world)

    assert (report.counts.in_scope, report.messages.in_scope) == (2, 1)
    assert sum(each.sent for each in report.money.values()) == 20


def test_a_mapped_source_says_the_amounts_too(world: World) -> None:
    world.start()
    own = {name: world.database.tables.relation(name) for name in
           ("customers", "addresses", "invoices", "clusters", "documents")}  # fmt: skip
    selects = "\n".join(f'{name} = "SELECT * FROM {own[name].fullname};"' for name in own)
    world.reconfigure("[source]\n", f"[source]\n{selects}\n")

    report = report_of(world)

    assert report.money["EUR"].sent == 40
    assert [each.name for each in report.listed] == ["N 1", "N 2", "N 3", "N 4"]


def test_figures_for_metrics_are_of_the_last_run_and_of_all_doubts(motley: World) -> None:
    motley.change("invoices", {"id": bill(5)}, total="10")
    motley.start(customers=(code(7),))

    with motley.database.read() as connection, connection.begin():
        found = outside.take_figures(connection, motley.database)

    figures = found.definitions["monthly"]
    assert figures.runs == {RunStatus.FINISHED: 2}
    assert figures.in_doubt == 1
    assert figures.messages == {M.SKIPPED: 1}
    assert figures.last is not None
    assert figures.last.id == 2
    assert found.at - datetime.now(UTC) < timedelta(minutes=1)
    assert dict(found.workers) == {}
