"""`msgrun explain`: the long text of a finding code, a state or a status."""

import sys
from dataclasses import asdict
from textwrap import wrap
from typing import Annotated

import typer

from msgrun.cli import options
from msgrun.cli.opening import printer_for
from msgrun.errors import NotFoundError

Word = Annotated[
    str | None,
    typer.Argument(
        metavar="CODE", help="Such as MR105, deferred or paused; without one, all are listed."
    ),
]

_WIDTH = 79


def explain(word: Word = None, json: options.Json = False) -> None:
    """Explain a finding code, a message state or a run status; without one, list them all."""
    if word is None:
        _list(json=json)
    else:
        _explain(word, json=json)


def _explain(word: str, *, json: bool) -> None:
    from msgrun.catalogue import CATALOGUE, STATE_TEXTS
    from msgrun.catalogue import explain as look_up
    from msgrun.suggest import did_you_mean
    from msgrun.ui import json as documents

    found = look_up(word)
    if found is None:
        raise NotFoundError(
            f"'{word}' is no finding code, message state or run status",
            did_you_mean(word, (*STATE_TEXTS, *CATALOGUE)),
        )
    if json:
        documents.write({"schema": documents.SCHEMA, **asdict(found)}, sys.stdout)
        return
    printer = printer_for(json=False)
    severity = "" if found.severity == "none" else f" ({found.severity})"
    heading = f"{found.word} · " if found.kind == "finding" else ""
    for line in wrap(f"{heading}{found.title}{severity}", _WIDTH):
        printer.line((line, "bold"))
    for paragraph in filter(None, (found.text, found.remedy and f"Remedy: {found.remedy}")):
        printer.line()
        for line in wrap(paragraph, _WIDTH, break_on_hyphens=False):
            printer.line(line)


def _list(*, json: bool) -> None:
    """Print every code with its title by group, and the states."""
    from msgrun.catalogue import CATALOGUE, groups
    from msgrun.states import MessageState, RunStatus
    from msgrun.ui import json as documents

    if json:
        findings = [
            {"code": each.code, "title": each.title, "severity": each.severity}
            for each in CATALOGUE.values()
        ]
        states = {
            "message_states": [state.value for state in MessageState],
            "run_statuses": [status.value for status in RunStatus],
        }
        documents.write({"schema": documents.SCHEMA, "findings": findings, **states}, sys.stdout)
        return
    printer = printer_for(json=False)
    for name, entries in groups().items():
        printer.line((name, "bold"))
        for entry in entries:
            first, *further = wrap(entry.title, _WIDTH - 9)
            printer.line("  ", entry.code, "  ", first)
            for line in further:
                printer.line(" " * 9, line)
        printer.line()
    for name, words in (("Message states", MessageState), ("Run statuses", RunStatus)):
        printer.line((name, "bold"))
        for line in wrap(", ".join(word.value for word in words), _WIDTH - 2):
            printer.line("  ", line)
        printer.line()
    printer.line("msgrun explain CODE says what one means and what to do.")
