"""What a message was composed from, as JSON: a resend after doubt makes the same bytes of it."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from msgrun.model import Address, Customer, Document, Invoice, MessageContext
from msgrun.schema import json_text


def context_json(context: MessageContext) -> dict[str, Any]:
    """Return the JSON value of `message.context`; bytes of documents stay where they are."""
    documents = [asdict(replace(each, content=None)) for each in context.documents]
    return {
        "customer": _plain(context.customer),
        "addresses": [asdict(each) for each in context.addresses],
        "invoices": [_plain(each) for each in context.invoices],
        "documents": documents,
    }


def context_text(context: MessageContext) -> str:
    """Return what `message.context` holds, as the text that the column takes."""
    return json_text(context_json(context))


def _plain(thing: Customer | Invoice) -> dict[str, Any]:
    names = thing.__dataclass_fields__
    return {name: getattr(thing, name) for name in names} | {"meta": dict(thing.meta)}


def context_of(value: Mapping[str, Any], today: MessageContext | None) -> MessageContext:
    """Read it back.

    Args:
        value: what `context_json` returned.
        today: what the source has now, for the documents whose bytes are in the source itself.
    """
    kept = {
        (each.invoice, each.transformation, each.filename): each.content
        for each in (today.documents if today else ())
    }
    documents = [Document(**each) for each in value["documents"]]
    return MessageContext(
        customer=Customer(**value["customer"]),
        addresses=tuple(Address(**each) for each in value["addresses"]),
        invoices=tuple(Invoice(**each) for each in value["invoices"]),
        documents=tuple(
            replace(each, content=kept.get((each.invoice, each.transformation, each.filename)))
            if each.path is None
            else each
            for each in documents
        ),
    )
