"""What is stored of a message's context is all of it, but for documents' bytes."""

import json
from dataclasses import asdict, replace

from msgrun.ledger.context import context_json, context_of
from msgrun.model import Address, Customer, Document, Invoice, MessageContext

CONTEXT = MessageContext(
    Customer("C1", "Acme", "All", True, "de", "Europe/Berlin", {"vat": "DE1", "deep": {"a": [1]}}),
    (Address("a@acme.test", "Ann"), Address("b@acme.test")),
    (
        Invoice("1", "C1", "INV-1", "Approved", "invoice", "2026-10-31", "2026-10-01",
                "2026-10-31", "EUR", "1.00", {"order": "7"}),
        Invoice("2", "C1", None, "Approved"),
    ),
    (
        Document("1", "pdf", "a.pdf", "application/pdf", "2026/a.pdf"),
        Document("1", "ubl", "a.xml", "text/xml", content=b"<a/>"),
    ),
)  # fmt: skip


def test_every_attribute_is_stored_but_not_the_bytes_of_documents():
    stored = context_json(CONTEXT)

    without = tuple(replace(each, content=None) for each in CONTEXT.documents)
    assert json.dumps(stored) == json.dumps(asdict(replace(CONTEXT, documents=without)))


def test_what_was_stored_is_read_back_with_the_bytes_of_today():
    stored = json.loads(json.dumps(context_json(CONTEXT)))

    assert context_of(stored, CONTEXT) == CONTEXT
    gone = context_of(stored, None)
    assert [each.content for each in gone.documents] == [None, None]
