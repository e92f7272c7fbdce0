"""The source as it stands, msgrun's own tables without a copy: for planning, for everybody."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Subquery,
    case,
    false,
    func,
    select,
    true,
)

from msgrun.model import Period
from msgrun.schema import RELATIONS
from msgrun.source.checks import check_own, check_period_days
from msgrun.source.contract import CONTRACTS
from msgrun.source.mapping import AnySelect, Relation

_Conditions = tuple[ColumnElement[bool], ...]


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What part of the source is meant; all of it where nothing is given.

    Attributes:
        period: only the invoices whose period day lies in it.
        customers: only the rows of these customers.
        invoices: only the invoices whose id is among these rows, and their documents.
    """

    period: Period | None = None
    customers: Collection[str] | None = None
    invoices: AnySelect | None = None


@dataclass(frozen=True, slots=True)
class Live:
    """The five relations for SQL of one connection; every column is text, as in a snapshot.

    Attributes:
        relations: msgrun's own tables that are read where they are; none where a person's
            SELECTs were copied, and checked with that.
    """

    customers: FromClause
    addresses: FromClause
    clusters: FromClause
    invoices: FromClause
    documents: FromClause
    relations: Mapping[str, Relation]
    narrowing: Narrowing = field(default_factory=Narrowing)

    def check(self, connection: Connection) -> None:
        """Check the rows against the contract, in the caller's transaction.

        Raises:
            SourceError: rows break it (MR006).
        """
        if not self.relations:
            return
        narrowing, invoices = self.narrowing, self.relations["invoices"]
        if narrowing.period is not None:
            # Text that is no date falls out of every period unseen: look before filtering.
            whole = _whose(invoices, "customer", narrowing) + _which(invoices, "id", narrowing)
            check_period_days(connection, invoices, _period_day(invoices), whole)
        for relation in self.relations.values():
            meant = _conditions(relation, invoices, narrowing)
            check_own(connection, relation, meant, few=narrowing.customers is not None)


def own_facts(relations: Mapping[str, Relation], narrowing: Narrowing) -> Live:
    """Return msgrun's own tables as they stand; see `Source.live`.

    The rules take out other periods and customers themselves: said twice, it would make
    databases expect far fewer rows.
    """
    which = {"invoices": _which(relations["invoices"], "id", narrowing)}
    views = {name: _view(relations[name], which.get(name, ())) for name in RELATIONS}
    return Live(**views, relations=relations, narrowing=narrowing)


def _conditions(relation: Relation, invoices: Relation, narrowing: Narrowing) -> _Conditions:
    if relation.name == "customers":
        return _whose(relation, "code", narrowing)
    if relation.name == "addresses":
        return _whose(relation, "customer", narrowing)
    if relation.name == "invoices":
        return (
            *_whose(relation, "customer", narrowing),
            *_which(relation, "id", narrowing),
            *_when(relation, narrowing),
        )
    if relation.name == "documents":
        meant = _conditions(invoices, invoices, narrowing)
        ids = select(invoices.columns["id"]).select_from(invoices.from_).where(*meant)
        return (relation.within("invoice", ids),) if meant else ()
    return ()


def _whose(
    relation: Relation, column: str, narrowing: Narrowing
) -> tuple[ColumnElement[bool], ...]:
    customers = narrowing.customers
    return () if customers is None else (relation.equals_any(column, list(customers)),)


def _which(
    relation: Relation, column: str, narrowing: Narrowing
) -> tuple[ColumnElement[bool], ...]:
    invoices = narrowing.invoices
    return () if invoices is None else (relation.within(column, invoices),)


def _when(invoices: Relation, narrowing: Narrowing) -> _Conditions:
    period = narrowing.period
    if period is None:
        return ()
    head = func.substr(_period_day(invoices), 1, 10)
    return (head.between(period.start.isoformat(), period.end.isoformat()),)


def _period_day(invoices: Relation) -> ColumnElement[Any]:
    return func.coalesce(invoices.text_of("period_end"), invoices.text_of("date"))


def _view(relation: Relation, conditions: _Conditions) -> Subquery:
    """Return a relation as text, its filled columns bare so that the indexes serve them.

    Where the check finds none of those empty, that is the same text.
    """
    filled = CONTRACTS[relation.name].filled
    columns: list[ColumnElement[Any]] = []
    for name, kept in relation.columns.items():
        if name == "content":
            continue
        told: ColumnElement[Any] = kept if name in filled else relation.text_of(name)
        if name == "suspended":  # the two usual values need no conversion
            told = case((kept.is_(true()), "1"), (kept.is_(false()), "0"), else_=told)
        columns.append(told.label(name))
    rows = select(*columns).select_from(relation.from_).where(*conditions)
    return rows.subquery(f"live_{relation.name}")
