"""A planned run that is not written yet: figures, samples, and one transaction to make it real."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Final, TypeVar

from sqlalchemy import (
    BigInteger,
    Connection,
    Integer,
    Numeric,
    case,
    cast,
    func,
    insert,
    literal,
    null,
    select,
)
from sqlalchemy.exc import IntegrityError

from msgrun.database import Database, detach_files
from msgrun.eligibility import Criteria
from msgrun.errors import AlreadyRunningError
from msgrun.failpoints import reach
from msgrun.ledger.rows import Frozen, RunRow
from msgrun.ledger.runs import create_run
from msgrun.model import CONCEPT, MessageContext, Selection
from msgrun.planning.scope import (
    eligible_messages,
    fill_scope,
    message_id,
    numbered,
    recheck_guard,
    recipients_of,
)
from msgrun.source import Snapshot, Source
from msgrun.states import MessageState

T = TypeVar("T")

EXAMPLES: Final = 20
"""So many skipped invoices are named for each reason."""

_MONEY: Final = 10_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do.

    Attributes:
        in_scope: invoices that the selection covers.
        invoices: those that would be sent.
        messages: in so many messages.
        skipped: reason code to number of invoices.
        examples: reason code to the first few (customer, invoice number).
        totals: currency ("" where there is none) to the sum of the invoices to be sent.
        held_by: runs that hold invoices of the selection (MR126).
        ends: first and last customer that a message goes to, each with its addresses.
    """

    definition: str
    selection: Selection
    in_scope: int
    invoices: int
    messages: int
    skipped: Mapping[str, int]
    examples: Mapping[str, Sequence[tuple[str, str]]]
    totals: Mapping[str, Decimal]
    held_by: Sequence[int]
    ends: Sequence[tuple[str, Sequence[str]]]


