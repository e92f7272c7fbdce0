"""One statement for many rows, with next to no work in Python for each of them.

Own code, because SQLAlchemy's executemany spends more time on a row than the database does,
and psycopg's pipelines it: a worker that froze within would keep its rows locked for as long
as it sleeps, because no time-out of the server counts there.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Connection, Update, bindparam, column, func
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.types import TypeEngine

Given = Callable[[str], ColumnElement[Any]]
"""Returns what stands for a row's value in a statement."""


class ManyRows:
    """An UPDATE for many rows, compiled once for a database.

    Args:
        make: makes the statement; its further parameters are common to all rows, and none expands.
        dialect: of the database.
        columns: those that are set by a common parameter of their name.
        varying: the values that each row gives, in its order, with their types.
    """

    def __init__(
        self,
        make: Callable[[Given], Update],
        dialect: Dialect,
        *,
        columns: Sequence[str],
        varying: Mapping[str, TypeEngine[Any]],
    ) -> None:
        self._in_arrays = dialect.name != "sqlite"
        given = _from_arrays(varying) if self._in_arrays else _from_parameters(varying)
        compiled = make(given).compile(dialect=dialect, column_keys=list(columns))
        self._text = str(compiled)
        self._names = list(compiled.positiontup or compiled.bind_names.values())
        self._varying = tuple(varying)
        self._processors = {
            name: compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect)
            for name in self._names
        }
        self._fixed = {
            name: str(bind.value) if isinstance(bind.value, str) else bind.value
            for name, bind in compiled.binds.items()
            if name in self._names and not bind.required
        }

    def execute(
        self, connection: Connection, common: Mapping[str, Any], rows: Iterable[Sequence[Any]]
    ) -> int:
        """Run it for every row; return how many rows of the table were changed.

        Args:
            connection: in a transaction.
            common: parameters that are the same for all rows.
            rows: the values of the others.
        """
        values = self._fixed | {name: self._written(name, each) for name, each in common.items()}
        given: Any
        if self._in_arrays:
            lists = zip(*rows, strict=True)
            given = values | dict(zip(self._varying, map(list, lists), strict=True))
        else:
            given = self._tuples(values, rows)
        return connection.exec_driver_sql(self._text, given).rowcount

    def _tuples(self, values: Mapping[str, Any], rows: Iterable[Sequence[Any]]) -> list[Any]:
        # Each place, with the value of the row that goes there: one may stand in several.
        places = [
            (place, self._varying.index(name), self._processors[name])
            for place, name in enumerate(self._names)
            if name in self._varying
        ]
        shape = [values.get(name) for name in self._names]
        made = []
        for row in rows:
            filled = shape.copy()
            for place, source, process in places:
                filled[place] = row[source] if process is None else process(row[source])
            made.append(tuple(filled))
        return made

    def _written(self, name: str, value: Any) -> Any:
        process = self._processors[name]
        return value if process is None else process(value)


def _from_parameters(varying: Mapping[str, TypeEngine[Any]]) -> Given:
    return lambda name: bindparam(name, type_=varying[name])


def _from_arrays(varying: Mapping[str, TypeEngine[Any]]) -> Given:
    """Let each value come from its place in an array, so that one round trip takes all rows."""
    arrays = [bindparam(name, type_=ARRAY(kind)) for name, kind in varying.items()]
    columns: list[Any] = [column(name, kind) for name, kind in varying.items()]
    table = func.unnest(*arrays).table_valued(*columns, name="given").render_derived()
    return lambda name: table.c[name]
