"""A real Postfix: what it sends back, and what it writes into its log, is understood."""

from pathlib import Path

import pytest
from postfix_server import Postfix, wait_until

from billing_world import World, address, code, make_world
from msgrun.bounces.mailboxes import Folder
from msgrun.control.bounces import take_in
from msgrun.control.evidence import trace
from msgrun.database import Database
from msgrun.ledger.returned import Effect
from msgrun.states import MessageState

GONE = {
    "transport_maps": f"inline:{{ {{ {address(1)} = error:5.1.1 no such user }} }}",
    "smtpd_reject_unlisted_recipient": "no",  # taken first, as a relay does
}


@pytest.fixture
def bounced(sqlite_database: Database, tmp_path: Path, postfix: Postfix) -> World:
    """Four messages sent, of which one came back to the sender."""
    postfix.configure(GONE)
    try:
        world = make_world(sqlite_database, tmp_path, postfix.port)
        world.start()
        postfix.drain()
        wait_until(lambda: len(postfix.messages) == 4, lambda: postfix.log[-3000:])
    finally:
        postfix.configure({})
    return world


def test_its_notice_makes_the_message_bounced(bounced: World, postfix: Postfix) -> None:
    found = []
    inbox = Folder(postfix.root / "mail" / "inbox", mark=False)

    taken = take_in(bounced.workspace, [inbox], told=found.append)

    assert (taken.mails, taken.notices) == (4, 1)
    (one,) = found
    assert (one.effect, one.customer, one.status) == (Effect.BOUNCED, code(1), "5.1.1")
    assert "no such user" in one.diagnostic
    row = next(each for each in bounced.messages() if each.customer == code(1))
    assert row.state is MessageState.BOUNCED


def test_it_was_told_the_envelope_id_and_leaves_the_invoice_out(
    bounced: World, postfix: Postfix
) -> None:
    (notice,) = [each for each in postfix.messages if b"multipart/report" in each]
    row = next(each for each in bounced.messages() if each.customer == code(1))

    assert row.message_id is not None
    assert f"Original-Envelope-Id: {row.message_id.strip('<>')}".encode() in notice
    assert b"text/rfc822-headers" in notice
    assert b"Dear " not in notice


def test_its_log_says_who_got_what(bounced: World, postfix: Postfix) -> None:
    _, traced = trace(bounced.workspace, "last", [postfix.root / "log" / "mail.log"])

    by_customer = {each.customer: each for each in traced}
    (lost,) = by_customer[code(1)].deliveries
    (fine,) = by_customer[code(2)].deliveries
    assert (lost.status, lost.enhanced) == ("bounced", "5.1.1")
    assert (fine.status, fine.address) == ("sent", address(2))
    assert by_customer[code(2)].arrived
    assert all(each.queue_id for each in by_customer.values())
