"""`--mask`: mail addresses without their local part, so that a report may be passed on."""

import re
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from enum import StrEnum
from typing import Any, Final, TypeVar, cast

from msgrun.doctor.findings import Report

_AT: Final = r"(?:@|＠|%40)"
_DELIMITERS: Final = r"\s@＠<>()\[\],;:\"`"
_MESSAGE_ID: Final = r"[0-9a-f]{32}\."
_MASKED: Final = rf"[^{_DELIMITERS}]?\*\*\*{_AT}"
_ADDRESS: Final = re.compile(
    rf"(?:(?<![^{_DELIMITERS}])(?P<open>'*)(?!{_MESSAGE_ID}|{_MASKED})"
    rf"(?P<first>[^{_DELIMITERS}'])[^{_DELIMITERS}]*"
    rf'|"(?P<quoted>[^"\\]|\\.)(?:[^"\\\n]|\\.)*")'
    rf"(?P<at>{_AT})(?=[^\s,;:'\"<>()])"
)

T = TypeVar("T")


class Mask:
    """Replaces `anna@acme.test` by `a***@acme.test` wherever it stands.

    An address is found by its form, in quoted replies, commands and log lines too, and the
    known ones whatever their form. Message-IDs of msgrun are left: they name no person, and
    are what a mail administrator searches for.

    Args:
        known: addresses of the data, also malformed ones.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        spelt: dict[str, str] = {}
        for address in known:
            local, at, domain = address.rpartition("@")
            if local:
                for form in (address, repr(address)[1:-1], ascii(address)[1:-1]):
                    spelt[form] = f"{_initial(local)}***{at}{domain}"
        self._spelt = spelt
        longest_first = sorted(map(re.escape, spelt), key=len, reverse=True)
        self._known = re.compile("|".join(longest_first), re.IGNORECASE) if spelt else None

    def text(self, text: str) -> str:
        """Return a text with every address masked."""
        if self._known is not None:
            text = self._known.sub(self._of_known, text)
        return _ADDRESS.sub(_masked, text)

    def _of_known(self, match: re.Match[str]) -> str:
        found = match[0]
        if found in self._spelt:
            return self._spelt[found]
        local, at, domain = found.rpartition("@")  # in other letters, as some servers answer
        return f"{_initial(local)}***{at}{domain}"

    def over(self, value: T) -> T:
        """Return a value of the report, or a JSON document, with every text in it masked."""
        masked: Any = value
        if isinstance(value, str):
            masked = value if isinstance(value, StrEnum) else self.text(value)
        elif isinstance(value, (tuple, list)):
            masked = type(value)(self.over(each) for each in value)
        elif isinstance(value, dict):
            masked = {key: self.over(each) for key, each in value.items()}
        elif is_dataclass(value) and not isinstance(value, type):
            parts = {each.name: self.over(getattr(value, each.name)) for each in fields(value)}
            masked = replace(value, **parts)
        return cast(T, masked)


def masked(report: Report) -> Report:
    """Return a report in which no mail address can be read; for every way to print it."""
    return Mask(report.addresses).over(replace(report, addresses=frozenset()))


def _masked(match: re.Match[str]) -> str:
    first = match["first"] or match["quoted"]
    return f"{match['open'] or ''}{first}***{match['at']}"


def _initial(local: str) -> str:
    """Return the letter that is left of a local part."""
    stripped = local.strip().strip("'\"<")
    return stripped[:1] if stripped[:1].isalnum() else ""
