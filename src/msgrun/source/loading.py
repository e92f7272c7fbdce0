"""Rows of the source as domain types, in batches: what the messages are made of."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection

from msgrun.errors import SourceError
from msgrun.model import Address, Customer, Document, Invoice, MessageContext
from msgrun.source.contract import parse_meta
from msgrun.source.lookup import lookup
from msgrun.source.mapping import AnyRow, AnySelect, Relation

CUSTOMER: Final = ("code", "name", "cluster", "suspended", "language", "timezone", "meta")
"""The columns of a customer."""

_INVOICE: Final = (
    "id",
    "customer",
    "number",
    "status",
    "type",
    "date",
    "period_start",
    "period_end",
    "currency",
    "total",
    "meta",
)
_DOCUMENT: Final = ("invoice", "transformation", "filename", "media_type", "path")
_UNKNOWN_TYPE: Final = "application/octet-stream"


def contexts(
    connection: Connection,
    relation: Callable[[str], Relation],
    wanted: Sequence[tuple[str, Sequence[str]]],
    *,
    key: str,
    transformations: Sequence[str],
) -> list[MessageContext | None]:
    """Load what the wanted messages are made of; see `Source.load`."""
    codes = _unique(code for code, _ in wanted)
    ids = _unique(invoice for _, invoices in wanted for invoice in invoices)
    customers = _customers(connection, relation("customers"), codes)
    addresses = _addresses(connection, relation("addresses"), codes, key)
    found = invoices(connection, relation("invoices"), ids)
    documents = _documents(connection, relation("documents"), ids, transformations)
    made: list[MessageContext | None] = []
    for code, invoice_ids in wanted:
        if code not in customers or any(invoice not in found for invoice in invoice_ids):
            made.append(None)
            continue
        context = MessageContext(
            customer=customers[code],
            addresses=tuple(addresses[code]),
            invoices=tuple(found[invoice] for invoice in invoice_ids),
            documents=tuple(d for invoice in invoice_ids for d in documents[invoice]),
        )
        made.append(context)
    return made


def invoices(connection: Connection, relation: Relation, ids: Sequence[str]) -> dict[str, Invoice]:
    """Return the invoices that the source has now, by id.

    Raises:
        SourceError: an id comes twice, or a row breaks the contract (MR006).
    """
    found: dict[str, Invoice] = {}
    by_id = lookup(relation, "id", lambda: relation.select(*_INVOICE))
    for row in by_id.rows(connection, ids):
        key, customer, number, status, kind, day, start, end, currency, total, meta = row
        if key in found:
            raise _twice("invoices.id", key)
        if customer is None or status is None:
            raise _empty("invoices", row, "customer", "status")
        kept = _meta("invoices", key, meta)
        found[key] = Invoice(
            key, customer, number, status, kind, day, start, end, currency, total, kept
        )
    return found


def customer_of(row: AnyRow) -> Customer:
    """Return the customer of a row with the columns `CUSTOMER`.

    Raises:
        SourceError: the row breaks the contract (MR006).
    """
    code, name, cluster, suspended, language, timezone, meta = row
    if code is None or name is None:
        raise _empty("customers", row, "code", "name")
    if suspended not in {"0", "1"}:
        raise _fault(f"customers.suspended of {code!r} is {suspended!r}")
    kept = _meta("customers", code, meta)
    return Customer(code, name, cluster, suspended == "1", language, timezone, kept)


def _customers(
    connection: Connection, relation: Relation, codes: Sequence[str]
) -> dict[str, Customer]:
    found: dict[str, Customer] = {}
    by_code = lookup(relation, "code", lambda: relation.select(*CUSTOMER))
    for row in by_code.rows(connection, codes):
        customer = customer_of(row)
        if customer.code in found:
            raise _twice("customers.code", customer.code)
        found[customer.code] = customer
    return found


def _addresses(
    connection: Connection, relation: Relation, codes: Sequence[str], key: str
) -> Mapping[str, list[Address]]:
    def under_key() -> AnySelect:
        return relation.distinct_addresses().where(relation.equals_any("key", [key]))

    found: dict[str, list[Address]] = defaultdict(list)
    by_customer = lookup(relation, "customer", under_key, key)
    for customer, _, address, display_name in by_customer.rows(connection, codes):
        if address is not None:
            found[customer].append(Address(address, display_name or ""))
    for addresses in found.values():
        if len(addresses) > 1:
            addresses.sort(key=lambda each: each.address)
    return found


def _documents(
    connection: Connection,
    relation: Relation,
    ids: Sequence[str],
    transformations: Sequence[str],
) -> Mapping[str, list[Document]]:
    """Return the wanted documents of each invoice, in the order of `transformations`."""

    def wanted() -> AnySelect:
        content = relation.columns["content"].label("content")
        query = relation.select(*_DOCUMENT).add_columns(content)
        return query.where(relation.equals_any("transformation", transformations))

    found: dict[str, list[Document]] = defaultdict(list)
    if not transformations:
        return found
    by_invoice = lookup(relation, "invoice", wanted, *transformations)
    for row in by_invoice.rows(connection, ids):
        invoice, transformation, filename, media_type, path, content = row
        if filename is None:
            raise _empty("documents", row, "filename")
        kind = _UNKNOWN_TYPE if media_type is None else media_type
        document = Document(invoice, transformation, filename, kind, path, _bytes(content))
        found[invoice].append(document)
    order = {name: place for place, name in enumerate(transformations)}
    for documents in found.values():
        if len(documents) > 1:
            documents.sort(key=lambda each: (order[each.transformation], each.filename))
    return found


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _bytes(content: Any) -> bytes | None:
    if content is None:
        return None
    return content.encode() if isinstance(content, str) else bytes(content)


def _meta(relation: str, key: str, value: str | None) -> dict[str, Any]:
    if value is None:
        return {}
    try:
        return parse_meta(value)
    except ValueError:
        raise _fault(f"{relation}.meta of {key!r} is not a JSON object") from None


def _empty(relation: str, row: AnyRow, *names: str) -> SourceError:
    values = row._asdict()
    name = next(name for name in names if values[name] is None)
    return _fault(f"{relation}.{name} is empty: {values!r}")


def _twice(column: str, value: str) -> SourceError:
    return _fault(f"{column} comes more than once: {value!r}")


def _fault(message: str) -> SourceError:
    return SourceError(f"{message} (MR006)", "correct the row in the billing data")