class Draft:
    """The planned run in TEMP tables of its own connection.

    Made by `draft_run`; `plan` has the figures.
    """

    def __init__(
        self,
        connection: Connection,
        database: Database,
        source: Source,
        frozen: Frozen,
        criteria: Criteria,
    ) -> None:
        self._connection = connection
        self._database = database
        self._source = source
        self._frozen = frozen
        self._criteria = criteria
        self._snapshot: Snapshot = source.snapshot(
            connection,
            period=criteria.selection.period,
            customers=criteria.selection.customers or None,
        )
        with connection.begin():
            self._scope = fill_scope(
                connection,
                self._snapshot,
                database.tables,
                criteria,
                collate=bool(frozen.definition["collate"]),
            )
        with connection.begin():
            self.plan = self._figures()

    def sample(self, count: int) -> list[tuple[str, MessageContext | None]]:
        """Return the first messages as (customer, context), as the source has them now."""
        with self._connection.begin():
            rows = self._connection.execute(eligible_messages(self._scope, count)).all()
            wanted = [
                (customer, [row.invoice for row in group])
                for (customer, _), group in groupby(rows, key=lambda row: (row[0], row[1]))
            ]
            contexts = self._source.load(
                self._connection,
                wanted,
                key=self._criteria.recipient_key,
                transformations=self._criteria.documents,
            )
        return [(customer, each) for (customer, _), each in zip(wanted, contexts, strict=True)]

    def addresses(self) -> list[str]:
        """Return the address of each recipient of the messages that would be sent."""
        scope, address = self._scope, self._snapshot.addresses
        messages = (
            select(scope.c.customer, scope.c.bundle)
            .where(scope.c.reason.is_(None))
            .distinct()
            .subquery("messages")
        )
        wanted = select(address.c.address).join(messages, messages.c.customer == address.c.customer)
        with self._connection.begin():
            return list(
                self._connection.scalars(
                    wanted.where(address.c.key == self._criteria.recipient_key)
                )
            )

    def commit(self, domain: str, take_on: Callable[[Connection, RunRow], T]) -> T:
        """Write the run, in one transaction that checks the guard again.

        Args:
            domain: right side of the Message-IDs.
            take_on: called in that transaction with the run; a planned run that nobody works
                on would look dead to others.

        Returns:
            What `take_on` returned.

        Raises:
            AlreadyRunningError: the definition has a live run, or another run was quicker.
        """
        connection = self._connection
        if self._database.is_sqlite:
            detach_files(connection, self._database.attach)
        tables = self._database.tables
        writing = connection.execution_options(begin="write")
        try:
            with writing.begin():
                now = self._database.now(writing)
                run = create_run(writing, tables, self._frozen, self._criteria.selection, now)
                if self._criteria.selection.redirect_to is None:
                    recheck_guard(writing, self._scope, tables, self._criteria)
                self._insert_messages(writing, run, now, domain)
                reach("plan.writing")
                return take_on(writing, run)
        except IntegrityError as error:
            raise AlreadyRunningError(
                f"another run of '{self._frozen.name}' is live, or took the same invoices first",
                "`msgrun runs` lists them; `msgrun watch` follows the live one",
            ) from error

    def _insert_messages(
        self, connection: Connection, run: RunRow, now: datetime, domain: str
    ) -> None:
        message = self._database.tables.message
        rows = numbered(self._scope)
        addressed = recipients_of(
            self._snapshot, self._criteria.recipient_key, connection.dialect.name
        )
        grouped = (
            select(rows.c.number, rows.c.customer, func.min(rows.c.reason).label("reason"))
            .group_by(rows.c.number, rows.c.customer)
            .subquery("grouped")
        )
        sendable = grouped.c.reason.is_(None)
        columns = {
            message.c.run_id: literal(run.id, BigInteger),
            message.c.number: grouped.c.number,
            message.c.revision: literal(1, Integer),
            message.c.customer: grouped.c.customer,
            message.c.recipients: func.coalesce(addressed.c.recipients, "[]"),
            message.c.state: case(
                (sendable, MessageState.PENDING.value), else_=MessageState.SKIPPED.value
            ),
            message.c.reason: grouped.c.reason,
            message.c.message_id: case(
                (sendable, message_id(run.uid, grouped.c.number, domain)), else_=null()
            ),
            message.c.attempts: literal(0, Integer),
            message.c.updated_at: literal(now, message.c.updated_at.type),
        }
        connection.execute(
            insert(message).from_select(
                list(columns),
                select(*columns.values())
                .select_from(
                    grouped.outerjoin(addressed, addressed.c.customer == grouped.c.customer)
                )
                .order_by(grouped.c.number),
            )
        )
        self._insert_links(connection, run)

    def _insert_links(self, connection: Connection, run: RunRow) -> None:
        message, link = self._database.tables.message, self._database.tables.message_invoice
        rows = numbered(self._scope)
        guarded = self._criteria.selection.redirect_to is None
        before = select(func.max(link.c.generation)).where(
            link.c.definition == self._frozen.name,
            link.c.invoice == rows.c.invoice,
            link.c.holds,
        )
        generation = func.coalesce(before.scalar_subquery(), 0) + 1
        columns = {
            link.c.message_id: message.c.id,
            link.c.invoice: rows.c.invoice,
            link.c.definition: literal(self._frozen.name),
            link.c.generation: generation if guarded else literal(1, Integer),
            link.c.holds: rows.c.reason.is_(None) if guarded else literal(False),
        }
        matching = (message.c.run_id == run.id) & (message.c.number == rows.c.number)
        connection.execute(
            insert(link).from_select(
                list(columns), select(*columns.values()).select_from(rows.join(message, matching))
            )
        )

    def _figures(self) -> Plan:
        connection, scope = self._connection, self._scope
        reasons = connection.execute(
            select(scope.c.reason, func.count()).group_by(scope.c.reason).order_by(scope.c.reason)
        ).all()
        skipped = {reason: number for reason, number in reasons if reason is not None}
        bundles = select(scope.c.customer, scope.c.bundle).where(scope.c.reason.is_(None))
        messages = connection.execute(
            select(func.count()).select_from(bundles.distinct().subquery())
        ).scalar_one()
        return Plan(
            definition=self._frozen.name,
            selection=self._criteria.selection,
            in_scope=sum(number for _, number in reasons),
            invoices=sum(number for reason, number in reasons if reason is None),
            messages=messages,
            skipped=skipped,
            examples={code: self._examples(code) for code in skipped},
            totals=self._totals(),
            held_by=self._holders() if "MR126" in skipped else (),
            ends=self._ends(),
        )

    def _ends(self) -> list[tuple[str, list[str]]]:
        scope, addresses = self._scope, self._snapshot.addresses
        customers = select(func.min(scope.c.customer), func.max(scope.c.customer))
        first, last = self._connection.execute(customers.where(scope.c.reason.is_(None))).one()
        ends = []
        for customer in dict.fromkeys(each for each in (first, last) if each is not None):
            found = select(addresses.c.address).where(
                addresses.c.customer == customer, addresses.c.key == self._criteria.recipient_key
            )
            texts = self._connection.execute(found.order_by(addresses.c.address)).scalars()
            ends.append((customer, list(texts)))
        return ends

    def _examples(self, code: str) -> list[tuple[str, str]]:
        scope, invoice = self._scope, self._snapshot.invoices
        rows = self._connection.execute(
            select(scope.c.customer, invoice.c.number)
            .join(invoice, invoice.c.id == scope.c.invoice)
            .where(scope.c.reason == code)
            .order_by(scope.c.customer, scope.c.invoice)
            .limit(EXAMPLES)
        )
        return [(customer, number or CONCEPT) for customer, number in rows]

    def _totals(self) -> dict[str, Decimal]:
        scope, invoice = self._scope, self._snapshot.invoices
        # Whole ten-thousandths add up exactly on SQLite, which has no decimals.
        total = func.round(cast(invoice.c.total, Numeric(20, 4)) * _MONEY)
        currency = func.coalesce(invoice.c.currency, "")
        rows = self._connection.execute(
            select(currency, func.sum(cast(total, BigInteger)))
            .select_from(scope.join(invoice, invoice.c.id == scope.c.invoice))
            .where(scope.c.reason.is_(None), invoice.c.total.is_not(None))
            .group_by(currency)
            .order_by(currency)
        )
        return {name: Decimal(int(amount)) / _MONEY for name, amount in rows}

    def _holders(self) -> list[int]:
        tables, scope = self._database.tables, self._scope
        message, link = tables.message, tables.message_invoice
        rows = self._connection.execute(
            select(message.c.run_id)
            .distinct()
            .join(link, link.c.message_id == message.c.id)
            .join(scope, scope.c.invoice == link.c.invoice)
            .where(scope.c.reason == "MR126", link.c.definition == self._frozen.name, link.c.holds)
            .order_by(message.c.run_id)
        )
        return list(rows.scalars())


@contextmanager
def draft_run(
    database: Database, source: Source, frozen: Frozen, criteria: Criteria
) -> Iterator[Draft]:
    """Plan a run without writing anything; `Draft.commit` writes it.

    Raises:
        SourceError: the billing data is not as the contract wants it.
        DatabaseError: the database cannot be used.
    """
    with database.connect(attach=True) as connection:
        yield Draft(connection, database, source, frozen, criteria)
