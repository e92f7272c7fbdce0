"""`msgrun explain`: the long text of a finding code, a state or a status."""

import sys
from dataclasses import asdict
from textwrap import wrap
from typing import Annotated

import typer

from msgrun.cli import options
from msgrun.cli.opening import printer_for
from msgrun.errors import NotFoundError

Word = Annotated[str, typer.Argument(metavar="CODE", help="Such as MR105, deferred or paused.")]

_WIDTH = 88


def explain(word: Word, json: options.Json = False) -> None:
    """Explain a finding code, a message state or a run status."""
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
    printer.line((f"{heading}{found.title}{severity}", "bold"))
    for paragraph in filter(None, (found.text, found.remedy and f"Remedy: {found.remedy}")):
        printer.line()
        for line in wrap(paragraph, _WIDTH):
            printer.line(line)
