"""The source as it stands, without a copy of msgrun's own tables: for looking at everybody."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Subquery, case, false, select, true

from msgrun.schema import RELATIONS
from msgrun.source.checks import check_own
from msgrun.source.contract import CONTRACTS
from msgrun.source.mapping import Relation


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

    def check(self, connection: Connection) -> None:
        """Check the rows against the contract, in the caller's transaction.

        Raises:
            SourceError: rows break it (MR006).
        """
        for relation in self.relations.values():
            check_own(connection, relation)


def own_facts(relations: Mapping[str, Relation]) -> Live:
    """Return msgrun's own tables as they stand; see `Source.live`."""
    return Live(**{name: _view(relations[name]) for name in RELATIONS}, relations=relations)


def _view(relation: Relation) -> Subquery:
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
    return select(*columns).select_from(relation.from_).subquery(f"live_{relation.name}")
