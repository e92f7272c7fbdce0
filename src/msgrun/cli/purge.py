"""`msgrun purge`: take personal data out of old runs."""

import re
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from msgrun.cli import options
from msgrun.cli.opening import ask, is_interactive, open_database, printer_for
from msgrun.errors import NotFoundError, UsageError
from msgrun.states import Codes

if TYPE_CHECKING:
    from msgrun.database import Database
    from msgrun.ledger.purge import Order, Survey
    from msgrun.ui.text import Printer

_DAYS: Final = {"d": 1, "w": 7, "y": 365}
_MOST_DAYS: Final = 36_500

OlderThan = Annotated[
    str | None,
    typer.Option(
        "--older-than",
        metavar="AGE",
        help="Runs that ended longer ago than this: 400d, 60w or 2y.",
    ),
]
Customer = Annotated[
    str | None,
    typer.Option(
        "--customer",
        metavar="CODE",
        help="Only this customer's messages, of any age if none given.",
    ),
]
Customers = Annotated[
    Codes,
    typer.Option(
        "--customers",
        help="The customers' codes: kept, hashed with a key that is forgotten, or removed.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would go; never ask.")]


def purge(
    ctx: typer.Context,
    older_than: OlderThan = None,
    customer: Customer = None,
    customers: Customers = Codes.KEEP,
    yes: options.Yes = False,
    dry_run: DryRun = False,
    json: options.Json = False,
) -> None:
    """Take personal data out of old runs; counts, states and what was sent stay.

    Addresses, names, the words of replies and free text go, and cannot be brought back. Without
    --yes it only says what would go, and asks on a terminal. The same invoice is still not sent
    again. The billing data itself is not touched.
    """
    from msgrun.ledger.purge import survey
    from msgrun.ui.keeping import print_purge
    from msgrun.ui.text import plural

    if yes and dry_run:
        raise UsageError("--yes and --dry-run exclude each other", "give one of the two")
    database = open_database(ctx)
    order = _order(database, older_than, customer, customers)
    printer = printer_for(json=json)
    looked = survey(database, order)
    if customer is not None and not (looked.runs or looked.left):
        _must_be_known(database, customer)
    print_purge(printer, looked, order)
    wanted = bool(looked.messages) or any(not each.in_doubt for each in looked.runs)
    if wanted and not yes and not dry_run and is_interactive():
        yes = ask(f"Take the personal data of {plural(looked.messages, 'message')} out, for good?")
    done = _carry_out(printer, database, order) if wanted and yes else looked
    if not wanted:
        printer.line("nothing to purge: no such run is that old, or it was purged before")
    elif not yes:
        printer.line("nothing was changed; --yes does it")
    if json:
        from msgrun.ui.json import purge_document, write

        write(purge_document(done, order, dry_run=not yes), sys.stdout)


def _order(
    database: "Database", older_than: str | None, customer: str | None, codes: Codes
) -> "Order":
    from msgrun.ledger.purge import Order

    if older_than is None and customer is None:
        raise UsageError("purge what? There is no usual age", "give --older-than 400d")
    if customer == "":
        raise UsageError("--customer is empty", "give a customer's code")
    before, words = None, []
    if older_than is not None:
        with database.read() as connection, connection.begin():
            before = database.now(connection) - _age(older_than)
        words.append(f"older than {older_than}")
    if customer is not None:
        words.append("of one customer")  # who it was is just what goes
    words.append({Codes.KEEP: "codes kept", Codes.HASH: "codes hashed"}.get(codes, "codes removed"))
    return Order(before, customer, codes, ", ".join(words))


def _age(text: str) -> timedelta:
    told = re.fullmatch(r"([1-9][0-9]{0,5})([dwy])", text.strip().lower(), re.ASCII)
    days = int(told[1]) * _DAYS[told[2]] if told else 0
    if not 0 < days <= _MOST_DAYS:
        raise UsageError(
            f"'{text}' is no age: a number of days, weeks or years",
            "give --older-than 400d, 60w or 2y",
        )
    return timedelta(days=days)


def _must_be_known(database: "Database", customer: str) -> None:
    """Say that a code has no message, so that a mistyped one is not taken for done."""
    from sqlalchemy import exists, select

    message = database.tables.message
    with database.read() as connection, connection.begin():
        if connection.execute(select(exists().where(message.c.customer == customer))).scalar():
            return
    raise NotFoundError(
        f"no message was ever for a customer '{customer}'", "`msgrun results` shows the codes"
    )


def _carry_out(printer: "Printer", database: "Database", order: "Order") -> "Survey":
    from msgrun.ledger.purge import purge as purge_runs
    from msgrun.ui.text import plural

    done = purge_runs(
        database,
        order,
        lambda each: printer.line(f"run {each.run.id}: {plural(each.messages, 'message')} purged"),
    )
    if order.customer is not None:
        printer.line("the billing data still has this customer: the next run reads it from there")
    return done
