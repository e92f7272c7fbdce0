"""SQL that tells plain values cheaply: SQLite asks Python for every regular expression."""

from typing import Any

from sqlalchemy import Boolean
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement

_GLOBS = {
    "address": (
        ("", "?*@?*.?*"),
        ("NOT ", "*[^A-Za-z0-9@._+-]*"),
        ("NOT ", "*@*@*"),
        ("NOT ", "*@.*"),
        ("NOT ", "*..*"),
        ("NOT ", "*."),
    ),
    "decimal": (
        ("", "[0-9]*"),
        ("NOT ", "*[^0-9.]*"),
        ("NOT ", "*.*.*"),
        ("NOT ", "*."),
    ),
}


class PlainAddress(FunctionElement[bool]):
    """True where SQLite's own GLOB sees a well-formed address; false tells nothing."""

    type = Boolean()
    name = "plain_address"
    inherit_cache = True


class PlainDecimal(FunctionElement[bool]):
    """True where SQLite's own GLOB sees a decimal number; false tells nothing."""

    type = Boolean()
    name = "plain_decimal"
    inherit_cache = True


@compiles(PlainAddress)
@compiles(PlainDecimal)
def _nothing(_element: Any, _compiler: Any, **_: Any) -> str:
    return "false"  # other databases have regular expressions of their own


@compiles(PlainAddress, "sqlite")
def _address(element: Any, compiler: Any, **options: Any) -> str:
    return _globbed(compiler.process(element.clauses, **options), "address")


@compiles(PlainDecimal, "sqlite")
def _decimal(element: Any, compiler: Any, **options: Any) -> str:
    return _globbed(compiler.process(element.clauses, **options), "decimal")


def _globbed(value: str, kind: str) -> str:
    # GLOB sees nothing behind a NUL, nor does length() of a text.
    whole = f"length(CAST({value} AS BLOB)) = length({value})"
    told = [f"{value} {no}GLOB '{glob}'" for no, glob in _GLOBS[kind]]
    return f"({' AND '.join([*told, whole])})"
