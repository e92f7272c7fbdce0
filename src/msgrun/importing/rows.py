"""One row of an import against the contract: each value in its type, or what is wrong with it."""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from msgrun.importing.reading import Cells, Problems
from msgrun.source.contract import CONTRACTS, DECIMAL, FALSE, TRUE, is_day, parse_meta


class RowCheck:
    """Checks the rows of one relation, over all its files.

    Args:
        relation: what the rows are.
        problems: where faults are noted.
    """

    def __init__(self, relation: str, problems: Problems) -> None:
        self._relation = relation
        self._contract = CONTRACTS[relation]
        self._problems = problems
        self._seen: dict[tuple[str, ...], tuple[str, int]] = {}

    def __call__(self, file: Path, line: int, cells: Cells) -> Cells | None:
        """Return the row as the tables take it; None, and the faults noted, when it is bad."""
        before = self._problems.count
        row: Cells = {}
        for column, value in cells.items():
            try:
                row[column] = _converted(column, value)
            except ValueError as error:
                self._problems.add(file, line, str(error), column, value)
        for column in self._contract.filled:
            value = cells.get(column)
            if value is None or (isinstance(value, str) and not value.strip()):
                self._problems.add(file, line, "may not be empty", column)
        self._check_one_of(file, line, cells)
        if self._problems.count > before:
            return None
        if self._relation == "documents":  # a document that moves leaves nothing behind
            row = {"path": None, "content": None} | row
        return row if self._is_new(file, line, row) else None

    def _check_one_of(self, file: Path, line: int, cells: Cells) -> None:
        names = self._contract.one_of
        filled = [name for name in names if cells.get(name) is not None]
        if names and not filled:
            self._problems.add(file, line, "one of them must be filled", "' or '".join(names))
        if self._relation == "documents" and len(filled) > 1:
            self._problems.add(file, line, "only one of them may be filled", "' and '".join(names))

    def _is_new(self, file: Path, line: int, row: Cells) -> bool:
        key = tuple(row[name] for name in self._contract.key)
        first = self._seen.get(key)
        if first is None:
            self._seen[key] = (file.name, line)
            return True
        reason = f"the same row is in {first[0]}:{first[1]}"
        column = "', '".join(self._contract.key)
        self._problems.add(file, line, reason, column, key if len(key) > 1 else key[0])
        return False


def _converted(column: str, value: Any) -> Any:
    """Return a value in its column's type.

    Raises:
        ValueError: it has no such type; the text is the reason.
    """
    if value is None:
        return False if column == "suspended" else None
    convert: Callable[[Any], Any] = _CONVERTERS.get(column, _text)
    return convert(value)


def _text(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise ValueError("must be text")
    if "\0" in value:
        raise ValueError("holds a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half a character (a lone surrogate)") from None
    return value


def _boolean(value: Any) -> bool:
    word = str(value).lower()
    if not isinstance(value, (str, int)) or word not in (*TRUE, *FALSE):
        raise ValueError("neither true nor false (1, true, yes, 0, false, no)")
    return word in TRUE


def _day(value: Any) -> str:
    if not isinstance(value, str) or not is_day(value):
        raise ValueError("not a date (YYYY-MM-DD)")
    return _text(value)


def _decimal(value: Any) -> str:
    shown = repr(value) if isinstance(value, float) else _text(value)
    if not re.search(DECIMAL, shown):
        raise ValueError("not a decimal number (1234.50)")
    return shown


def _meta(value: Any) -> str:
    if isinstance(value, dict):
        return _text(json.dumps(value, ensure_ascii=False))
    try:
        parse_meta(_text(value))
    except ValueError:
        raise ValueError("not a JSON object") from None
    return _text(value)


def _content(value: Any) -> bytes:
    try:
        return base64.b64decode(_text(value), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64") from None


_CONVERTERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "suspended": _boolean,
    "date": _day,
    "period_start": _day,
    "period_end": _day,
    "total": _decimal,
    "meta": _meta,
    "content": _content,
}
