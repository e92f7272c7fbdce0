"""A planned run beside the last one: who is new, who is missing and why, what is far off."""

from decimal import Decimal
from pathlib import Path

import pytest

from billing_world import DEFINITION, World, address, bill, code, make_world
from msgrun.control.rehearsal_folder import RehearsalFolder
from msgrun.control.rehearse import rehearse
from msgrun.control.start import plan_run
from msgrun.database import Database
from msgrun.demo.sink import Sink
from msgrun.planning.comparison import Case, Comparison

MAPPED = """
customers = "SELECT code, name, cluster, suspended FROM {0}customers"
addresses = "SELECT customer, key, address FROM {0}addresses"
clusters = "SELECT name, parent FROM {0}clusters"
invoices = "SELECT id, customer, number, status, date, currency, total FROM {0}invoices"
documents = "SELECT invoice, transformation, filename, media_type, path FROM {0}documents"
"""


BOTH = pytest.mark.parametrize("billed", ["own", "mapped"], indirect=True)


@pytest.fixture
def billed(request: pytest.FixtureRequest, database: Database, tmp_path: Path, sink: Sink) -> World:
    """Five customers got their invoice of October; that of November is there for each."""
    world = make_world(database, tmp_path, sink.port, customers=5)
    if getattr(request, "param", "own") == "mapped":
        prefix = "msgrun_" if database.is_sqlite else "msgrun."
        world.reconfigure("[source]", "[source]" + MAPPED.format(prefix))
    world.start()
    for number in range(1, 6):
        bill_november(world, number)
    return world


def bill_november(world: World, number: int, total: str = "10.00", documents: int = 1) -> None:
    id_ = f"n{number:03}"
    world.add("invoices", id=id_, customer=code(number), number=f"NOV-{number}",
              status="Approved", date="2026-11-30", currency="EUR", total=total)  # fmt: skip
    for each in range(documents):
        world.add("documents", invoice=id_, transformation="pdf", filename=f"{each}.pdf",
                  media_type="application/pdf", path=f"{bill(number)}.pdf")  # fmt: skip


def compared(world: World, *, whole: bool = True, period: str = "2026-11", **wanted: object
             ) -> Comparison:  # fmt: skip
    selection = world.selection(period=period, **wanted)
    _, checked = plan_run(world.workspace, DEFINITION, selection, compare=whole)
    assert checked.comparison is not None
    return checked.comparison


def test_a_month_like_the_last_one_has_nothing_to_tell(billed: World) -> None:
    told = compared(billed)

    assert (told.last.run, told.last.period) == (1, "2026-10")
    assert (told.messages.before, told.messages.now, told.messages.is_far) == (5, 5, False)
    assert told.totals is not None
    assert (told.totals["EUR"].before, told.totals["EUR"].now) == (Decimal(50), Decimal(50))
    for cases in (told.new, told.missing, told.addresses, told.amounts, told.attachments):
        assert cases is not None
        assert (cases.count, list(cases.examples)) == (0, [])
    assert told.sizes is None


@BOTH
def test_new_missing_and_readdressed_customers_are_counted_and_named(billed: World) -> None:
    billed.change("customers", {"code": code(1)}, suspended=True)
    billed.change("invoices", {"id": "n002"}, status="Open")
    billed.remove("invoices", id="n003")
    billed.change("addresses", {"customer": code(4)}, address="other@customer.test")
    billed.add("customers", code="C009", name="New", cluster="All")
    billed.add("addresses", customer="C009", key="invoice", address=address(9))
    bill_november(billed, 9)

    for whole in (False, True):
        told = compared(billed, whole=whole)
        assert told.new is not None
        assert told.missing is not None
        assert told.addresses is not None
        assert [each.customer for each in told.new.examples] == ["C009"]
        assert told.missing.count == 3
        assert dict(told.reasons) == {"MR102": 1, "MR122": 1, "MR123": 1}
        assert [(each.customer, each.reason) for each in told.missing.examples] == [
            (code(1), "MR102"), (code(2), "MR123"), (code(3), "MR122")
        ]  # fmt: skip
        assert list(told.addresses.examples) == [Case(code(4), address(4), "other@customer.test")]


