"""A planned run that is not written yet: figures, samples, and one transaction to make it real."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Final, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    case,
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
from msgrun.ledger.rows import Frozen, RunRow, addresses_of
from msgrun.ledger.runs import create_run
from msgrun.model import CONCEPT, MessageContext, Selection
from msgrun.planning.comparing import Comparing
from msgrun.planning.outline import Planned, outline
from msgrun.planning.room import give_room, one_moment
from msgrun.planning.scope import (
    MONEY,
    eligible_rows,
    fill_scope,
    message_id,
    numbered,
    recheck_guard,
)
from msgrun.source import Live, Narrowing, Source
from msgrun.source.mapping import AnyRow
from msgrun.states import MessageState

T = TypeVar("T")

EXAMPLES: Final = 20
"""So many skipped invoices are named for each reason."""


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
        self._collate = bool(frozen.definition["collate"])
        selection = criteria.selection
        meant = Narrowing(period=selection.period, customers=selection.customers or None)
        give_room(connection)
        self._facts: Live = source.live(connection, meant)
        with one_moment(connection):
            self._facts.check(connection)
            self._scope = fill_scope(
                connection, self._facts, database.tables, criteria, collate=self._collate
            )
            self.plan = self._figures()

    def sample(self, count: int) -> list[tuple[str, MessageContext | None]]:
        """Return the first messages as (customer, context), as the source has them now."""
        with self._connection.begin():
            rows = eligible_rows(self._connection, self._scope, count, collate=self._collate)
            return self._loaded(rows)

    def sample_languages(self) -> list[tuple[str, MessageContext | None]]:
        """Return the first message for each language that customers have, likewise."""
        scope, customer = self._scope, self._facts.customers
        spoken = scope.alias("spoken")
        first = (
            select(func.min(spoken.c.place))
            .join(customer, customer.c.code == spoken.c.customer)
            .where(spoken.c.reason.is_(None), customer.c.language.is_not(None))
            .group_by(customer.c.language)
        )
        chosen = scope.alias("chosen")
        columns = (scope.c.customer, scope.c.bundle, scope.c.invoice)
        rows = (
            select(*columns)
            .join(
                chosen,
                (chosen.c.customer == scope.c.customer) & (chosen.c.bundle == scope.c.bundle),
            )
            .where(scope.c.reason.is_(None), chosen.c.place.in_(first))
            .order_by(scope.c.place)
        )
        with self._connection.begin():
            return self._loaded(self._connection.execute(rows).all())

    def _loaded(self, rows: Sequence[AnyRow]) -> list[tuple[str, MessageContext | None]]:
        """Return what messages are made of; `rows` hold customer, bundle and invoice, in order."""
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

    def outline(self, *, sendable: bool = False) -> Iterator[Planned]:
        """Yield every message of the run; with `sendable`, those that would be sent alone."""
        return outline(self._connection, self._scope, collate=self._collate, sendable=sendable)

    def comparing(self) -> Comparing:
        """Return what compares the run with the definition's last one."""
        return Comparing(
            self._connection,
            self._database,
            self._source,
            self._criteria,
            scope=self._scope,
            facts=self._facts,
            in_scope=self.plan.in_scope,
            messages=self.plan.messages,
        )

    def addresses(self) -> list[str]:
        """Return the address of each recipient of the messages that would be sent."""
        scope, address = self._scope, self._facts.addresses
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
        rows = numbered(self._scope, collate=self._collate)
        sendable = rows.c.reason.is_(None)
        columns = {
            message.c.run_id: literal(run.id, BigInteger),
            message.c.number: rows.c.number,
            message.c.revision: literal(1, Integer),
            message.c.customer: rows.c.customer,
            message.c.recipients: func.coalesce(rows.c.recipients, "[]"),
            message.c.state: case(
                (sendable, MessageState.PENDING.value), else_=MessageState.SKIPPED.value
            ),
            message.c.reason: rows.c.reason,
            message.c.message_id: case(
                (sendable, message_id(run.uid, rows.c.number, domain)), else_=null()
            ),
            message.c.attempts: literal(0, Integer),
            message.c.updated_at: literal(now, message.c.updated_at.type),
        }
        connection.execute(
            insert(message).from_select(
                list(columns),
                select(*columns.values()).where(rows.c.first).order_by(rows.c.number),
            )
        )
        self._insert_links(connection, run)

    def _insert_links(self, connection: Connection, run: RunRow) -> None:
        message, link = self._database.tables.message, self._database.tables.message_invoice
        rows = numbered(self._scope, collate=self._collate)
        guarded = self._criteria.selection.redirect_to is None
        matching = (message.c.run_id == run.id) & (message.c.number == rows.c.number)
        joined: FromClause = rows.join(message, matching)
        generation: ColumnElement[int] = literal(1, Integer)
        if guarded and self._criteria.selection.resend:
            # A join: asked for each row, PostgreSQL would search all that this statement writes.
            before = (
                select(link.c.invoice, func.max(link.c.generation).label("last"))
                .where(link.c.definition == self._frozen.name, link.c.holds)
                .group_by(link.c.invoice)
                .subquery("before")
            )
            joined = joined.outerjoin(before, before.c.invoice == rows.c.invoice)
            generation = func.coalesce(before.c.last, 0) + 1
        columns = {
            link.c.message_id: message.c.id,
            link.c.invoice: rows.c.invoice,
            link.c.definition: literal(self._frozen.name),
            link.c.generation: generation,
            link.c.holds: rows.c.reason.is_(None) if guarded else literal(False),
        }
        if not self._database.is_sqlite:
            # It has no figures of the rows just written, and takes them for very few.
            connection.exec_driver_sql("SET LOCAL enable_nestloop = off")
        connection.execute(
            insert(link).from_select(
                list(columns),
                select(*columns.values()).select_from(joined).order_by(rows.c.place),
            )
        )

    def _figures(self) -> Plan:
        connection, scope = self._connection, self._scope
        groups = connection.execute(
            select(
                scope.c.reason, scope.c.currency, func.count(), func.sum(scope.c.amount)
            ).group_by(scope.c.reason, scope.c.currency)
        ).all()
        invoices = Counter[str | None]()
        amounts = Counter[str]()
        for reason, currency, number, amount in groups:
            invoices[reason] += number
            if reason is None and amount is not None:
                amounts[currency or ""] += int(amount)
        skipped = {code: invoices[code] for code in sorted(filter(None, invoices))}
        return Plan(
            definition=self._frozen.name,
            selection=self._criteria.selection,
            in_scope=invoices.total(),
            invoices=invoices[None],
            messages=self._count_messages() if self._collate else invoices[None],
            skipped=skipped,
            examples=self._examples(skipped),
            totals={name: Decimal(amounts[name]) / MONEY for name in sorted(amounts)},
            held_by=self._holders() if "MR126" in skipped else (),
            ends=self._ends(),
        )

    def _count_messages(self) -> int:
        """Count the messages of a collated run: one for each customer."""
        scope = self._scope
        customers = select(scope.c.customer).where(scope.c.reason.is_(None)).distinct()
        found: int = self._connection.execute(
            select(func.count()).select_from(customers.subquery())
        ).scalar_one()
        return found

    def _ends(self) -> list[tuple[str, list[str]]]:
        scope = self._scope
        sendable = select(scope.c.customer, scope.c.recipients).where(scope.c.reason.is_(None))
        ends: dict[str, list[str]] = {}
        for order in (scope.c.place, scope.c.place.desc()):
            row = self._connection.execute(sendable.order_by(order).limit(1)).first()
            if row is not None:
                ends[row.customer] = [each.address for each in addresses_of(json.loads(row[1]))]
        return list(ends.items())

    def _examples(self, codes: Collection[str]) -> dict[str, list[tuple[str, str]]]:
        """Return the first few skipped invoices of each reason, in one look at all of them."""
        if not codes:
            return {}
        scope, invoice = self._scope, self._facts.invoices
        place = func.row_number().over(partition_by=scope.c.reason, order_by=scope.c.place)
        ranked = (
            select(scope.c.reason, scope.c.place, scope.c.customer, scope.c.invoice,
                   place.label("rank"))
            .where(scope.c.reason.is_not(None))
            .subquery("ranked")
        )  # fmt: skip
        first = select(ranked).where(ranked.c.rank <= EXAMPLES).subquery("first")
        rows = self._connection.execute(
            select(first.c.reason, first.c.customer, invoice.c.number)
            .join(invoice, invoice.c.id == first.c.invoice)
            .order_by(first.c.place)
        )
        found: dict[str, list[tuple[str, str]]] = {code: [] for code in codes}
        for code, customer, number in rows:
            found[code].append((customer, number or CONCEPT))
        return found

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
