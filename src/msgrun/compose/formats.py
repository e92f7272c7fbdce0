"""Money, dates and numbers as the customer's language writes them (Unicode CLDR, by Babel)."""

import re
from collections.abc import Callable
from copy import copy
from datetime import date as Date  # noqa: N812 - the filter itself is called date
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from jinja2 import pass_context
from jinja2.exceptions import UndefinedError
from jinja2.runtime import Context

from msgrun.compose.languages import widening
from msgrun.compose.limits import purse

if TYPE_CHECKING:  # slow to import, and many definitions do without
    from babel import Locale
    from babel.numbers import NumberPattern

Languages = tuple[str, ...]
"""Tags, the first one first; "" for none."""

FALLBACK: Final = "en"
"""The language of last resort."""

_CURRENCY: Final = re.compile(r"[A-Za-z]{3}")
_NAMED: Final = ("short", "medium", "long", "full")
_DIGITS: Final = 30  # before and behind the point: more than any sum has
_MOST_DECIMALS: Final = 10


@pass_context  # or Jinja would apply it once, when it compiles
def money(_context: Context, value: object, currency: str | None) -> str:
    """Write a sum with its currency, as the customer's language does."""
    amount = _decimal(value)
    if currency is None:
        raise UndefinedError("the currency is empty")
    if not _CURRENCY.fullmatch(str(currency)):
        raise ValueError(f"{currency!r} is no currency; one is EUR")
    languages = purse().languages
    pattern, locale = _money_pattern(languages), locale_of(languages)
    return str(pattern.apply(amount, locale, currency=str(currency).upper()))


@pass_context
def date(_context: Context, value: object, style: str = "medium") -> str:
    """Write a day: short, medium, long, full, or by a pattern such as 'd MMMM'."""
    if value is None:
        raise UndefinedError("a date that is to be printed is empty")
    if isinstance(value, datetime):
        return _day(value.date(), style, purse().languages)
    if isinstance(value, Date):
        return _day(value, style, purse().languages)
    return _day(Date.fromisoformat(str(value)[:10]), style, purse().languages)


@pass_context
def number(_context: Context, value: object, decimals: int | None = None) -> str:
    """Write a number with its decimals, or so many of them."""
    if decimals is not None and not 0 <= decimals <= _MOST_DECIMALS:
        raise ValueError(f"a number can have 0 to {_MOST_DECIMALS} decimals, not {decimals}")
    languages = purse().languages
    return str(_number_pattern(languages, decimals).apply(_decimal(value), locale_of(languages)))


FILTERS: Final[dict[str, Callable[..., str]]] = {"money": money, "date": date, "number": number}
"""By the name that templates use."""

EXAMPLES: Final = {
    "money": "{{ invoice.total | money(invoice.currency) }}",
    "date": "{{ invoice.date | date('long') }}",
    "number": "{{ customer.meta.points | number(2) }}",
}


@lru_cache(maxsize=512)
def locale_of(languages: Languages) -> "Locale":
    """Return how the first of some languages that is known writes, or English."""
    from babel import Locale

    found = next(filter(None, map(known, languages)), FALLBACK)
    return Locale.parse(found, sep="-")


@lru_cache(maxsize=512)
def known(language: str) -> str | None:
    """Return the narrowest tag that Babel has data for; None where there is none."""
    from babel import Locale, UnknownLocaleError

    for each in widening(language):
        try:
            return str(Locale.parse(each, sep="-")).replace("_", "-")
        except (UnknownLocaleError, ValueError):
            continue
    return None


def _decimal(value: object) -> Decimal:
    if value is None:
        raise UndefinedError("a number that is to be printed is empty")
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"{str(value)[:40]!r} is no number") from None
    digits = found.as_tuple().exponent
    if not isinstance(digits, int) or found.adjusted() > _DIGITS or digits < -_DIGITS:
        raise ValueError(f"{str(value)[:40]!r} is no number that can be printed")
    return found


@lru_cache(maxsize=4096)
def _day(day: Date, style: str, languages: Languages) -> str:
    from babel.dates import format_date

    if style not in _NAMED and not re.search("[yMdEL]", style):
        raise ValueError(f"{style!r} is no form of a date; there are {', '.join(_NAMED)}")
    return format_date(day, style, locale_of(languages))


@lru_cache(maxsize=512)
def _money_pattern(languages: Languages) -> "NumberPattern":
    pattern: NumberPattern = locale_of(languages).currency_formats["standard"]
    return pattern


@lru_cache(maxsize=512)
def _number_pattern(languages: Languages, decimals: int | None) -> Any:
    pattern = copy(locale_of(languages).decimal_formats[None])
    if decimals is not None:
        pattern.frac_prec = (decimals, decimals)
    return pattern
