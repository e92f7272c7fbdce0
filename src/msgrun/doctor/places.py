"""Where every customer and invoice comes to rest: one statement fills a TEMP table, others read it.

A customer's place is the furthest that any of its invoices gets, so that the customers of all
places add up to everybody.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Index,
    Integer,
    MetaData,
    Subquery,
    Table,
    Text,
    case,
    func,
    insert,
    literal,
    select,
    tuple_,
)
from sqlalchemy.schema import CreateIndex, CreateTable, DropTable

from msgrun.eligibility import FUNNEL, Criteria, Further, funnel_select
from msgrun.ledger.rows import RunRow
from msgrun.schema import Tables
from msgrun.source import Live
from msgrun.states import MessageState

SENT: Final = "MR508"
"""The place of what the run looked at has sent, whatever the rules say today."""

MISSED: Final = "MR124"
"""The place of what the rules let through today, and the run looked at passed over."""

OUTSIDE: Final = tuple(rule.code for rule in FUNNEL if not rule.in_scope)
"""The places out of scope: no run has a row for what falls there."""

BLOCKED: Final = tuple(rule.code for rule in FUNNEL if rule.in_scope)
"""The places of what is in scope and cannot be sent."""

_ORDER: Final = (*OUTSIDE, *BLOCKED, MISSED, "", SENT)
_PLACES: Final = {code: place for place, code in enumerate(_ORDER)}
_SHOWN: Final = 3
_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Example:
    """One of those who fell at a place; `invoice` is an id, None where there is none."""

    customer: str
    invoice: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """How many came to rest at one place.

    Attributes:
        code: of the rule; "" for what every rule lets through.
        invoices: that fell there.
        customers: none of whose invoices got any further.
        examples: of the invoices, else of the customers; in order of customer.
    """

    code: str
    invoices: int
    customers: int
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One invoice in scope that falls at a rule, or a customer who has nothing in scope."""

    code: str
    customer: str
    invoice: str | None


