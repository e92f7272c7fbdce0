"""The nearest known name to a word that a person typed or that the data holds."""

import re
import unicodedata
from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import Final

# Cyrillic and Greek letters that look like Latin ones (a capital's small form may not).
_LOOK_ALIKES: Final = str.maketrans(
    "АВЕЗКМНОРСТУХІЈЅԌԚԜаеорсухіјѕһԁԛԝкΑΒΕΖΗΙΚΜΝΟΡΤΥΧονρικı",
    "ABE3KMHOPCTYXIJSGQWaeopcyxijshdqwkABEZHIKMNOPTYXovpiki",
)
_ES_PLURAL: Final = re.compile(r"(?:ss|x|z|ch|sh)es$")
_CUTOFF: Final = 0.6  # difflib's own default for close matches
_MOST_SHOWN: Final = 10


def _fold(text: str) -> str:
    """Return `text` without what the eye passes over: case, space, look-alike letters, plural s."""
    text = unicodedata.normalize("NFKC", text).translate(_LOOK_ALIKES).casefold()
    text = "".join(c for c in text if not c.isspace() and unicodedata.category(c) != "Cf")
    if _ES_PLURAL.search(text):
        return text[:-2]
    return text[:-1] if len(text) > 3 and text.endswith("s") and not text.endswith("ss") else text


def distance(a: str, b: str) -> int:
    """Return the Levenshtein distance but for case and look-alike letters.

    That is how many letters to insert, drop or exchange.
    """
    return _distance(_fold(a), _fold(b))


def _distance(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            diagonal, row[j] = (
                row[j],
                min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right)),
            )
    return row[-1]


def same_when_normalised(a: str, b: str) -> bool:
    """Tell whether two names differ at most by case, space, plural s or look-alike letters."""
    return _fold(a) == _fold(b)


def nearest(word: str, known: Iterable[str], n: int = 3) -> list[str]:
    """Return at most `n` of the `known` names that resemble `word`, the nearest first."""
    # SequenceMatcher caches its second sequence, which is the one that stays.
    matcher = SequenceMatcher(b=_fold(word), autojunk=False)
    scored: list[tuple[float, str]] = []
    for name in known:
        matcher.set_seq1(_fold(name))
        if matcher.real_quick_ratio() >= _CUTOFF and (ratio := matcher.ratio()) >= _CUTOFF:
            scored.append((-ratio, name))
    return [name for _, name in sorted(scored)[:n]]


def near_miss(word: str, known: Iterable[str]) -> str | None:
    """Return the known name that `word` was most probably meant to be.

    That is one that is the same when normalised, or else one at most two letters away and
    mostly alike. None when there is none, and when `word` itself is known.
    """
    names = list(known)
    if word in names:
        return None
    for name in nearest(word, names):
        if same_when_normalised(word, name):
            return name
        a, b = _fold(word), _fold(name)
        if _distance(a, b) <= 2 and SequenceMatcher(a=b, b=a, autojunk=False).ratio() > 0.8:
            return name
    return None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "did you mean 'x'?", or else "known: a, b" (at most ten), or "" if none is."""
    names = list(known)
    if near := nearest(word, names, 1):
        return f"did you mean {near[0]!r}?"
    if not names:
        return ""
    shown = ", ".join(
        name if name.isprintable() and name else repr(name) for name in names[:_MOST_SHOWN]
    )
    more = len(names) - _MOST_SHOWN
    return f"known: {shown}" + (f" and {more} more" if more > 0 else "")


def plain(text: str) -> str:
    """Return `text` in small letters without accents, as people type names: "muller"."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in parts if not unicodedata.combining(c))
