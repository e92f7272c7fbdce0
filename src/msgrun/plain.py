"""SQL that differs between databases: plain values told cheaply, and fields of JSON objects.

SQLite asks Python for every regular expression.
"""

from typing import Any

from sqlalchemy import Boolean, Text
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


class JsonText(FunctionElement[str]):
    """The text of one field of a JSON object that is kept as text; NULL where it has none."""

    type = Text()
    name = "json_text"
    inherit_cache = True


@compiles(JsonText, "sqlite")
def _json_text_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    document, key = (compiler.process(each, **options) for each in element.clauses)
    # The quotes: a point in the name is no step down.
    return f"CAST(json_extract({document}, '$.\"' || {key} || '\"') AS TEXT)"


@compiles(JsonText, "postgresql")
def _json_text_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    document, key = (compiler.process(each, **options) for each in element.clauses)
    return f"(CAST({document} AS JSON) ->> CAST({key} AS TEXT))"


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
