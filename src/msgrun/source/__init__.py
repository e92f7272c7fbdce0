"""The billing data as it is now, read only: msgrun's own tables, or a person's SELECTs."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, false, func, or_

from msgrun.database import Database
from msgrun.model import Customer, Invoice, MessageContext, Period
from msgrun.schema import RELATIONS
from msgrun.source import loading
from msgrun.source.live import Live, Narrowing, own_facts
from msgrun.source.lookup import lookup
from msgrun.source.mapping import (
    AnyRow,
    AnySelect,
    Relation,
    empty_relation,
    mapped_relation,
    own_relation,
    reading,
)
from msgrun.source.snapshot import Snapshot, take, transaction

__all__ = ["FOUND_AT_MOST", "Live", "Narrowing", "Snapshot", "Source"]

FOUND_AT_MOST: Final = 20
"""So many customers are found by a part of their name."""

_LONGEST = 64  # letters of a code that somebody types
_ALL: Final = Narrowing()


class Source:
    """Customers, addresses, clusters, invoices and documents; nothing here ever writes to them.

    Args:
        database: where msgrun's own tables are, and the mapped ones are reached.
        mapping: a SELECT for each relation that is mapped. When any is, those without one
            are empty; when none is, msgrun's own tables are read.
        documents_root: the folder under which `documents.path` lies.
    """

    def __init__(
        self, database: Database, mapping: Mapping[str, str | None], documents_root: Path
    ) -> None:
        self.database = database
        self.documents_root = documents_root
        self._selects = {name: sql for name, sql in mapping.items() if sql is not None}
        self._relations: dict[str, Relation] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes."""
        return Source, (self.database, self._selects, self.documents_root)

    def snapshot(
        self,
        connection: Connection,
        *,
        period: Period | None = None,
        customers: Collection[str] | None = None,
        invoices: Collection[str] | AnySelect | None = None,
    ) -> Snapshot:
        """Copy the source into TEMP tables of `connection`, checked against the contract.

        Args:
            connection: of `database.connect(attach=True)`, in no transaction; none is left open.
            period: only the invoices whose period day, the first ten characters of `period_end`
                (else `date`), lies in it.
            customers: only the rows of these customers.
            invoices: only these invoices, by id, and their documents; ids, or SQL for them.

        Raises:
            SourceError: a SELECT fails or lacks a column, or rows break the contract (MR006).
        """
        with transaction(connection, "read"):
            relations = {name: self._relation(connection, name) for name in RELATIONS}
        return take(connection, relations, period=period, customers=customers, invoices=invoices)

    def live(self, connection: Connection, narrowing: Narrowing = _ALL) -> Live:
        """Return the source as it stands, for SQL over many customers.

        msgrun's own tables are read where they are. A person's SELECTs have no indexes that
        could be relied on: they are copied first, as by `snapshot`.

        Args:
            connection: as for `snapshot`.
            narrowing: what part of it is meant.

        Raises:
            SourceError: a SELECT fails or lacks a column, or rows break the contract (MR006).
                msgrun's own tables are checked by `Live.check`.
        """
        if self._selects:
            copied = self.snapshot(
                connection,
                period=narrowing.period,
                customers=narrowing.customers,
                invoices=narrowing.invoices,
            )
            return Live(**{name: getattr(copied, name) for name in RELATIONS}, relations={})
        with transaction(connection, "read"):
            relations = {name: self._relation(connection, name) for name in RELATIONS}
        return own_facts(relations, narrowing)

    def load(
        self,
        connection: Connection,
        wanted: Sequence[tuple[str, Sequence[str]]],
        *,
        key: str,
        transformations: Sequence[str],
    ) -> list[MessageContext | None]:
        """Load what each wanted message is made of, as the source has it now.

        Args:
            connection: of `database.read(attach=True)`.
            wanted: customer code and invoice ids of each message.
            key: the address key; addresses come in the order of their text.
            transformations: the documents to load, with their content where the source holds it.

        Returns:
            A context for each wanted message, in order; None where the customer or one of the
            invoices is gone. Each invoice says whose it is; it is not made to fit.

        Raises:
            SourceError: a SELECT fails, or a row breaks the contract (MR006).
        """
        return loading.contexts(
            connection,
            lambda name: self._relation(connection, name),
            wanted,
            key=key,
            transformations=transformations,
        )

    def numbers(self, connection: Connection, invoice_ids: Sequence[str]) -> dict[str, Invoice]:
        """Return the invoices as they are now, by id; those that are gone are absent.

        Raises:
            SourceError: a SELECT fails, or a row breaks the contract (MR006).
        """
        unique = list(dict.fromkeys(invoice_ids))
        return loading.invoices(connection, self._relation(connection, "invoices"), unique)

    def totals(self, connection: Connection, invoice_ids: Sequence[str]) -> dict[str, AnyRow]:
        """Return number, currency and total of invoices as they are now, by id, as they come.

        Those that are gone are absent. A row that breaks the contract does not matter here.

        Raises:
            SourceError: a SELECT fails (MR006).
        """
        relation = self._relation(connection, "invoices")
        names = ("id", "number", "currency", "total")
        by_id = lookup(relation, "id", lambda: relation.select(*names), *names)
        return {row.id: row for row in by_id.rows(connection, list(dict.fromkeys(invoice_ids)))}

    def names(self, connection: Connection, codes: Sequence[str]) -> dict[str, str]:
        """Return the names of customers as they are now, by code; those that are gone are absent.

        Raises:
            SourceError: a SELECT fails (MR006).
        """
        relation = self._relation(connection, "customers")
        by_code = lookup(relation, "code", lambda: relation.select("code", "name"), "name")
        rows = by_code.rows(connection, list(dict.fromkeys(codes)))
        return {row.code: row.name or "" for row in rows}

    def find_customers(
        self, connection: Connection, text: str, *, limit: int = FOUND_AT_MOST
    ) -> list[Customer]:
        """Return the customers that `text` may mean.

        The one with that code; else those with that code in another case; else those with the
        text in code or name.

        Raises:
            SourceError: a SELECT fails, or a row breaks the contract (MR006).
        """
        relation = self._relation(connection, "customers")
        code = relation.text_of("code")
        for condition in (
            relation.equals_any("code", [text]),
            func.lower(code) == func.lower(text),
            _contains(relation, text),
        ):
            query = relation.select(*loading.CUSTOMER).where(condition).order_by(code).limit(limit)
            rows = _all(connection, relation, query)
            if rows:
                return [loading.customer_of(row) for row in rows]
        return []

    def customer_codes(
        self, connection: Connection, like: str | None = None, *, limit: int
    ) -> list[tuple[str, str]]:
        """Return code and name of customers by code; with `like`, those that hold that text."""
        relation = self._relation(connection, "customers")
        query = relation.select("code", "name").order_by(relation.text_of("code")).limit(limit)
        if like is not None:
            query = query.where(_contains(relation, like))
        return [(code, name) for code, name in _all(connection, relation, query)]

    def keys_histogram(self, connection: Connection) -> dict[str, int]:
        """Return how many customers have an address under each key."""
        relation = self._relation(connection, "addresses")
        customers = func.count(relation.text_of("customer").distinct())
        return _counts(connection, relation, "key", customers)

    def resembling(self, connection: Connection, text: str, *, limit: int) -> list[tuple[str, str]]:
        """Return code and name of customers whose code is one slip away from `text`, or nearly.

        A letter mistaken, left out, added, or swapped with its neighbour, in any case. Where there
        is no such code, those with half of the text in their name. A text that is too long to be
        mistyped resembles nobody.
        """
        if not 1 < len(text) <= _LONGEST:
            return []
        relation = self._relation(connection, "customers")
        kept = relation.kinds["code"] == "text"
        code = relation.columns["code"] if kept else relation.text_of("code")
        slips = [
            _like(connection, code, f"{_escaped(text[:i])}%{_escaped(text[i + 2 :])}")
            for i in range(len(text) - 1)
        ]
        close = func.length(code).between(len(text) - 1, len(text) + 1) & or_(*slips)
        halves = [text[: len(text) // 2], text[len(text) // 2 :]]
        name = relation.text_of("name")
        named = [_like(connection, name, f"%{_escaped(half)}%") for half in halves if len(half) > 2]
        for condition in (close, or_(false(), *named)):
            query = relation.select("code", "name").where(condition).limit(limit)
            if found := _all(connection, relation, query):
                return [(row[0], row[1]) for row in found]
        return []

    def has_key(self, connection: Connection, key: str) -> bool:
        """Tell whether any customer has an address under a key."""
        relation = self._relation(connection, "addresses")
        query = relation.select("key").where(relation.equals_any("key", [key])).limit(1)
        return bool(_all(connection, relation, query))

    def statuses(self, connection: Connection) -> dict[str, int]:
        """Return how many invoices have each status."""
        return _counts(connection, self._relation(connection, "invoices"), "status", func.count())

    def cluster_names(self, connection: Connection) -> list[str]:
        """Return the names of all clusters: those of the tree, and those of customers."""
        names: set[str] = set()
        for name, column in (("clusters", "name"), ("customers", "cluster")):
            relation = self._relation(connection, name)
            rows = _all(connection, relation, relation.select(column).distinct())
            names.update(row[0] for row in rows if row[0] is not None)
        return sorted(names)

    def _relation(self, connection: Connection, name: str) -> Relation:
        """Return a relation; a SELECT's columns are looked at once."""
        if name not in self._relations:
            tables = self.database.tables
            if name in self._selects:
                made = mapped_relation(connection, tables, name, self._selects[name])
            else:
                make = empty_relation if self._selects else own_relation
                made = make(tables, name)
            self._relations[name] = made
        return self._relations[name]


def _all(connection: Connection, relation: Relation, query: AnySelect) -> Sequence[AnyRow]:
    with reading(relation.name, mapped=relation.mapped):
        return connection.execute(query).all()


def _like(connection: Connection, column: ColumnElement[Any], pattern: str) -> ColumnElement[bool]:
    """Return the condition that a column is like a pattern, in any case (SQLite: of ASCII)."""
    if connection.dialect.name == "sqlite":  # its LIKE is of any case already
        return column.like(pattern, escape="/")
    return column.ilike(pattern, escape="/")


def _escaped(text: str) -> str:
    return text.replace("/", "//").replace("%", "/%").replace("_", "/_")


def _counts(
    connection: Connection, relation: Relation, column: str, count: ColumnElement[int]
) -> dict[str, int]:
    query = relation.select(column).add_columns(count).group_by(relation.text_of(column))
    return {name: number for name, number in _all(connection, relation, query) if name is not None}


def _contains(relation: Relation, text: str) -> ColumnElement[bool]:
    """Return the condition that code or name holds `text`, in any case.

    SQLite lowers ASCII letters only, so that the text as given is tried too.
    """
    return or_(
        *(
            condition
            for column in (relation.text_of("code"), relation.text_of("name"))
            for condition in (
                column.contains(text, autoescape=True),
                func.lower(column).contains(text.lower(), autoescape=True),
            )
        )
    )
