"""The catalogue of finding codes, states and statuses: the one source of their texts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from msgrun.catalogue import composing, domains, sending, server, source
from msgrun.catalogue.entry import CodeInfo, Severity
from msgrun.catalogue.states import STATE_TEXTS
from msgrun.states import MessageState

__all__ = [
    "CATALOGUE",
    "RESERVED",
    "STATE_TEXTS",
    "CodeInfo",
    "Explanation",
    "Severity",
    "explain",
    "groups",
    "info",
]

CATALOGUE: Final[Mapping[str, CodeInfo]] = MappingProxyType(
    {
        entry.code: entry
        for group in (source, composing, sending, server, domains)
        for entry in group.ENTRIES
    }
)
"""Every finding code that msgrun can produce, in ascending order."""

RESERVED: Final = frozenset({"MR206", "MR404"})
"""Retired numbers; they are never used again."""

_GROUPS: Final = {
    "0": "Environment",
    "1": "Billing data",
    "2": "Definition",
    "3": "Template",
    "4": "Documents",
    "5": "Run and message",
    "6": "Mail server",
    "8": "Deliverability",
}
"""What the codes are about, by their first figure."""


def groups() -> dict[str, list[CodeInfo]]:
    """Return every finding code, in ascending order, by the name of its group."""
    found: dict[str, list[CodeInfo]] = {}
    for entry in sorted(CATALOGUE.values(), key=lambda each: each.code):
        found.setdefault(_GROUPS[entry.code[2]], []).append(entry)
    return found


@dataclass(frozen=True, slots=True)
class Explanation:
    """The long text of one word that a person asked about.

    Attributes:
        word: the code, state or status in its exact spelling.
        kind: what sort of word it is.
        title: a heading for it.
        severity: of a finding code; "none" for states and statuses.
        text: the explanation.
        remedy: what a person can do; empty for states and statuses, whose text says it.
    """

    word: str
    kind: Literal["finding", "message state", "run status"]
    title: str
    severity: Severity
    text: str
    remedy: str


def info(code: str) -> CodeInfo:
    """Return the entry of an exactly written finding code.

    Raises:
        KeyError: there is no such code.
    """
    return CATALOGUE[code]


def explain(word: str) -> Explanation | None:
    """Return the explanation of a finding code, a message state or a run status.

    Upper and lower case do not matter; a code may come without "MR" ("106"), a state with a
    space or a hyphen in place of the underscore. Returns None for anything else.
    """
    asked = word.strip()
    if code := re.fullmatch(r"(?:MR)?([0-9]{3})", asked, re.IGNORECASE):
        entry = CATALOGUE.get(f"MR{code[1]}")
        if entry is None:
            return None
        return Explanation(
            entry.code, "finding", entry.title, entry.severity, entry.explanation, entry.remedy
        )
    state = re.sub(r"[\s-]+", "_", asked.lower())
    if state not in STATE_TEXTS:
        return None
    kind: Literal["message state", "run status"] = (
        "message state" if state in set(MessageState) else "run status"
    )
    title = f"{kind.capitalize()}: {state.replace('_', ' ')}"
    return Explanation(state, kind, title, "none", STATE_TEXTS[state], "")
