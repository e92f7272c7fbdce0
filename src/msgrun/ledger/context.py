"""What a message was composed from, as JSON: a resend after doubt makes the same bytes of it."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from operator import attrgetter
from typing import Any, Final

from msgrun.model import Address, Customer, Document, Invoice, MessageContext
from msgrun.schema import json_text


def _reader(kind: type[Any], *apart: str) -> Callable[[Any], dict[str, Any]]:
    """Return what makes a dict of a dataclass; `dataclasses.asdict` copies all that is in it."""
    names = [each.name for each in fields(kind) if each.name not in apart]
    values = attrgetter(*names)
    return lambda thing: dict(zip(names, values(thing), strict=True))


_ADDRESS: Final = _reader(Address)
_CUSTOMER: Final = _reader(Customer, "meta")
_INVOICE: Final = _reader(Invoice, "meta")
_DOCUMENT: Final = _reader(Document, "content")


def context_json(context: MessageContext) -> dict[str, Any]:
    """Return the JSON value of `message.context`; bytes of documents stay where they are."""
    customer = context.customer
    return {
        "customer": _CUSTOMER(customer) | {"meta": dict(customer.meta)},
        "addresses": [_ADDRESS(each) for each in context.addresses],
        "invoices": [_INVOICE(each) | {"meta": dict(each.meta)} for each in context.invoices],
        "documents": [_DOCUMENT(each) | {"content": None} for each in context.documents],
    }


def context_text(context: MessageContext) -> str:
    """Return what `message.context` holds, as the text that the column takes."""
    return json_text(context_json(context))


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
