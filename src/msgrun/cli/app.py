"""The program `msgrun`: its commands, and the one place where errors become exit codes."""

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final, cast

import typer

from msgrun.cli.bounces import bounces
from msgrun.cli.cancel import cancel
from msgrun.cli.db import db
from msgrun.cli.demo import demo
from msgrun.cli.doctor import doctor
from msgrun.cli.doctor_output import EXAMPLES as DOCTOR_EXAMPLES
from msgrun.cli.events import events
from msgrun.cli.evidence import evidence
from msgrun.cli.explain import explain
from msgrun.cli.import_ import import_
from msgrun.cli.init import init
from msgrun.cli.metrics import metrics
from msgrun.cli.opening import Invocation
from msgrun.cli.plan import plan
from msgrun.cli.preview import preview
from msgrun.cli.purge import purge
from msgrun.cli.rehearse import rehearse
from msgrun.cli.report import report
from msgrun.cli.resolve import resolve
from msgrun.cli.restart import restart
from msgrun.cli.results import results
from msgrun.cli.runs import runs
from msgrun.cli.schedule import schedule
from msgrun.cli.send_test import send_test
from msgrun.cli.show import show
from msgrun.cli.show_context import show_context
from msgrun.cli.start import start
from msgrun.cli.stop import stop
from msgrun.cli.watch import watch
from msgrun.cli.worker import worker
from msgrun.cli.workers import workers
from msgrun.errors import ExitCode, MsgrunError, UsageError

# click's UsageError, wherever this version of typer keeps it.
_BadUsage = cast("type[Exception]", typer.BadParameter.__mro__[1])

_COMPLETING: Final = "_MSGRUN_COMPLETE"
"""What the script of `--show-completion` sets when it asks for words."""

app = typer.Typer(
    name="msgrun",
    help="Run and diagnose message runs: the bulk e-mailing of invoices.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def epilog(example: str) -> str:
    """Return what `--help` ends with: one example, or several, a line each."""
    if "\n" not in example:
        return f"Example: {example}"
    # click: a paragraph that begins with \b keeps its lines.
    return "Examples:\n\n\b\n" + "\n".join(f"  {line}" for line in example.splitlines())


_COMMANDS = (
    ("demo", demo, "msgrun demo"),
    ("init", init, "msgrun init billing"),
    ("import", import_, "msgrun import customers.csv addresses.csv invoices.csv"),
    ("plan", plan, "msgrun plan monthly --period 2026-10"),
    ("preview", preview, "msgrun preview monthly CU4242 --out CU4242.eml"),
    ("rehearse", rehearse, "msgrun rehearse monthly --period 2026-10 --into rehearsal"),
    ("send-test", send_test, "msgrun send-test monthly --to me@example.com --customer CU4242"),
    ("show-context", show_context, "msgrun show-context monthly CU4242"),
    ("start", start, "msgrun start monthly --period previous-month"),
    ("stop", stop, "msgrun stop"),
    ("restart", restart, "msgrun restart 7 --failed"),
    ("cancel", cancel, "msgrun cancel 7"),
    ("resolve", resolve, 'msgrun resolve 12 13 --sent --because "seen in the relay\'s log"'),
    ("runs", runs, "msgrun runs --json"),
    ("show", show, "msgrun show 7"),
    ("results", results, "msgrun results 7 --state rejected --csv rejected.csv"),
    ("watch", watch, "msgrun watch 7"),
    ("bounces", bounces, "msgrun bounces /var/mail/bounces"),
    ("evidence", evidence, "msgrun evidence last --maillog /var/log/mail.log"),
    ("report", report, "msgrun report 7 --html run-7.html"),
    ("events", events, "msgrun events 7"),
    ("metrics", metrics, "msgrun metrics --textfile /var/lib/node_exporter/msgrun.prom"),
    ("purge", purge, "msgrun purge --older-than 400d --dry-run"),
    ("worker", worker, "msgrun worker --poll 5"),
    ("workers", workers, "msgrun workers --json"),
    ("doctor", doctor, DOCTOR_EXAMPLES),
    ("explain", explain, "msgrun explain MR105"),
)
for _name, _function, _example in _COMMANDS:
    app.command(_name, epilog=epilog(_example))(_function)
app.command("demo")(demo)
app.add_typer(db, name="db")
app.add_typer(schedule, name="schedule")


def _print_version(wanted: bool) -> None:
    if wanted:
        from msgrun.cli.version import version_lines

        for line in version_lines():
            typer.echo(line)
        raise typer.Exit


@app.callback(invoke_without_command=True)
def options(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="The configuration; else msgrun.toml."),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Say the version, and those of what it runs on.",
        ),
    ] = False,
) -> None:
    """Run and diagnose message runs: the bulk e-mailing of invoices."""
    invocation = ctx.ensure_object(Invocation)
    invocation.config, invocation.debug = config, debug
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
        raise typer.Exit(ExitCode.USAGE)


def main() -> None:
    """Run the program and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character is no error
    code = run(sys.argv[1:])
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; return the exit code. Nothing is raised."""
    invocation = Invocation()
    json = "--json" in arguments
    try:
        # Not app(): that has exits of its own for broken pipes and interrupts.
        command = typer.main.get_command(app)
        if _COMPLETING in os.environ:  # a shell asks for words, or for its script
            command.main(list(arguments), prog_name="msgrun", standalone_mode=False)
        with command.make_context("msgrun", list(arguments), obj=invocation) as context:
            command.invoke(context)
    except typer.Exit as leaving:
        return _flushed(leaving.exit_code)
    except MsgrunError as error:
        return _report(error, invocation, json=json)
    except _BadUsage as error:
        return _report(_usage(error), invocation, json=json)
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("\n")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        _write_nowhere()
        return invocation.exit_code
    except Exception as error:  # noqa: BLE001 - the last resort: one line instead of a traceback
        return _report(_internal(error), invocation, json=json)
    return _flushed(ExitCode.DONE)


def _flushed(code: int) -> int:
    """Return an exit code after the output is out, or its reader is gone."""
    try:
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in {errno.EPIPE, errno.EIO}:  # a closed pipe, a closed terminal
            raise
        _write_nowhere()
    return code


def _usage(error: Exception) -> UsageError:
    """Return the parser's complaint as ours."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "msgrun"
    message = " ".join(cast("typer.BadParameter", error).format_message().split())
    hint = f"see `{command} --help`"
    if "--config" in message:
        hint = "--config goes before the command: `msgrun --config FILE …`"
    return UsageError(message.rstrip("."), hint)


def _internal(error: Exception) -> MsgrunError:
    """Return an error that nobody foresaw, in one line."""
    lines = str(error).splitlines()
    told = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return MsgrunError(f"internal error: {told}", "run again with --debug, before the command")


def _report(error: MsgrunError, invocation: Invocation, *, json: bool) -> int:
    """Print an error: text to stderr, with `--json` also the document to stdout."""
    from msgrun.ui.text import Printer

    printer = Printer(sys.stderr)
    if invocation.debug:
        for line in traceback.format_exc().splitlines():  # it may quote data and answers
            printer.line(line)
    first, *further = error.message.splitlines() or [""]
    printer.line(("error: ", "bold red"), first)
    for line in further:
        printer.line("       ", line)
    if error.hint:
        printer.line(("hint: ", "bold"), error.hint)
    if json:
        from msgrun.ui.json import error_document, write

        with suppress(BrokenPipeError):
            write(error_document(error), sys.stdout)
            sys.stdout.flush()
    return error.exit_code


def _write_nowhere() -> None:
    """Send what is still buffered for a reader that is gone to nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
