"""`msgrun show-context`: everything that templates see, name by name."""

import sys
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from msgrun.cli import options
from msgrun.cli.opening import open_workspace, printer_for
from msgrun.cli.selecting import choose_definition

if TYPE_CHECKING:
    from msgrun.control.seen import TemplateView
    from msgrun.ui.text import Printer

Definition = Annotated[str, typer.Argument(metavar="DEF", help="The message definition.")]
Customer = Annotated[
    str | None,
    typer.Argument(
        metavar="CUSTOMER", help="Whose values to show; without one, the names and their types."
    ),
]


_OWN = frozenset({"money", "date", "number", "image", "range"})
"""What Jinja's own documentation does not tell of; `--json` has a line for each of the others."""


def show_context(
    ctx: typer.Context,
    definition: Definition,
    customer: Customer = None,
    period: options.PeriodOption = None,
    json: options.Json = False,
) -> None:
    """Show everything that templates see, with a customer's values; filters and functions too."""
    from msgrun.control.seen import seen_by_templates

    workspace = open_workspace(ctx)
    seen = seen_by_templates(
        workspace,
        choose_definition(workspace.config, definition),
        customer,
        today=datetime.now().astimezone().date(),
        period=period,
    )
    if json:
        from msgrun.ui.json import seen_document, write

        write(seen_document(seen), sys.stdout)
        return
    _print(printer_for(json=False), seen)


def _print(printer: "Printer", seen: "TemplateView") -> None:
    of = "" if seen.customer is None else f" · {seen.customer}"
    printer.line((f"{seen.definition}{of}", "bold"))
    if seen.customer is not None and not seen.eligible:
        printer.line(("no message would be sent now; these are the values of the newest invoice",
                      "dim"))  # fmt: skip
    if seen.unknown_language is not None:
        printer.line(
            ("warning: ", "yellow"),
            f"the language '{seen.unknown_language}' is not known; ",
            f"sums and dates are written as in '{seen.language}'",
        )
    elif seen.language is not None:
        printer.line((f"sums and dates are written as in '{seen.language}'", "dim"))
    _print_tree(printer, seen.variables, "")
    for title, listed in (("Filters", seen.filters), ("Functions", seen.functions)):
        own = [name for name in listed if name in _OWN]
        printer.line()
        printer.line((title, "bold"))
        width = max(map(len, own))
        for name in own:
            printer.hanging(["  ", (name.ljust(width), "cyan"), "  "], listed[name])
        jinjas = ", ".join(name for name in listed if name not in _OWN)
        printer.hanging(["  "], ("and Jinja's own: ", "dim"), (jinjas, "dim"))


def _print_tree(printer: "Printer", tree: Mapping[str, Any], indent: str) -> None:
    """Print names below each other, what they hold beside or below them."""
    plain = [name for name, value in tree.items() if not isinstance(value, (Mapping, list))]
    width = max((len(name) for name in plain), default=0)
    for name, value in tree.items():
        if isinstance(value, list):
            held: Mapping[str, Any] = {f"[{place}]": each for place, each in enumerate(value)}
        elif isinstance(value, Mapping):
            held = value
        else:
            printer.line(indent, (name.ljust(width), "cyan"), "  ", _shown(value))
            continue
        if held:
            printer.line(indent, (name, "bold cyan"))
            _print_tree(printer, held, f"{indent}  ")
        else:
            printer.line(indent, (name.ljust(width), "bold cyan"), "  (nothing)")


def _shown(value: object) -> str:
    if value is None:
        return "(empty: give a substitute, or the message fails)"
    return str(value).lower() if isinstance(value, bool) else str(value)
