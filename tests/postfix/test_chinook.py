"""The whole way of the Chinook example: its billing tables, msgrun, a real Postfix, mailboxes."""

import hashlib
import json
import re
from collections import Counter
from email import message_from_string, policy
from email.message import EmailMessage
from typing import Any

from chinook_store import CUSTOMERS, INVOICES, NON_ASCII, Example, Owed, Sent, owed
from postfix_server import Postfix


def test_every_invoice_reaches_its_own_customer_once(sent: Sent) -> None:
    expected = owed(sent.example.store)

    arrived = [parsed(data) for data in sent.messages]

    assert sent.shown["counts"]["sent"] == INVOICES
    assert len(arrived) == INVOICES
    assert len({message["Message-ID"] for message in arrived}) == INVOICES
    by_number = {number_of(message): message for message in arrived}
    assert by_number.keys() == expected.keys()
    for number, message in by_number.items():
        check_letter(message, expected[number])
    assert len(reached(arrived)) == CUSTOMERS


def test_every_sent_row_has_the_queue_id_under_which_postfix_delivered_it(
    sent: Sent, running_postfix: Postfix
) -> None:
    expected = owed(sent.example.store)
    deliveries, message_ids = running_postfix.deliveries(), running_postfix.message_ids()

    rows = results(sent.example)

    assert len({row["queue_id"] for row in rows}) == INVOICES
    for row in rows:
        (invoice,) = row["invoices"]
        address = expected[invoice["number"]].address
        assert row["state"] == "sent"
        assert row["code"] == 250
        assert row["to"] == [address]
        assert deliveries[row["queue_id"]] == [address]
        assert message_ids[row["queue_id"]] == row["message_id"]


def test_the_ledger_balances_and_shows_what_start_said(sent: Sent) -> None:
    shown = json.loads(sent.example.msgrun("show", "--json"))

    counts = {state: number for state, number in shown["counts"].items() if number}
    assert counts == {"in_scope": INVOICES, "sent": INVOICES}
    assert shown["in_scope_balances"] is True
    assert shown["skipped"] == {}
    assert shown["run"]["status"] == "finished"
    assert shown == sent.shown


def test_the_billing_file_keeps_its_bytes(sent: Sent) -> None:
    store = sent.example.store

    after = hashlib.sha256(store.read_bytes()).hexdigest()

    assert after == sent.digest
    assert list(store.parent.glob("chinook.sqlite*")) == [store]  # no journal beside it


def test_a_second_start_sends_nothing(example: Example, postfix: Postfix) -> None:
    start(example)
    postfix.drain()
    before = sorted(postfix.messages)

    again = start(example)
    postfix.drain()

    assert len(before) == INVOICES
    assert sorted(postfix.messages) == before
    assert again["counts"]["sent"] == 0
    assert again["skipped"] == {"MR125": INVOICES}
    assert again["in_scope_balances"] is True
    assert {row["reason"] for row in results(example)} == {"MR125"}


def test_an_address_with_a_letter_beyond_ascii_is_reached(
    example: Example, postfix: Postfix
) -> None:
    theirs = {number for number, owing in owed(example.store).items() if owing.address == NON_ASCII}
    assert theirs

    start(example, "--customer", "49")
    postfix.drain()

    arrived = [parsed(data) for data in postfix.messages]
    assert {number_of(message) for message in arrived} == theirs
    assert reached(arrived) == {NON_ASCII}


def start(example: Example, *selection: str) -> dict[str, Any]:
    """Start the example's definition; return the document that it ends with."""
    shown: dict[str, Any] = json.loads(
        example.msgrun("start", "statement", "--yes", "--json", *selection)
    )
    return shown


def results(example: Example) -> list[dict[str, Any]]:
    """Return the messages of the latest run."""
    return [json.loads(line) for line in example.msgrun("results", "--json").splitlines()]


def parsed(data: bytes) -> EmailMessage:
    """Return a delivered message; its headers may be UTF-8 (RFC 6532)."""
    message = message_from_string(data.decode("utf-8"), policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def number_of(message: EmailMessage) -> str:
    """Return the invoice number that the subject names."""
    found = re.fullmatch(r"Invoice (CH-\d+) from Chinook", message["Subject"])
    assert found, message["Subject"]
    return found[1]


def reached(messages: list[EmailMessage]) -> set[str]:
    """Return the mailboxes that Postfix delivered to."""
    return {message["Delivered-To"] for message in messages}


def check_letter(message: EmailMessage, owing: Owed) -> None:
    """Check that envelope, To and text all belong to the customer who owes the invoice."""
    assert message.get_all("Delivered-To") == [owing.address]
    assert message.get_all("X-Original-To") == [owing.address]
    assert [address.addr_spec for address in message["To"].addresses] == [owing.address]
    text = message.get_body(("plain",))
    assert text is not None
    lines = [line.split() for line in text.get_content().splitlines()]
    assert f"Dear {owing.name}," in text.get_content()
    assert ["Customer", owing.customer] in lines
    assert ["Total", "USD", owing.total] in lines
    assert not Counter(part.get_content_disposition() for part in message.walk())["attachment"]
