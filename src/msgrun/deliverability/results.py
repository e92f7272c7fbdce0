"""What a receiver wrote of its checks: the field Authentication-Results (RFC 8601)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_METHOD: Final = re.compile(r"([\w-]+)(?:\s*/\s*\d+)?\s*=\s*([\w-]+)(.*)", re.DOTALL)
_PROPERTY: Final = re.compile(r'([\w-]+)\s*\.\s*([\w-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;"]+)')
_ID: Final = re.compile(r'("(?:[^"\\]|\\.)*"|[^\s;"]+)')


@dataclass(frozen=True, slots=True)
class MethodResult:
    """One check.

    Attributes:
        method: "spf", "dkim", "dmarc", …
        result: "pass", "fail", …
        properties: e.g. "smtp.mailfrom" to "billing@acme.net".
    """

    method: str
    result: str
    properties: Mapping[str, str]

    def domain(self, *names: str) -> str:
        """Return the domain that the first of these properties has."""
        for name in names:
            if value := self.properties.get(name):
                return value.rpartition("@")[2].rstrip(".").lower()
        return ""

    def __str__(self) -> str:
        told = " ".join(f"{name}={value}" for name, value in self.properties.items())
        return f"{self.method}={self.result} {told}".strip()


@dataclass(frozen=True, slots=True)
class Results:
    """One field: who says it, and of what."""

    authserv_id: str
    methods: tuple[MethodResult, ...]

    def of(self, method: str) -> list[MethodResult]:
        """Return the results of one method."""
        return [each for each in self.methods if each.method == method]


def parse_results(value: str) -> Results | None:
    """Return the field's content; None where it has no form (RFC 8601, 2.2)."""
    first, *rest = _split(_without_comments(" ".join(value.split())))
    name = _ID.match(first.strip())
    if name is None:
        return None
    methods = []
    for part in rest:
        match = _METHOD.match(part.strip())
        if match is None:
            continue
        properties = {
            f"{each[1]}.{each[2]}".lower(): each[3].strip('"')
            for each in _PROPERTY.finditer(match[3])
        }
        methods.append(MethodResult(match[1].lower(), match[2].lower(), properties))
    return Results(name[1].strip('"'), tuple(methods))


def _without_comments(text: str) -> str:
    """Return text without (nested) comments; those in quotes stay."""
    kept, depth, quoted, escaped = [], 0, False, False
    for sign in text:
        if escaped:
            escaped = False
        elif sign == "\\" and (quoted or depth):
            escaped = True
        elif sign == '"' and not depth:
            quoted = not quoted
        elif sign == "(" and not quoted:
            depth += 1
        elif sign == ")" and depth and not quoted:
            depth -= 1
            continue
        if not depth:
            kept.append(sign)
    return "".join(kept)


def _split(text: str) -> list[str]:
    """Return the parts between semicolons that are not in quotes."""
    parts, quoted = [""], False
    for sign in text:
        if sign == '"':
            quoted = not quoted
        if sign == ";" and not quoted:
            parts.append("")
        else:
            parts[-1] += sign
    return parts
