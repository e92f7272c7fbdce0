"""The messages of a planned run, one after the other: a run of any length in little memory."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from sqlalchemy import Connection, Table, select

from msgrun.ledger.rows import addresses_of
from msgrun.model import Address
from msgrun.source.mapping import AnyRow

PAGE: Final = 2_000
"""Invoices read at once; no transaction is open while somebody works on them."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One message of a run that is not written.

    Attributes:
        number: its place in the run, from 1.
        recipients: the addresses that it goes to.
        invoices: their ids.
        reason: why it would be skipped; None where it would be sent.
    """

    number: int
    customer: str
    recipients: tuple[Address, ...]
    invoices: tuple[str, ...]
    reason: str | None


def outline(
    connection: Connection, scope: Table, *, collate: bool, sendable: bool = False
) -> Iterator[Planned]:
    """Yield the messages as the run would number them, skipped ones too.

    Args:
        connection: the draft's; in no transaction.
        scope: see `scope.scope_table`.
        collate: whether the eligible invoices of a customer share a message.
        sendable: leave the skipped ones out; collated messages are then numbered without them.
    """
    rows = _rows(connection, scope, sendable=sendable)
    if not collate:
        for row in rows:
            yield _planned(row.place, [row])
        return
    number = 0
    for _, theirs in groupby(rows, key=lambda row: row.customer):
        # As the run orders them: what goes together comes first, then each that is skipped.
        apart: dict[str, list[AnyRow]] = {"": []}
        for row in theirs:
            apart.setdefault(row.bundle, []).append(row)
        for together in filter(None, apart.values()):
            number += 1
            yield _planned(number, together)


def _rows(connection: Connection, scope: Table, *, sendable: bool) -> Iterator[AnyRow]:
    names = ("place", "customer", "invoice", "bundle", "reason", "recipients")
    query = select(*(scope.c[name] for name in names)).order_by(scope.c.place).limit(PAGE)
    if sendable:
        query = query.where(scope.c.reason.is_(None))
    after = 0
    while True:
        with connection.begin():
            page = connection.execute(query.where(scope.c.place > after)).all()
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].place


def _planned(number: int, rows: list[AnyRow]) -> Planned:
    first = rows[0]
    recipients = addresses_of(json.loads(first.recipients or "[]"))
    invoices = tuple(row.invoice for row in rows)
    return Planned(number, first.customer, recipients, invoices, first.reason)
