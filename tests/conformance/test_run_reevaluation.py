"""A restart asks the rules again: today's data decides what is still unsent."""

from collections import Counter
from pathlib import Path

import pytest
from sending import everybody, parsed, recipients, stopped_world, unsent

from billing_world import World, address, bill, code, make_world
from msgrun.control.restart import restart
from msgrun.control.stop import cancel
from msgrun.database import Database
from msgrun.demo.sink import Sink
from msgrun.errors import (
    AlreadyRunningError,
    ExitCode,
)
from msgrun.states import RunStatus

R = RunStatus


def test_a_restart_skips_who_is_no_longer_eligible_and_uses_new_addresses(
    long_world: World, sink: Sink
) -> None:
    stopped_world(long_world)
    sink.delay = 0
    *_, suspended, moved = unsent(long_world)
    customers = {invoice: f"C{invoice[1:]}" for invoice in (suspended, moved)}
    long_world.change("customers", {"code": customers[suspended]}, suspended=True)
    long_world.change("addresses", {"customer": customers[moved]}, address="new@customer.test")
    ending, (proposal,) = long_world.restart()
    (excluded,) = proposal.review.excluded
    assert (excluded.invoice, excluded.reason) == (suspended, "MR102")
    (changed,) = proposal.review.addresses
    assert [each.address for each in changed.after] == ["new@customer.test"]
    assert ending.summary.skipped == {"MR102": 1}
    assert ending.summary.counts.sent == 119
    assert recipients(sink)["new@customer.test"] == 1
    assert set(recipients(sink).values()) == {1}


def test_restart_failed_revives_what_was_repaired_with_todays_definition(
    world: World, sink: Sink
) -> None:
    sink.refuse[address(1)] = "550 5.1.1 No such user"
    world.change("documents", {"invoice": bill(2)}, transformation="ubl")
    (world.folder / "documents" / f"{bill(3)}.pdf").unlink()
    world.change("invoices", {"id": bill(4)}, status="Pending")
    (world.folder / "documents" / f"{bill(4)}.pdf").touch()
    world.add("invoices", id="ok", customer=code(4), status="Approved", date="2026-10-03")
    world.add("documents", invoice="ok", transformation="pdf", filename="ok.pdf",
              media_type="application/pdf", content=b"%PDF-1.4\n%%EOF\n")  # fmt: skip
    world.start()
    assert world.states() == {
        bill(1): "rejected", bill(2): "MR401", bill(3): "MR401", bill(4): "MR123", "ok": "sent",
    }  # fmt: skip
    world.change("addresses", {"customer": code(1)}, address="right@customer.test")
    world.change("documents", {"invoice": bill(2)}, transformation="pdf")
    (world.folder / "documents" / f"{bill(3)}.pdf").write_bytes(b"%PDF-1.4\n%%EOF\n")
    (world.folder / "monthly.txt").write_text("A better text for {{ customer.code }}\n")
    ending, (proposal,) = world.restart(failed=True)
    assert proposal.to_send == 3
    assert (ending.summary.counts.sent, ending.summary.skipped) == (4, {"MR123": 1})
    bodies = {mail["To"]: mail.get_body() for mail in parsed(sink)}
    body = bodies["right@customer.test"]
    assert body is not None
    assert "A better text" in body.get_content()
    assert set(recipients(sink).values()) == {1}


def test_restart_failed_names_a_new_reason_for_what_stays_skipped(world: World, sink: Sink) -> None:
    world.change("customers", {"code": code(1)}, suspended=True)
    assert world.start().summary.skipped == {"MR102": 1}
    world.change("customers", {"code": code(1)}, suspended=False)
    world.change("invoices", {"id": bill(1)}, status="Pending")
    ending, (proposal,) = world.restart(failed=True)
    assert (proposal.to_send, [each.reason for each in proposal.review.renamed]) == (0, ["MR123"])
    assert (ending.summary.skipped, ending.exit_code) == ({"MR123": 1}, ExitCode.DONE)
    assert recipients(sink) == everybody() - Counter([address(1)])


def test_pending_messages_keep_their_definition_when_failed_ones_get_todays(
    long_world: World, sink: Sink
) -> None:
    sink.refuse[address(1)] = "550 5.1.1 No such user"
    stopped_world(long_world)
    sink.refuse.clear()
    sink.delay = 0
    long_world.reconfigure('recipient_key = "invoice"', 'recipient_key = "billing"')
    long_world.add("addresses", customer=code(1), key="billing", address="b1@customer.test")
    ending, _ = long_world.restart(failed=True)
    assert (ending.summary.counts.sent, ending.exit_code) == (120, ExitCode.DONE)
    expected = everybody(120) - Counter([address(1)]) + Counter(["b1@customer.test"])
    assert recipients(sink) == expected


def test_a_run_that_somebody_else_changed_while_a_person_thinks_is_not_restarted(
    long_world: World, sink: Sink
) -> None:
    stopped_world(long_world)
    arrived = len(sink.received)

    def think(_proposal: object) -> bool:
        cancel(long_world.workspace, "last")
        return True

    with pytest.raises(AlreadyRunningError, match="meanwhile"):
        restart(long_world.workspace, "last", failed=False, confirm=think, wait=False)
    assert long_world.runs()[0].status is R.CANCELLED
    assert len(sink.received) == arrived


def test_a_collated_run_with_a_limit_is_restarted_whole(
    database: Database, tmp_path: Path, sink: Sink
) -> None:
    world = make_world(database, tmp_path, sink.port, customers=2, collate=True)
    for name in ("x1", "x2"):
        world.add("invoices", id=name, customer=code(1), status="Approved", date="2026-10-02")
        world.add("documents", invoice=name, transformation="pdf", filename=f"{name}.pdf",
                  media_type="application/pdf", content=b"%PDF-1.4\n%%EOF\n")  # fmt: skip
    sink.refuse[address(1)] = "450 4.2.1 Later"
    assert world.start(limit=1).summary.counts.deferred == 3
    sink.refuse.clear()
    ending, _ = world.restart()
    assert (ending.summary.counts.sent, ending.summary.skipped) == (3, {"MR127": 1})
    assert recipients(sink) == {address(1): 1}


