"""One statement for many rows, with next to no work in Python for each of them.

Own code, because SQLAlchemy's executemany spends more time on a row than the database does.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Update
from sqlalchemy.engine.interfaces import Dialect


class ManyRows:
    """An UPDATE for many rows, compiled once for a database.

    Args:
        statement: its own parameters are named, and none of them expands.
        dialect: of the database.
        columns: those that are set by a parameter of their name.
        varying: the parameters that each row gives, in its order; all others are common.
    """

    def __init__(
        self,
        statement: Update,
        dialect: Dialect,
        *,
        columns: Sequence[str],
        varying: Sequence[str],
    ) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=list(columns))
        self._text = str(compiled)
        self._names = list(compiled.positiontup or compiled.bind_names.values())
        self._positional = compiled.positional
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
        if not self._positional:
            given: Any = [values | self._varied(row) for row in rows]
        else:
            places = [self._names.index(name) for name in self._varying]
            shape = [values.get(name) for name in self._names]
            given = []
            for row in rows:
                filled = shape.copy()
                for place, value in zip(places, self._varied(row).values(), strict=True):
                    filled[place] = value
                given.append(tuple(filled))
        return connection.exec_driver_sql(self._text, given).rowcount

    def _varied(self, row: Sequence[Any]) -> dict[str, Any]:
        return {
            name: self._written(name, value) for name, value in zip(self._varying, row, strict=True)
        }

    def _written(self, name: str, value: Any) -> Any:
        process = self._processors[name]
        return value if process is None else process(value)
