"""The relations of the source as SQL expressions: msgrun's own tables, or a person's SELECTs."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    LargeBinary,
    Row,
    Select,
    Text,
    case,
    cast,
    column,
    false,
    func,
    literal_column,
    null,
    or_,
    select,
    text,
    type_coerce,
)
from sqlalchemy import exc as sa_exc
from sqlalchemy.sql import quoted_name

from msgrun.errors import SourceError
from msgrun.schema import Tables
from msgrun.source.contract import CONTRACTS, FALSE, TRUE, meant

if TYPE_CHECKING:
    AnySelect: TypeAlias = Select[*tuple[Any, ...]]
    AnyRow: TypeAlias = Row[*tuple[Any, ...]]
else:  # SQLAlchemy 2.0 has one parameter here
    AnySelect, AnyRow = Select, Row

_PG_TEXT: Final = frozenset({25, 1043})  # text, varchar
_PG_INTEGER: Final = frozenset({20, 21, 23})  # int8, int2, int4
_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]{0,17}", re.ASCII)
_SQLITE_ERROR: Final = 1  # SQL error or missing table; locks and broken files have other codes


@dataclass(frozen=True, slots=True)
class Relation:
    """One relation of the source.

    Attributes:
        name: of the relation, e.g. "customers".
        from_: what it is read from.
        columns: each column of the contract as it comes; NULL where the source has none.
        kinds: how a column's values are held: "text", "integer", "any" (SQLite) or "other".
        mapped: whether a person's SELECT yields it.
        lookups: SELECTs that were made before (`source.lookup`).
    """

    name: str
    from_: FromClause
    columns: Mapping[str, ColumnElement[Any]]
    kinds: Mapping[str, str]
    mapped: bool
    lookups: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def text_of(self, name: str) -> ColumnElement[str | None]:
        """Return a column as text of the contract: NULL for empty; `suspended` as '0' or '1'."""
        source = self.columns[name]
        value: ColumnElement[str | None] = func.nullif(
            cast(source, Text), literal_column("''", Text), type_=Text
        )
        if name != "suspended":
            return value
        word = func.lower(func.coalesce(value, literal_column("'0'", Text)))
        return case((word.in_(FALSE), "0"), (word.in_(TRUE), "1"), else_=value)

    def select(self, *names: str) -> AnySelect:
        """Return a SELECT of columns as text of the contract."""
        return select(*(self.text_of(name).label(name) for name in names)).select_from(self.from_)

    def distinct_addresses(self) -> AnySelect:
        """Return a SELECT of the addresses; of equal ones, the first display name."""
        key = [self.text_of(name) for name in CONTRACTS[self.name].key]
        labelled = [
            part.label(name) for part, name in zip(key, CONTRACTS[self.name].key, strict=True)
        ]
        display_name = func.min(self.text_of("display_name")).label("display_name")
        return select(*labelled, display_name).select_from(self.from_).group_by(*key)

    def within(self, name: str, values: AnySelect) -> ColumnElement[bool]:
        """Return the condition that a column, as text, is among the rows of `values`."""
        source = self.columns[name]
        as_text = type_coerce(source, Text) if self.kinds[name] == "text" else cast(source, Text)
        return as_text.in_(values)

    def equals_any(self, name: str, values: Sequence[str]) -> ColumnElement[bool]:
        """Return the condition that a column, as text, is one of `values`; indexes serve it."""
        source, kind = self.columns[name], self.kinds[name]
        exact = cast(source, Text).in_(values)
        if kind == "text":
            return type_coerce(source, Text).in_(values)
        if kind == "other":
            return exact
        integers = [int(value) for value in values if _INTEGER.fullmatch(value)]
        if kind == "integer":
            return type_coerce(source, BigInteger).in_(integers)
        # SQLite converts by the column's affinity; `exact` drops what only looks equal ('05', 5).
        return or_(source.in_([*values, *integers])) & exact


def own_relation(tables: Tables, name: str) -> Relation:
    """Return a relation that is read from msgrun's own table."""
    table = tables.relation(name)
    return Relation(name, table, dict(table.c), dict.fromkeys(table.c.keys(), "text"), mapped=False)