class Places:
    """The TEMP table of one definition and selection; `fill` makes it anew.

    Args:
        connection: of `database.connect(attach=True)`, in a transaction that reads.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._table = Table(
            "msgrun_places",
            MetaData(schema="temp" if connection.dialect.name == "sqlite" else "pg_temp"),
            Column("customer", Text, nullable=False),
            Column("place", Integer, nullable=False),
            Column("invoice", Text),  # the first of them; NULL where there is none
            Column("invoices", Integer, nullable=False),
        )

    def create(self) -> None:
        """Make the table, empty, in the caller's transaction that may write."""
        self._connection.execute(DropTable(self._table, if_exists=True))
        self._connection.execute(CreateTable(self._table))

    def fill(self, facts: Live, ledger: Tables, criteria: Criteria, run: RunRow | None) -> None:
        """Ask every rule about everybody.

        Args:
            run: the run looked at, whose own messages go before the rules; None for none.
        """
        first, last = ([], []) if run is None else _of_run(ledger, run.id)
        rows = funnel_select(facts, ledger, criteria, _PLACES, first=first, last=last)
        asked = rows.subquery("asked")
        # What a person must put right has a row an invoice; all else is only counted.
        told = asked.c.place.between(_PLACES[BLOCKED[0]], _PLACES[MISSED])
        counted = select(
            asked.c.customer,
            asked.c.place,
            func.min(asked.c.invoice),
            func.count(asked.c.invoice),
        ).group_by(asked.c.customer, asked.c.place, case((told, asked.c.invoice)))
        self._connection.execute(insert(self._table).from_select(self._table.c.keys(), counted))

    def counted(self) -> list[Place]:
        """Return every place at which somebody came to rest, in order."""
        table = self._table
        invoices = self._connection.execute(
            select(table.c.place, func.sum(table.c.invoices)).group_by(table.c.place)
        )
        fallen = {place: int(number) for place, number in invoices}
        furthest = (
            select(func.max(table.c.place).label("place")).group_by(table.c.customer).subquery()
        )
        customers = self._connection.execute(
            select(furthest.c.place, func.count()).group_by(furthest.c.place)
        )
        ended = {row[0]: row[1] for row in customers}
        return [
            Place(_ORDER[place], fallen[place], ended.get(place, 0), self._examples(place))
            for place in sorted(fallen)
        ]

    def _examples(self, place: int) -> tuple[Example, ...]:
        table = self._table
        rows = self._connection.execute(
            select(table.c.customer, table.c.invoice)
            .where(table.c.place == place)
            .order_by(table.c.customer, table.c.invoice)
            .limit(_SHOWN)
        )
        return tuple(Example(customer, invoice) for customer, invoice in rows)

    def domains(self, facts: Live, key: str) -> Subquery:
        """Return SQL for the domains of those whom nothing stands in the way of, with customers.

        Args:
            key: the address key.
        """
        table, address = self._table, facts.addresses
        at = (
            func.instr(address.c.address, "@")
            if self._connection.dialect.name == "sqlite"
            else func.strpos(address.c.address, "@")
        )
        domain = func.lower(func.substr(address.c.address, at + 1)).label("domain")
        return (
            select(domain, func.count(table.c.customer.distinct()).label("customers"))
            .join(address, address.c.customer == table.c.customer)
            .where(table.c.place == _PLACES[""], address.c.key == key)
            .group_by(domain)
            .subquery("domains")
        )

    def index(self) -> None:
        """Make `rows` quick, in the caller's transaction that may write."""
        index = Index("msgrun_places_by_customer", self._table.c.customer, self._table.c.place)
        self._connection.execute(CreateIndex(index))
        self._table.indexes.discard(index)
        if self._connection.dialect.name == "postgresql":
            self._connection.exec_driver_sql(f"ANALYZE {self._table.fullname}")

    def rows(self) -> Iterator[list[Row]]:
        """Yield page by page what falls at a rule, in order of customer; nothing is held open.

        Of a customer who has nothing in scope there is one row: the furthest place.
        """
        table, other = self._table, self._table.alias("other")
        scope = _PLACES[BLOCKED[0]]
        further = select(other.c.place).where(
            other.c.customer == table.c.customer, other.c.place > table.c.place
        )
        wanted = select(table).where(
            (table.c.place.between(scope, _PLACES[MISSED]))
            | ((table.c.place < scope) & ~further.exists())
        )
        key = (table.c.customer, table.c.place, func.coalesce(table.c.invoice, ""))
        wanted = wanted.order_by(*key).limit(_PAGE)
        after: tuple[Any, ...] | None = None
        while True:
            query = wanted if after is None else wanted.where(tuple_(*key) > tuple_(*after))
            page = self._connection.execute(query).all()
            yield [
                Row(
                    _ORDER[row.place],
                    row.customer,
                    row.invoice if row.place >= scope else None,
                )
                for row in page
            ]
            if len(page) < _PAGE:
                return
            after = (page[-1].customer, page[-1].place, page[-1].invoice or "")


def _of_run(ledger: Tables, run: int) -> tuple[list[Further], list[Further]]:
    """Return what a run's own rows say before the rules, and after them."""
    message, link = ledger.message, ledger.message_invoice

    def own(invoice: FromClause) -> Any:
        return (
            select(link.c.message_id)
            .join(message, message.c.id == link.c.message_id)
            .where(link.c.invoice == invoice.c.id, message.c.run_id == run)
        )

    def sent(invoice: FromClause) -> ColumnElement[bool]:
        done: ColumnElement[bool] = (
            own(invoice).where(message.c.state == MessageState.SENT).exists()
        )
        return done

    def missed(invoice: FromClause) -> ColumnElement[bool]:
        passed_over = (message.c.state == MessageState.SKIPPED) & message.c.reason.in_(BLOCKED)
        has = own(invoice).where(~func.coalesce(passed_over, literal(value=False))).exists()
        nothing: ColumnElement[bool] = ~has
        return nothing

    return [(SENT, sent)], [(MISSED, missed)]