def test_an_invoice_that_is_no_longer_eligible_leaves_its_collated_message(
    database: Database, tmp_path: Path, sink: Sink
) -> None:
    world = make_world(database, tmp_path, sink.port, customers=1, collate=True)
    world.add("invoices", id="x", customer=code(1), status="Approved", date="2026-10-02")
    world.add("documents", invoice="x", transformation="pdf", filename="x.pdf",
              media_type="application/pdf", content=b"%PDF-1.4\n%%EOF\n")  # fmt: skip
    sink.refuse[address(1)] = "450 4.2.1 Later"
    world.start()
    sink.refuse.clear()
    world.change("invoices", {"id": "x"}, status="Error")
    ending, (proposal,) = world.restart()
    assert proposal.to_send == 1
    assert world.states() == {bill(1): "sent", "x": "MR123"}
    assert ending.summary.counts.balances


@pytest.mark.parametrize("fault", ["refused", "missing file"])
def test_a_collated_message_comes_back_whole_after_two_different_faults(
    database: Database, tmp_path: Path, sink: Sink, fault: str
) -> None:
    world = make_world(database, tmp_path, sink.port, customers=2, collate=True)
    world.add("invoices", id="x", customer=code(1), status="Approved", date="2026-10-02")
    world.add("documents", invoice="x", transformation="pdf", filename="x.pdf",
              media_type="application/pdf", content=b"%PDF-1.4\n%%EOF\n")  # fmt: skip
    file = tmp_path / "documents" / f"{bill(1)}.pdf"
    if fault == "refused":
        sink.refuse[address(1)] = "550 5.1.1 No such user"
    else:
        file.rename(file.with_suffix(".away"))
    assert world.start().summary.counts.left_over == 2
    world.change("customers", {"code": code(1)}, suspended=True)
    assert world.restart(failed=True)[0].summary.skipped == {"MR102": 2}
    world.change("customers", {"code": code(1)}, suspended=False)
    sink.refuse.clear()
    if fault == "missing file":
        file.with_suffix(".away").rename(file)
    ending, _ = world.restart(failed=True)
    assert (ending.summary.counts.sent, ending.summary.messages.sent) == (3, 2)
    assert recipients(sink) == everybody(2)


def test_an_invoice_booked_to_another_customer_never_leaves_for_the_old_one(
    long_world: World, sink: Sink
) -> None:
    stopped_world(long_world)
    sink.delay = 0
    moved = unsent(long_world)[-1]
    long_world.change("invoices", {"id": moved}, customer=code(1))

    ending, (proposal,) = long_world.restart()

    assert [each.invoice for each in proposal.review.excluded] == [moved]
    assert ending.summary.run.status is R.FINISHED
    assert long_world.states()[moved] == "MR121"
    assert set(recipients(sink).values()) == {1}


def test_pending_messages_keep_their_definition_through_the_restart_after_that(
    world: World, sink: Sink
) -> None:
    sink.refuse |= {address(1): "450 4.2.1 Later", address(2): "550 5.7.1 No"}
    for number in (1, 2, 3, 4):
        world.add("addresses", customer=code(number), key="billing",
                  address=f"b{number}@customer.test")  # fmt: skip
    world.start()
    world.reconfigure('recipient_key = "invoice"', 'recipient_key = "billing"')
    sink.refuse["b2@customer.test"] = "450 4.2.1 Later"
    assert world.restart(failed=True)[0].summary.counts.deferred == 2
    sink.refuse.clear()
    ending, (proposal,) = world.restart()
    assert proposal.review.addresses == []
    assert ending.summary.run.status is R.FINISHED
    assert recipients(sink) == everybody() - Counter([address(2)]) + Counter(["b2@customer.test"])


def test_an_invoice_now_of_another_customer_goes_to_that_one_or_stays(
    world: World, sink: Sink
) -> None:
    sink.refuse |= {address(1): "550 5.1.1 No such user", address(2): "450 4.2.1 Later"}
    world.start()
    sink.refuse.clear()
    for number in (1, 2):
        world.add("customers", code=f"NEW{number}", name="New", cluster="All", suspended=False)
        world.add("addresses", customer=f"NEW{number}", key="invoice",
                  address=f"new{number}@customer.test")  # fmt: skip
        world.change("invoices", {"id": bill(number)}, customer=f"NEW{number}")
    ending, _ = world.restart()
    assert ending.summary.skipped == {"MR121": 1}
    assert recipients(sink) == everybody() - Counter([address(1), address(2)])
    ending, _ = world.restart(failed=True)
    assert (ending.summary.counts.sent, ending.summary.counts.balances) == (4, True)
    gone = Counter([address(1), address(2)])
    assert recipients(sink) == everybody() - gone + Counter(
        ["new1@customer.test", "new2@customer.test"]
    )


def test_a_resend_that_a_later_run_has_made_good_is_not_made_again(
    world: World, sink: Sink
) -> None:
    world.start()
    sink.refuse |= {address(1): "550 5.1.1 No such user", address(2): "550 5.1.1 No such user"}
    world.start(resend=True)
    sink.refuse.clear()
    world.start(resend=True, customers=(code(1),))
    ending, _ = world.restart("2", failed=True)
    assert (ending.summary.counts.sent, ending.summary.skipped) == (3, {"MR125": 1})
    assert set(recipients(sink).values()) == {2}
