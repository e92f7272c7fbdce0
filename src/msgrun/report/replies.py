"""Servers' answers, so that those that say the same can be counted together."""

import re
from typing import Final

_LONGEST: Final = 160
_ADDRESS: Final = re.compile(r"[^\s<>()\[\]\"',;:]+@[^\s<>()\[\]\"',;:]+")
_NAMED: Final = re.compile(r"(?i)\b(queued (?:mail )?(?:as|for)|queue id|id|as)[ =:]+\S+")
_SPECIAL: Final = re.compile(r"\b(?=\w*[0-9])[0-9A-Za-z][\w-]{5,}\b")
_DASHED: Final = re.compile(r"…(?:[\s.:/-]*…)+")


def alike(answer: str) -> str:
    """Return an answer without what is of one message only: addresses, queue ids, long numbers."""
    code, _, words = answer[: _LONGEST * 4].partition(" ")
    words = _ADDRESS.sub("…@…", words)
    words = _NAMED.sub(r"\1 …", words)
    words = _DASHED.sub("…", _SPECIAL.sub("…", words))
    told = " ".join(f"{code} {words}".split())
    return told if len(told) <= _LONGEST else told[: _LONGEST - 1].rstrip() + "…"
