"""Rows of the source as domain types, in batches: what the messages are made of."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection

from msgrun.errors import SourceError
from msgrun.model import Address, Customer, Document, Invoice, MessageContext
from msgrun.source.contract import parse_meta
from msgrun.source.mapping import AnyRow, AnySelect, Relation, reading

_CHUNK: Final = 500  # ids named in one statement

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
    query = relation.select(*_INVOICE)
    rows = _rows(connection, relation, query, "id", ids)
    found: dict[str, Invoice] = {}
    for row in rows:
        if row.id in found:
            raise _twice("invoices.id", row.id)
        values = row._asdict() | {"meta": _meta("invoices", row.id, row.meta)}
        _filled("invoices", values, "customer", "status")
        found[row.id] = Invoice(**values)
    return found


def customer_of(row: AnyRow) -> Customer:
    """Return the customer of a row with the columns `CUSTOMER`.

    Raises:
        SourceError: the row breaks the contract (MR006).
    """
    values = row._asdict()
    _filled("customers", values, "code", "name")
    if row.suspended not in {"0", "1"}:
        raise _fault(f"customers.suspended of {row.code!r} is {row.suspended!r}")
    values |= {
        "suspended": row.suspended == "1",
        "meta": _meta("customers", row.code, row.meta),
    }
    return Customer(**values)


def _customers(
    connection: Connection, relation: Relation, codes: Sequence[str]
) -> dict[str, Customer]:
    found: dict[str, Customer] = {}
    for row in _rows(connection, relation, relation.select(*CUSTOMER), "code", codes):
        if row.code in found:
            raise _twice("customers.code", row.code)
        found[row.code] = customer_of(row)
    return found


def _addresses(
    connection: Connection, relation: Relation, codes: Sequence[str], key: str
) -> Mapping[str, list[Address]]:
    under_key = relation.distinct_addresses().where(relation.equals_any("key", [key]))
    found: dict[str, list[Address]] = defaultdict(list)
    for row in _rows(connection, relation, under_key, "customer", codes):
        if row.address is not None:
            found[row.customer].append(Address(row.address, row.display_name or ""))
    for addresses in found.values():
        addresses.sort(key=lambda each: each.address)
    return found


def _documents(
    connection: Connection,
    relation: Relation,
    ids: Sequence[str],
    transformations: Sequence[str],
) -> Mapping[str, list[Document]]:
    """Return the wanted documents of each invoice, in the order of `transformations`."""
    found: dict[str, list[Document]] = defaultdict(list)
    if not transformations:
        return found
    names = ("invoice", "transformation", "filename", "media_type", "path")
    query = relation.select(*names).add_columns(relation.columns["content"].label("content"))
    query = query.where(relation.equals_any("transformation", transformations))
    for row in _rows(connection, relation, query, "invoice", ids):
        values = row._asdict() | {"content": _bytes(row.content)}
        _filled("documents", values, "filename")
        if row.media_type is None:
            del values["media_type"]
        found[row.invoice].append(Document(**values))
    order = {name: place for place, name in enumerate(transformations)}
    for documents in found.values():
        documents.sort(key=lambda each: (order[each.transformation], each.filename))
    return found


def _rows(
    connection: Connection, relation: Relation, query: AnySelect, column: str, ids: Sequence[str]
) -> Iterator[AnyRow]:
    """Yield the rows of `query` whose `column` is one of `ids`."""
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        with reading(relation.name, mapped=relation.mapped):
            rows = connection.execute(query.where(relation.equals_any(column, chunk))).all()
        yield from rows


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


def _filled(relation: str, values: Mapping[str, Any], *names: str) -> None:
    for name in names:
        if values[name] is None:
            raise _fault(f"{relation}.{name} is empty: {dict(values)!r}")


def _twice(column: str, value: str) -> SourceError:
    return _fault(f"{column} comes more than once: {value!r}")


def _fault(message: str) -> SourceError:
    return SourceError(f"{message} (MR006)", "correct the row in the billing data")
