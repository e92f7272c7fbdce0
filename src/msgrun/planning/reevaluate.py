"""The rules asked again, about the rows that a run already has."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Integer,
    MetaData,
    Select,
    Table,
    Text,
    case,
    cast,
    func,
    insert,
    or_,
    select,
    true,
)
from sqlalchemy.schema import CreateIndex, CreateTable, DropTable

from msgrun.database import Database, detach_files
from msgrun.eligibility import LIMIT_CODE, Criteria
from msgrun.errors import AlreadyRunningError
from msgrun.ledger.rows import RunRow, addresses_of
from msgrun.planning.changes import AddressChange, Exclusion, Reevaluation, Unsent
from msgrun.planning.room import give_room, one_moment
from msgrun.planning.scope import fill_scope, scope_table
from msgrun.schema import BigId
from msgrun.source import Live, Narrowing, Source
from msgrun.states import NOT_SENT, MessageState

M = MessageState

WAITING_STATES: Final = (M.PENDING, M.DEFERRED)
"""Rows that every restart asks about again."""

FAILED_STATES: Final = (*sorted(NOT_SENT), M.BOUNCED)
"""Rows that `restart --failed` asks about again."""

GONE: Final = "MR121"
"""Reason of a row whose invoice the source no longer has, or has for another customer."""


class Review:
    """A run's rows beside today's rules, in TEMP tables of its own connection."""

    def __init__(
        self,
        connection: Connection,
        database: Database,
        source: Source,
        run: RunRow,
        waiting: Mapping[int, Criteria],
        failed: Criteria | None,
    ) -> None:
        self.connection = connection
        self.database = database
        self.run = run
        self.waiting = waiting
        self.failed = failed or waiting[max(waiting)]
        states = WAITING_STATES if failed is None else (*WAITING_STATES, *FAILED_STATES)
        with connection.begin():
            self._seen = self._last_event()
            revisions = self._waiting_revisions()
        give_room(connection)
        self._facts: Live = source.live(connection, Narrowing(invoices=self._invoices(states)))
        with one_moment(connection):
            self._facts.check(connection)
            self.rows = self._make_rows()
            for number in revisions:
                self._fill_rows(waiting[number], WAITING_STATES, revision=number)
            if failed is not None:
                self._fill_rows(failed, FAILED_STATES)
            self._index_rows()

    def _last_event(self) -> int:
        """Return what changes with every move of the run."""
        event = self.database.tables.event
        last: int = self.connection.execute(
            select(func.max(event.c.id)).where(event.c.run_id == self.run.id)
        ).scalar_one()
        return last

    def _invoices(self, states: Collection[MessageState]) -> Select[Any]:
        message, link = self.database.tables.message, self.database.tables.message_invoice
        return (
            select(link.c.invoice)
            .join(message, message.c.id == link.c.message_id)
            .where(message.c.run_id == self.run.id, message.c.state.in_(states))
        )

    def _waiting_revisions(self) -> list[int]:
        """Return the revisions of the definition that unsent messages go by."""
        message = self.database.tables.message
        rows = self.connection.execute(
            select(message.c.revision)
            .distinct()
            .where(message.c.run_id == self.run.id, message.c.state.in_(WAITING_STATES))
            .order_by(message.c.revision)
        )
        return list(rows.scalars())

    def _make_rows(self) -> Table:
        """Make the TEMP table that holds message, invoice and the rules' answer side by side."""
        rows = Table(
            "msgrun_review", MetaData(),
            Column("message_id", BigId, nullable=False, index=True),
            Column("invoice", Text, primary_key=True),
            Column("customer", Text, nullable=False, index=True),
            Column("state", Text, nullable=False),
            Column("before", Text),
            Column("reason", Text),
            Column("revision", Integer, nullable=False),
            Column("recipients", Text),  # JSON, as the ledger keeps them
            schema=scope_table(self.connection.dialect.name).schema, prefixes=["TEMPORARY"],
        )  # fmt: skip
        self.connection.execute(DropTable(rows, if_exists=True))
        self.connection.execute(CreateTable(rows))
        return rows

    def _index_rows(self) -> None:
        """Make the indexes of the filled TEMP table, and let PostgreSQL know how large it is."""
        for index in self.rows.indexes:
            self.connection.execute(CreateIndex(index))
        if not self.database.is_sqlite:
            self.connection.exec_driver_sql(f"ANALYZE {self.rows.fullname}")

    def _fill_rows(
        self, criteria: Criteria, states: Sequence[MessageState], *, revision: int | None = None
    ) -> None:
        """Ask the rules about the run's messages in `states`, all or those of one revision."""
        tables, rows = self.database.tables, self.rows
        message, link = tables.message, tables.message_invoice
        # The limit was applied when the run was planned: what it left out stays out.
        unlimited = replace(criteria, selection=replace(criteria.selection, limit=None))
        scope = fill_scope(
            self.connection, self._facts, tables, unlimited, collate=False, whole=True
        )
        gone: ColumnElement[bool] = scope.c.invoice.is_(None)
        if revision is not None:
            # What waits was addressed to its customer; under another one it starts anew.
            gone = or_(gone, scope.c.customer != message.c.customer)
        answer = case((gone, GONE), else_=scope.c.reason)
        chosen: ColumnElement[bool] = true()
        if revision is not None:
            # A person decided to send what was in doubt again as it was: no rule changes that.
            chosen = (message.c.revision == revision) & message.c.doubted_at.is_(None)
        customer = func.coalesce(scope.c.customer, message.c.customer)
        self.connection.execute(
            insert(rows).from_select(
                list(rows.c),
                select(link.c.message_id, link.c.invoice, customer, message.c.state,
                       message.c.reason, answer, message.c.revision, scope.c.recipients)
                .join(message, message.c.id == link.c.message_id)
                .outerjoin(scope, scope.c.invoice == link.c.invoice)
                .where(message.c.run_id == self.run.id, message.c.state.in_(states), chosen),
            )
        )  # fmt: skip

    def result(self) -> Reevaluation:
        """Return what would change."""
        waiting = self.rows.c.state.in_(WAITING_STATES)
        with self.connection.begin():
            return Reevaluation(
                excluded=self.exclusions(waiting),
                addresses=self.address_changes(),
                revived={row[0]: row[1] for row in self.connection.execute(self.revivable())},
                renamed=self.renamed_rows(),
            )

    def leaving(self) -> dict[MessageState, int]:
        """Return how many unsent messages would still be sent, by state; resends are not asked."""
        rows = self.rows
        with self.connection.begin():
            found = self.connection.execute(
                select(rows.c.state, func.count(rows.c.message_id.distinct()))
                .where(rows.c.state.in_(WAITING_STATES), rows.c.reason.is_(None))
                .group_by(rows.c.state)
            )
            return {M(state): number for state, number in found}

    def first(
        self, count: int, states: Sequence[MessageState], messages: Collection[int] | None = None
    ) -> list[Unsent]:
        """Return the first messages in `states` that could be sent, or those of `messages`."""
        rows = self.rows
        chosen = rows.c.state.in_(states) & rows.c.reason.is_(None)
        if messages is not None:
            chosen &= rows.c.message_id.in_(sorted(messages)[:count])
        keys = select(rows.c.message_id).where(chosen).distinct().order_by(rows.c.message_id)
        with self.connection.begin():
            found = self.connection.execute(
                select(rows.c.message_id, rows.c.customer, rows.c.revision, rows.c.invoice)
                .where(chosen, rows.c.message_id.in_(keys.limit(count)))
                .order_by(rows.c.message_id, rows.c.invoice)
            )
            return [
                Unsent(customer, revision, tuple(row.invoice for row in group))
                for (_, customer, revision), group in groupby(found, key=lambda row: row[:3])
            ]

    def renamed_rows(self) -> list[Exclusion]:
        """Return the invoices of failed rows that a rule excludes now, for another reason."""
        before = func.coalesce(self.rows.c.before, "")
        return self.exclusions(
            self.rows.c.state.in_(sorted(NOT_SENT))
            & (before != self.rows.c.reason)
            & (before != LIMIT_CODE)
        )

    def exclusions(self, which: ColumnElement[bool]) -> list[Exclusion]:
        """Return the invoices among the rows `which` that a rule excludes now."""
        rows = self.rows
        found = self.connection.execute(
            select(rows.c.message_id, rows.c.invoice, rows.c.customer, rows.c.reason)
            .where(which, rows.c.reason.is_not(None))
            .order_by(rows.c.message_id, rows.c.invoice)
        )
        return [Exclusion(*row) for row in found]

    def readdressed(self) -> Select[Any]:
        """Select the unsent messages whose customers have other addresses now, and those."""
        rows, message = self.rows, self.database.tables.message
        return (
            select(
                message.c.id,
                message.c.customer,
                rows.c.revision,
                message.c.recipients,
                rows.c.recipients.label("now"),
            )
            .distinct()
            .join(rows, rows.c.message_id == message.c.id)
            .where(
                rows.c.state.in_(WAITING_STATES),
                rows.c.reason.is_(None),
                cast(message.c.recipients, Text) != rows.c.recipients,
            )
            .order_by(message.c.id)
        )

    def address_changes(self) -> list[AddressChange]:
        """Return the unsent messages whose customers have other addresses now."""
        return [
            AddressChange(
                key, customer, revision, addresses_of(before), addresses_of(json.loads(after))
            )
            for key, customer, revision, before, after in self.connection.execute(
                self.readdressed()
            )
        ]

    def revivable(self) -> Select[Any]:
        """Select the messages all of whose invoices could be sent now, and to which customer."""
        rows = self.rows
        blocked = func.sum(case((rows.c.reason.is_not(None), 1), else_=0))
        return (
            select(rows.c.message_id, func.min(rows.c.customer))
            .where(rows.c.state.in_(FAILED_STATES), func.coalesce(rows.c.before, "") != LIMIT_CODE)
            .group_by(rows.c.message_id)
            .having(blocked == 0, func.min(rows.c.customer) == func.max(rows.c.customer))
            .order_by(rows.c.message_id)
        )

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open the write transaction in which amendments and the run's own moves happen together.

        Raises:
            AlreadyRunningError: the run was moved since it was looked at.
        """
        if self.database.is_sqlite:
            detach_files(self.connection, self.database.attach)
        writing = self.connection.execution_options(begin="write")
        run = self.database.tables.run
        with writing.begin():
            writing.execute(select(run.c.id).where(run.c.id == self.run.id).with_for_update())
            if self._last_event() != self._seen:
                raise AlreadyRunningError(
                    f"run {self.run.id} was changed by another process meanwhile",
                    f"`msgrun show {self.run.id}` has it as it is; then restart again",
                )
            yield writing


@contextmanager
def review_run(
    database: Database,
    source: Source,
    run: RunRow,
    waiting: Mapping[int, Criteria],
    *,
    failed: Criteria | None,
) -> Iterator[Review]:
    """Ask the rules again about a run's rows; nothing is written before `Review.writing`.

    Args:
        database: holds the ledger.
        source: what the billing data is now.
        run: whose rows.
        waiting: what is asked about unsent rows, which keep their definition, by its revision.
        failed: what is asked about rejected, failed, skipped and bounced rows; None to let
            them be.

    Raises:
        SourceError: the billing data is not as the contract wants it.
        DatabaseError: the database cannot be used.
    """
    with database.connect(attach=True) as connection:
        yield Review(connection, database, source, run, waiting, failed)