@BOTH
def test_who_left_the_cluster_or_is_gone_is_missing_for_that(billed: World) -> None:
    billed.remove("invoices", id="n001")
    billed.change("customers", {"code": code(2)}, cluster="Elsewhere")
    billed.remove("invoices", id="n003")
    billed.remove("customers", code=code(3))
    billed.remove("invoices", id="i003")

    told = compared(billed)

    assert dict(told.reasons) == {"MR101": 1, "MR103": 1, "MR122": 1}


@BOTH
def test_a_total_is_far_from_three_times_on(billed: World) -> None:
    for number, total in enumerate(("30.00", "30.01", "3.34", "3.33", "-10"), 1):
        billed.change("invoices", {"id": f"n{number:03}"}, total=total)

    told = compared(billed)

    assert told.amounts is not None
    assert list(told.amounts.examples) == [
        Case(code(2), "EUR 10.00", "EUR 30.01"),
        Case(code(4), "EUR 10.00", "EUR 3.33"),
        Case(code(5), "EUR 10.00", "EUR -10.00"),
    ]


@BOTH
def test_four_times_the_attachments_are_far(billed: World) -> None:
    for each in "abc":
        billed.add("documents", invoice="n002", transformation="pdf", filename=f"{each}.pdf",
                   media_type="application/pdf", path=f"{bill(2)}.pdf")  # fmt: skip

    told = compared(billed)

    assert told.attachments is not None
    assert list(told.attachments.examples) == [Case(code(2), "1", "4")]


def test_amounts_of_customers_with_invoices_that_are_gone_are_not_compared(billed: World) -> None:
    billed.add("invoices", id="x001", customer=code(1), number="X-1", status="Approved",
               date="2026-10-31", currency="EUR", total="10.00")  # fmt: skip
    billed.add("documents", invoice="x001", transformation="pdf", filename="x.pdf",
               media_type="application/pdf", path=f"{bill(1)}.pdf")  # fmt: skip
    billed.start()
    billed.remove("invoices", id=bill(1))
    billed.change("invoices", {"id": "n001"}, total="99999")

    told = compared(billed)

    assert (told.gone, told.totals) == (1, None)
    assert told.amounts is not None
    assert told.amounts.count == 0


def test_who_has_the_message_already_is_not_missing(billed: World) -> None:
    told = compared(billed, period="2026-10")

    assert (told.last.run, told.messages.now) == (1, 0)
    assert told.missing is not None
    assert (told.missing.count, dict(told.reasons)) == (0, {})


def test_one_customer_is_compared_with_that_customer_alone(billed: World) -> None:
    told = compared(billed, customers=[code(2)])

    assert (told.messages.before, told.messages.now) == (1, 1)
    assert told.missing is not None
    assert told.missing.count == 0


def test_redirected_limited_and_cancelled_runs_are_no_last_time(billed: World) -> None:
    billed.start(period="2026-11", redirect_to="me@ops.test")
    billed.start(period="2026-11", limit=1)

    told = compared(billed, period="2026-12")

    assert told.last.run == 1


def test_what_a_second_run_of_the_month_sent_is_part_of_last_time(billed: World) -> None:
    billed.start(period="2026-11", limit=2)
    billed.start(period="2026-11")

    told = compared(billed, period="2026-12")

    assert told.last.runs == (3, 2)
    assert told.messages.before == 5


def test_a_definition_that_never_ran_is_compared_with_nothing(
    database: Database, tmp_path: Path
) -> None:
    world = make_world(database, tmp_path, 1)
    _, checked = plan_run(world.workspace, DEFINITION, world.selection(), compare=True)
    assert checked.comparison is None


def test_only_a_rehearsal_knows_how_large_the_messages_are(billed: World) -> None:
    large = billed.folder / "documents" / "i002.pdf"
    large.write_bytes(b"%PDF-1.4\n" + b"x" * 50_000)
    folder = RehearsalFolder(billed.folder / "r", force=False)

    told = rehearse(
        billed.workspace,
        DEFINITION,
        billed.selection(period="2026-11"),
        folder,
        lambda _told, _batch: None,
    ).comparison

    assert told is not None
    assert told.sizes is not None
    (case,) = told.sizes.examples
    assert case.customer == code(2)
    assert int(case.before or 0) < 5_000
    assert int(case.now or 0) > 50_000
