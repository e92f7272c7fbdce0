"""The report as one page of HTML that needs nothing from anywhere else."""

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import asdict
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, TextIO

from jinja2 import BaseLoader, Environment, StrictUndefined, TemplateNotFound
from markupsafe import Markup, escape

from msgrun import __version__
from msgrun.catalogue import CATALOGUE
from msgrun.report import Listed, Report, read_report
from msgrun.states import MessageState
from msgrun.ui.report import chart, words
from msgrun.ui.summary import title_of
from msgrun.ui.text import moment, plural, safe

if TYPE_CHECKING:
    from msgrun.report.reading import Billed

__all__ = ["read_report", "write_page"]

_M = MessageState
_SHARES: Final = ("sent", "rejected", "failed", "in_doubt", "deferred", "pending", "skipped")
_COLUMNS: Final = (  # what an answer by provider can be, with what it counts
    ("accepted", (_M.SENT, _M.BOUNCED)),
    ("refused", (_M.REJECTED,)),
    ("put off", (_M.DEFERRED,)),
    ("in doubt", (_M.IN_DOUBT,)),
    ("came back", (_M.BOUNCED,)),
    ("not tried", (_M.FAILED, _M.PENDING)),
)
_CODE: Final = re.compile(r"`([^`]+)`")


def write_page(report: Report, stream: TextIO) -> None:
    """Write the page; it goes out piece by piece."""
    for piece in _pieces(report):
        stream.write(piece)


def _pieces(report: Report) -> Iterator[str]:
    style, script = _resource("style.css"), _resource("filter.js")
    template = _environment(report).get_template("page.html.j2")
    yield from template.generate(
        report=report,
        run=report.run,
        outcome=words.outcome(report),
        selection=report.run.selection,
        period=words.period_words(report.run.selection.period),
        counts=report.counts,
        shares=_shares(report),
        figure=_figure(report),
        unpriced=words.unpriced(report),
        providers=_providers(report),
        wide=chart.draw(report.timeline, 960, 220, 8),
        narrow=chart.draw(report.timeline, 360, 200, 3),
        told_rate=chart.summary(report.timeline),
        labels={state.value: label for state, label in words.LABELS.items()},
        listed=_listed_states(report),
        csp=f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'",
        style=Markup(style),  # noqa: S704 - the program's own file
        script=Markup(script),  # noqa: S704 - the program's own file
        version=__version__,
    )


def _environment(report: Report) -> Environment:
    """Return what the page is made with; whatever is put out goes through `safe` and is escaped."""
    made = Environment(
        loader=_Own(),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "count": lambda number: f"{number:,}",
        "money": words.money,
        "instant": words.instant,
        "moment": moment,
        "title_of": title_of,
        "remedy_of": _remedy,
        "here": lambda text: _here(text, report),
        "commands": _commands,
        "plural": plural,
        "invoices": lambda each: [_label(invoice) for invoice in each.message.invoices],
        "amounts": _amounts,
    }
    return made


class _Own(BaseLoader):
    """Loads the templates of this package."""

    def get_source(self, environment: Environment, template: str) -> tuple[str, None, None]:
        """Return a template's text."""
        if template != "page.html.j2":
            raise TemplateNotFound(template)
        return _resource(template), None, None


def _resource(name: str) -> str:
    return files("msgrun.ui.report").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _harmless(value: Any) -> Any:
    return safe(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _remedy(code: str | None) -> str:
    entry = CATALOGUE.get(code or "")
    return entry.remedy if entry else ""


def _here(text: str, report: Report) -> str:
    """Return a remedy with this run and its definition in its commands."""
    run = report.run

    def filled(command: re.Match[str]) -> str:
        told = re.sub(r"\bRUN\b", str(run.id), command[0])
        return re.sub(r"\bDEFINITION\b", lambda _: run.definition.replace("`", ""), told)

    return _CODE.sub(filled, text)


def _figure(report: Report) -> str:
    """Return the class for how wide the largest number of the reasons is."""
    widest = max((len(f"{each.invoices:,}") for each in report.reasons), default=1)
    return next(
        name for most, name in ((1, "d1"), (2, "d2"), (3, "d3"), (99, "d5")) if widest <= most
    )


def _commands(text: str) -> Markup:
    """Return text with what stands between backticks as code."""
    parts = _CODE.split(safe(text))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part)
        for place, part in enumerate(parts)
    )


def _shares(report: Report) -> list[dict[str, Any]]:
    """Return the pieces of the bar below the tiles, in thousandths."""
    counts, at, shares = asdict(report.counts), 0.0, []
    for name in _SHARES:
        number = counts[name]
        if number:
            width = 1000 * number / report.counts.in_scope
            label = words.LABELS[_M(name)]
            shares.append(
                {"state": name, "number": number, "label": label, "x": at, "width": width}
            )
            at += width
    return shares


def _providers(report: Report) -> dict[str, Any]:
    """Return the table of answers, without columns that are empty."""
    columns = [
        (name, states)
        for name, states in _COLUMNS
        if any(each.states.get(state) for each in report.providers for state in states)
    ]
    rows = [
        {
            "name": each.name,
            "domains": each.domains,
            "messages": each.messages,
            "numbers": [sum(each.states.get(s, 0) for s in states) for _, states in columns],
            "answers": each.answers,
        }
        for each in report.providers
    ]
    return {"columns": [name for name, _ in columns], "rows": rows}


def _listed_states(report: Report) -> list[tuple[str, int]]:
    """Return the words for states in the list, with their numbers, in a fixed order."""
    numbers: dict[str, int] = {}
    for each in report.listed:
        label = words.LABELS[each.message.state]
        numbers[label] = numbers.get(label, 0) + 1
    return [
        (label, numbers[label])
        for label in dict.fromkeys(words.LABELS.values())
        if label in numbers
    ]


def _label(invoice: "Billed") -> str:
    if not invoice.there:
        return f"{invoice.id} (no longer in the billing data)"
    return invoice.number or "Concept"


def _amounts(each: Listed) -> str:
    totals: dict[str, Any] = {}
    for invoice in each.message.invoices:
        if invoice.total is not None:
            totals[invoice.currency] = totals.get(invoice.currency, 0) + invoice.total
    return ", ".join(f"{name} {words.money(total)}".strip() for name, total in totals.items())
