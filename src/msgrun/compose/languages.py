"""Languages as tags (RFC 5646): from the narrowest to the widest, and templates in several."""

import re
from functools import lru_cache
from pathlib import Path
from typing import Final

_TAG: Final = re.compile(r"[a-z]{2,3}(?:[-_][a-z0-9]{2,8})*", re.IGNORECASE)


def tag(language: str) -> str:
    """Return a language in the form in which tags are compared: "nl_BE" is "nl-be"."""
    return language.strip().replace("_", "-").lower()


@lru_cache(maxsize=512)
def widening(language: str) -> tuple[str, ...]:
    """Return a language and the wider ones: "nl-BE" gives "nl-be" and "nl"; "" gives none."""
    parts = tag(language).split("-")
    return tuple("-".join(parts[:count]) for count in range(len(parts), 0, -1) if parts[0])


def is_tag(text: str) -> bool:
    """Tell whether a text has the form of a language's tag."""
    return _TAG.fullmatch(text) is not None


def variants(file: Path) -> dict[str, Path]:
    """Return the files beside a template that are the same in other languages, by tag.

    Beside `monthly.txt` these are `monthly.nl.txt`, `monthly.nl-BE.txt` and so on.
    """
    found = {}
    try:
        beside = sorted(file.parent.iterdir())
    except OSError:
        return {}
    for each in beside:
        name = each.name
        if each.suffix != file.suffix or not name.startswith(f"{file.stem}."):
            continue
        middle = name[len(file.stem) + 1 : len(name) - len(file.suffix)]
        if is_tag(middle) and _is_spoken(middle) and each.is_file():
            found[tag(middle)] = each
    return found


def _is_spoken(text: str) -> bool:
    """Tell whether there is such a language: `monthly.old.txt` is an older one."""
    language = tag(text).partition("-")[0]
    if len(language) == 2:
        return True
    from babel import localedata  # slow to import, and seldom needed

    return bool(localedata.exists(language))