def empty_relation(tables: Tables, name: str) -> Relation:
    """Return a relation without rows: the source does not map it."""
    columns = {c: _absent(c).label(c) for c in tables.relation(name).c.keys()}  # noqa: SIM118
    nothing = select(*columns.values()).where(false()).subquery(name)
    return Relation(name, nothing, dict(nothing.c), dict.fromkeys(columns, "text"), mapped=False)


def mapped_relation(connection: Connection, tables: Tables, name: str, sql: str) -> Relation:
    """Return a relation that a person's SELECT yields, after a look at its result columns.

    Raises:
        SourceError: the SELECT fails, or lacks a required column (MR006).
    """
    body = embeddable(sql)
    look = text(f"SELECT * FROM ({body}) AS {name} LIMIT 0")  # noqa: S608
    with reading(name):
        result = connection.execute(look.execution_options(sqlite_raw_colnames=True))
        described = [(str(item[0]), item[1]) for item in result.cursor.description]
        result.close()
    wanted = tables.relation(name).c.keys()
    found = _match(name, [came for came, _ in described], wanted)
    types = dict(described)
    inner = text(body).columns(*(column(quoted_name(came, quote=True)) for came in found.values()))
    rows = inner.subquery(name)
    sqlite = connection.dialect.name == "sqlite"
    return Relation(
        name,
        rows,
        columns={c: rows.c[found[c]] if c in found else _absent(c) for c in wanted},
        kinds={c: "any" if sqlite else _kind(types.get(found.get(c, ""))) for c in wanted},
        mapped=True,
    )


def embeddable(sql: str) -> str:
    r"""Return a SELECT ready for `text()` in parentheses: no closing `;`, every `:` escaped.

    It stands in lines of its own, so that a comment at its end hides nothing.
    """
    body = sql.strip().removesuffix(";").replace(":", r"\:")
    return f"\n{body}\n"


@contextmanager
def reading(relation: str, *, mapped: bool = True) -> Iterator[None]:
    """Blame a person's SELECT for the errors that it causes; other errors pass.

    Raises:
        SourceError: with the relation and the database's first line (MR006).
    """
    try:
        yield
    except sa_exc.DBAPIError as error:
        if not mapped or not _is_the_statements_fault(error):
            raise
        lines = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
        raise SourceError(
            f"[source] {relation}: the SELECT fails: {lines[0]} (MR006)",
            f"correct `{relation}` under [source]; try the SELECT in the database's own shell",
        ) from error


def _is_the_statements_fault(error: sa_exc.DBAPIError) -> bool:
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return int(code) & 0xFF == _SQLITE_ERROR
    return not isinstance(error, sa_exc.OperationalError) and not error.connection_invalidated


def _match(relation: str, came: Sequence[str], wanted: Sequence[str]) -> dict[str, str]:
    """Find the contract's columns among those that came, whatever their case."""
    found: dict[str, str] = {}
    for name in came:
        plain = re.sub(r":[0-9]+$", "", name).lower()  # SQLite renames a second `a` to `a:1`
        if plain in wanted and plain in found:
            raise SourceError(
                f"[source] {relation}: column '{plain}' comes twice (MR006)",
                f"leave one of them out of `{relation}` under [source]",
            )
        found[plain] = name
    contract = CONTRACTS[relation]
    groups = [(name,) for name in contract.required] + [contract.one_of] * bool(contract.one_of)
    for names in groups:
        if not found.keys() & set(names):
            listed = " or ".join(f"'{name}'" for name in names)
            near = meant(names[0], found.keys() - set(wanted))
            raise SourceError(
                f"[source] {relation}: column {listed} is missing; "
                f"what came: {', '.join(came)}{near} (MR006)",
                f"give the column its name in `{relation}` under [source]: SELECT … AS {names[0]}",
            )
    return {name: found[name] for name in wanted if name in found}


def _absent(name: str) -> ColumnElement[Any]:
    return cast(null(), LargeBinary if name == "content" else Text)


def _kind(type_code: Any) -> str:
    if type_code in _PG_TEXT:
        return "text"
    return "integer" if type_code in _PG_INTEGER else "other"
