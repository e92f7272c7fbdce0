"""SELECTs by id, compiled once: a run asks the same ones for every batch of messages.

SQLAlchemy spends more on building a statement, and on finding it in its cache, than a database
spends on answering for a few dozen ids.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ARRAY, Connection, Text, any_, bindparam, type_coerce

from msgrun.source.mapping import AnyRow, AnySelect, Relation, reading

_CHUNK: Final = 512  # ids named in one statement; a power of two


class Lookup:
    """Finds the rows of a SELECT whose column, as text, is one of some ids.

    Args:
        relation: what is read.
        query: the SELECT; its own parameters are bound already.
        column: of the relation.
    """

    def __init__(self, relation: Relation, query: AnySelect, column: str) -> None:
        self._relation = relation
        self._query = query
        self._column = column
        self._compiled: dict[int, _Compiled] = {}

    def rows(self, connection: Connection, ids: Sequence[str]) -> Iterator[AnyRow]:
        """Yield the rows, each once; `ids` are distinct.

        Raises:
            SourceError: a person's SELECT fails (MR006).
        """
        relation = self._relation
        for start in range(0, len(ids), _CHUNK):
            chunk = ids[start : start + _CHUNK]
            with reading(relation.name, mapped=relation.mapped):
                if relation.kinds[self._column] == "text":
                    rows = self._by_text(connection, chunk)
                else:  # the statement depends on which ids are numbers
                    condition = relation.equals_any(self._column, chunk)
                    rows = connection.execute(self._query.where(condition)).all()
            yield from rows

    def _by_text(self, connection: Connection, ids: Sequence[str]) -> Sequence[AnyRow]:
        # One statement serves every number of ids up to a power of two: the last id comes again.
        sqlite = connection.dialect.name == "sqlite"
        places = 1 << (len(ids) - 1).bit_length() if sqlite else 0
        compiled = self._compiled.get(places)
        if compiled is None:
            compiled = self._compiled[places] = self._compile(connection, places)
        text, parameters = compiled
        padded = [*ids, *[ids[-1]] * (places - len(ids))]
        return connection.exec_driver_sql(text, parameters(padded)).all()

    def _compile(self, connection: Connection, places: int) -> "_Compiled":
        column = type_coerce(self._relation.columns[self._column], Text)
        if places:
            ids = bindparam("ids", [""] * places, Text, expanding=True)
            query = self._query.where(column.in_(ids))
        else:
            query = self._query.where(column == any_(bindparam("ids", [""], ARRAY(Text))))
        options = {"render_postcompile": True}
        compiled = query.compile(dialect=connection.dialect, compile_kwargs=options)
        fixed: Mapping[str, Any] = compiled.params
        if not places:
            return compiled.string, lambda ids: {**fixed, "ids": ids}
        order: Sequence[str] = compiled.positiontup or ()
        first = order.index("ids_1")
        before = tuple(fixed[name] for name in order[:first])
        behind = tuple(fixed[name] for name in order[first + places :])
        return compiled.string, lambda ids: (*before, *ids, *behind)


_Compiled = tuple[str, Callable[[list[str]], Any]]


def lookup(relation: Relation, column: str, make: Callable[[], AnySelect], *of: object) -> Lookup:
    """Return the lookup of a relation that was made before, or make it.

    Args:
        relation: what is read.
        column: whose values are looked up.
        make: the SELECT.
        of: what else makes it this SELECT and no other.
    """
    key = (column, of)
    found: Lookup | None = relation.lookups.get(key)
    if found is None:
        found = relation.lookups[key] = Lookup(relation, make(), column)
    return found
