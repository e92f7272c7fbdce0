"""A planned run beside the last time, as text: short before a question, or all of it."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from typing import Final

from msgrun.planning.comparison import FAR_SHARE, FAR_TIMES, Case, Cases, Comparison, Figure
from msgrun.ui.summary import amount, size, title_of
from msgrun.ui.text import Part, Printer, plural

_NO_PERIOD: Final = "MR122"


def print_short(printer: Printer, comparison: Comparison | None) -> None:
    """Print what is notable, in a few lines; nothing where there was no last time."""
    if comparison is None:
        return
    name = _name(comparison)
    told = [*_people(comparison)]
    if comparison.messages.is_far:
        before, now = (f"{int(each):,}" for each in _both(comparison.messages))
        told.append(f"{now} messages in place of {before}")
    if comparison.new is None:
        told.append("`msgrun plan --compare` says who is new or missing")
    if not told:
        printer.line(f"Beside {name}: nobody is new or missing, every address is the same")
        return
    printer.line((f"Beside {name}:", "bold"))
    for each in told:
        printer.line("  ", (each, "yellow"))


def _people(comparison: Comparison) -> Iterator[str]:
    new, missing, addresses = comparison.new, comparison.missing, comparison.addresses
    parts = []
    if new is not None and new.count:
        parts.append(f"{plural(new.count, 'new customer')} ({_named(new)})")
    if addresses is not None and addresses.count:
        number = _counted(addresses.count, "customer with other addresses")
        parts.append(f"{number} ({_named(addresses)})")
    if parts:
        yield ", ".join(parts)
    if missing is not None and missing.count:
        reasons = ", ".join(f"{code}: {number:,}" for code, number in comparison.reasons.items())
        yield f"{plural(missing.count, 'customer')} missing ({reasons}): {_named(missing)}"


def _named(cases: Cases) -> str:
    names = ", ".join(each.customer for each in cases.examples)
    return names + (", …" if cases.count > len(cases.examples) else "")


def print_comparison(printer: Printer, comparison: Comparison | None) -> None:
    """Print all that was found."""
    for parts in comparison_lines(comparison):
        printer.line(*parts)


def comparison_lines(comparison: Comparison | None) -> Iterator[list[Part]]:
    """Return the lines of the long form."""
    if comparison is None:
        yield ["There is no earlier run to compare with"]
        return
    yield [(f"Beside {_name(comparison)}", "bold")]
    before, now = _both(comparison.messages)
    yield _figure("messages", f"{int(before):,}", f"{int(now):,}", comparison.messages)
    yield from _totals(comparison)
    yield from _kind("new", "customer", comparison.new)
    yield from _missing(comparison)
    yield from _kind("addresses", "customer with other addresses", comparison.addresses)
    far = f"total more than {FAR_TIMES} times, or less than 1/{FAR_TIMES} of the last"
    yield from _kind("amounts", f"customer with a {far}", comparison.amounts)
    far = f"more than {FAR_TIMES} times, or less than 1/{FAR_TIMES} of the last"
    yield from _kind("attachments", f"customer with {far}", comparison.attachments)
    yield from _kind("sizes", f"customer with bytes {far}", _in_units(comparison.sizes))


def _name(comparison: Comparison) -> str:
    last = comparison.last
    runs = sorted(last.runs)
    which = f"run {last.run}" if len(runs) == 1 else f"runs {', '.join(map(str, runs))}"
    return f"{which} ({last.period or 'all periods'})"


def _both(figure: Figure) -> tuple[Decimal, Decimal]:
    return figure.before, figure.now


def _figure(name: str, before: str, now: str, figure: Figure) -> list[Part]:
    line: list[Part] = ["  ", (f"{name:<11}", "dim"), f"  {before} → {now}"]
    if figure.is_far:
        line.append((f"  more than {FAR_SHARE:.0%} off", "yellow"))
    return line


def _totals(comparison: Comparison) -> Iterator[list[Part]]:
    if comparison.gone:
        told = f"{plural(comparison.gone, 'invoice')} of that time no longer in the billing data"
        yield ["  ", ("total      ", "dim"), f"  not known: {told}"]
    for currency, figure in (comparison.totals or {}).items():
        before, now = (f"{currency} {amount(each)}".strip() for each in _both(figure))
        yield _figure("total", before, now, figure)


def _missing(comparison: Comparison) -> Iterator[list[Part]]:
    kind = _kind("missing", "customer who got a message, and none now", comparison.missing)
    yield from islice(kind, 1)
    width = max((len(f"{number:,}") for number in comparison.reasons.values()), default=0)
    for code, number in comparison.reasons.items():
        yield ["    ", (code, "bold"), f"  {number:>{width},}  {_why(code)}"]
    yield from kind


def _why(code: str) -> str:
    return "No invoice in this selection" if code == _NO_PERIOD else title_of(code)


def _kind(name: str, what: str, cases: Cases | None) -> Iterator[list[Part]]:
    if cases is None:
        return
    number = _counted(cases.count, what) if cases.count else "none"
    yield ["  ", (f"{name:<11}", "dim"), "  ", (number, "yellow" if cases.count else "")]
    for each in cases.examples:
        yield [f"      {_case(each)}"]
    if cases.count > len(cases.examples):
        yield [f"      and {cases.count - len(cases.examples):,} more"]


def _counted(number: int, what: str) -> str:
    word, space, rest = what.partition(" ")
    return plural(number, word) + space + rest


def _case(case: Case) -> str:
    parts = [case.customer]
    if case.before is not None or case.now is not None:
        parts.append(f"{case.before or 'none'} → {case.now or 'none'}")
    if case.reason is not None:
        parts.append(case.reason)
    return "  ".join(parts)


def _in_units(cases: Cases | None) -> Cases | None:
    if cases is None:
        return None
    told = [
        Case(each.customer, size(int(each.before or 0)), size(int(each.now or 0)))
        for each in cases.examples
    ]
    return Cases(cases.count, told)
