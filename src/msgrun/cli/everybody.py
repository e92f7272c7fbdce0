"""`msgrun doctor --all`: parse, ask once, choose a printer."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from msgrun.cli.doctor_output import Weight
from msgrun.cli.opening import Invocation, printer_for, readable_workspace
from msgrun.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from msgrun.doctor.funnel import Funnel
    from msgrun.doctor.missing import Missing

All = Annotated[
    bool, typer.Option("--all", help="Everybody: how many fall at which rule, with examples.")
]
CsvFile = Annotated[
    Path | None,
    typer.Option(
        "--csv", metavar="FILE", help="With --all: write everybody without a message to a new file."
    ),
]


def doctor_of_everybody(
    ctx: typer.Context,
    *,
    not_with: Sequence[str],
    definition: str | None,
    run: str | None,
    cluster: str | None,
    period: str | None,
    offline: bool,
    until: float,
    fail_on: Weight,
    verbose: bool,
    json: bool,
    csv: Path | None,
    mask: bool,
) -> NoReturn:
    """Print how the rules narrow everybody down, and leave with the exit code.

    Args:
        not_with: what was given beside --all and does not go with it.
        until: the moment of the steady clock after which nobody outside is asked.

    Raises:
        UsageError: there is such a thing, or the CSV file cannot be written.
        typer.Exit: else.
    """
    from msgrun.doctor import FailOn
    from msgrun.doctor.masking import Mask
    from msgrun.ui.funnel import funnel_documents, print_funnel
    from msgrun.ui.json import write

    if not_with:
        raise UsageError(
            f"--all looks at everybody, and does not go with {' and '.join(not_with)}",
            "leave out --all, or that",
        )
    invocation = ctx.ensure_object(Invocation)
    funnel = _funnel(invocation, definition, run, cluster, period, offline, csv, until)
    invocation.exit_code = funnel.ending(FailOn(fail_on.value))
    if mask:
        funnel = Mask().over(funnel)
    if json:
        for document in funnel_documents(funnel):
            write(document, sys.stdout)
    else:
        print_funnel(printer_for(json=False), funnel, verbose=verbose)
    raise typer.Exit(invocation.exit_code)


def _funnel(
    invocation: Invocation,
    definition: str | None,
    run: str | None,
    cluster: str | None,
    period: str | None,
    offline: bool,
    csv: Path | None,
    until: float,
) -> "Funnel":
    from msgrun.doctor import Deadline, unreadable_settings
    from msgrun.doctor.funnel import Funnel, examine

    workspace = readable_workspace(invocation)
    if isinstance(workspace, ConfigError):
        report = unreadable_settings(workspace, None)
        return Funnel(
            (),
            faults=report.findings,
            verdict=report.verdict,
            primary=report.primary,
            exit_code=report.exit_code,
        )
    with ExitStack() as stack:
        return examine(
            workspace,
            today=datetime.now().astimezone().date(),
            definition=definition,
            run=run,
            cluster=cluster,
            period=period,
            offline=offline,
            deadline=Deadline(until),
            sink=stack.enter_context(CsvOfMissing(csv)) if csv else None,
        )


class CsvOfMissing:
    """A new CSV file, made with the first rows; what is there already is never written over.

    Raises:
        UsageError: the file is there, or cannot be written.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._rows = 0
        self._stack = ExitStack()

    def __enter__(self) -> "CsvOfMissing":
        from msgrun.ui.funnel import write_header

        try:
            # utf-8-sig: without the mark, spreadsheets take the file for another encoding.
            opened = self._file.open("x", encoding="utf-8-sig", newline="")
        except FileExistsError as error:
            raise UsageError(
                f"{self._file} is there already", "name a new file after --csv, or remove it"
            ) from error
        except OSError as error:
            raise self._unwritable(error) from error
        self._stream = self._stack.enter_context(opened)
        write_header(self._stream)
        return self

    def __call__(self, rows: "Iterator[Missing]") -> None:
        """Write the rows of one definition."""
        from msgrun.ui.funnel import write_missing

        try:
            self._rows += write_missing(rows, self._stream)
            self._stream.flush()
        except OSError as error:
            raise self._unwritable(error) from error

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        from msgrun.ui.text import plural

        self._stack.close()
        if kind is not None:
            self._file.unlink(missing_ok=True)  # half a list would be taken for the whole
        else:
            printer_for(json=True).line(f"{plural(self._rows, 'row')} written to {self._file}")

    def _unwritable(self, error: OSError) -> UsageError:
        return UsageError(
            f"{self._file} cannot be written: {error.strerror}", "name another file after --csv"
        )
