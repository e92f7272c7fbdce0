"""What each relation of the source must have: the contract of `import` and of mapped SELECTs."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from msgrun.suggest import nearest


@dataclass(frozen=True, slots=True)
class Contract:
    """The rules of one relation.

    Attributes:
        key: the columns that name a row; no two rows share them.
        required: the columns that must be there.
        filled: the columns that may not be empty.
        one_of: at least one of these columns must be there, and filled in each row; may be empty.
        days: the columns that hold dates (ISO 8601).
    """

    key: tuple[str, ...]
    required: tuple[str, ...]
    filled: tuple[str, ...]
    one_of: tuple[str, ...] = ()
    days: tuple[str, ...] = ()


CONTRACTS: Final = {
    "customers": Contract(key=("code",), required=("code", "name"), filled=("code", "name")),
    "addresses": Contract(
        key=("customer", "key", "address"),
        required=("customer", "key", "address"),
        filled=("customer", "key", "address"),
    ),
    "clusters": Contract(key=("name",), required=("name", "parent"), filled=("name",)),
    "invoices": Contract(
        key=("id",),
        required=("id", "customer", "number", "status"),
        filled=("id", "customer", "status"),
        one_of=("period_end", "date"),
        days=("date", "period_start", "period_end"),
    ),
    "documents": Contract(
        key=("invoice", "transformation", "filename"),
        required=("invoice", "transformation", "filename"),
        filled=("invoice", "transformation", "filename"),
        one_of=("path", "content"),
    ),
}
"""The contract of each relation, by name."""

TRUE: Final = ("1", "true", "t", "yes")
"""How a source may write that a customer is suspended, in any case."""

FALSE: Final = ("0", "false", "f", "no")
"""How it may write that a customer is not; an empty value says so too."""

DECIMAL: Final = r"\A-?[0-9]+(\.[0-9]+)?\Z"
"""What a total looks like, for Python and for PostgreSQL."""

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ].*)?", re.DOTALL | re.ASCII)


def is_day(value: str) -> bool:
    """Tell whether a value is a real calendar date (ISO 8601), alone or with a time after it."""
    if not _DAY.fullmatch(value):
        return False
    try:
        date.fromisoformat(value[:10])
    except ValueError:
        return False
    return True


def parse_meta(value: str) -> dict[str, Any]:
    """Return the JSON object that a `meta` column holds.

    Raises:
        ValueError: it is not JSON, or not an object.
    """
    try:
        parsed = json.loads(value)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(parsed, dict):
        raise ValueError("not a JSON object")
    return parsed


def meant(word: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the known word nearest to `word`; "" when none is near."""
    near = nearest(word, known, 1)
    return f" (did you mean '{near[0]}'?)" if near else ""
