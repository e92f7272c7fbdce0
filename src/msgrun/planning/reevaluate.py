"""The rules asked again, about the rows that a run already has."""

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    MetaData,
    Select,
    Subquery,
    Table,
    Text,
    case,
    cast,
    delete,
    exists,
    func,
    insert,
    select,
    type_coerce,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateTable, DropTable

from msgrun.database import Database, detach_files
from msgrun.eligibility import LIMIT_CODE, Criteria
from msgrun.errors import AlreadyRunningError
from msgrun.ledger.messages import hold
from msgrun.ledger.rows import Frozen, RunRow, addresses_of
from msgrun.ledger.runs import add_revision
from msgrun.model import Address
from msgrun.planning.scope import fill_scope, message_id, recipients_of, scope_table
from msgrun.schema import BigId
from msgrun.source import Snapshot, Source
from msgrun.states import NOT_SENT, MessageState, sources_of

M = MessageState

WAITING_STATES: Final = (M.PENDING, M.DEFERRED)
"""Rows that every restart asks about again."""

FAILED_STATES: Final = (*sorted(NOT_SENT), M.BOUNCED)
"""Rows that `restart --failed` asks about again."""

GONE: Final = "MR121"
"""Reason of a row whose invoice is no longer in the source."""


@dataclass(frozen=True, slots=True)
class Exclusion:
    """An invoice of a message that a rule excludes now."""

    message_id: int
    invoice: str
    customer: str
    reason: str


@dataclass(frozen=True, slots=True)
class AddressChange:
    """A message whose customer has other addresses now."""

    message_id: int
    customer: str
    before: tuple[Address, ...]
    after: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Reevaluation:
    """What the rules say now of a run's rows.

    Attributes:
        excluded: invoices of unsent messages that would no longer be sent.
        addresses: unsent messages that would go elsewhere.
        revived: messages (rejected, failed, skipped, bounced) that could be sent now.
        renamed: skipped rows with a new reason: message id to code.
    """

    excluded: Sequence[Exclusion]
    addresses: Sequence[AddressChange]
    revived: Sequence[int]
    renamed: Sequence[Exclusion]


class Review:
    """A run's rows beside today's rules, in TEMP tables of its own connection."""

    def __init__(
        self,
        connection: Connection,
        database: Database,
        source: Source,
        run: RunRow,
        waiting: Criteria,
        failed: Criteria | None,
    ) -> None:
        self._connection = connection
        self._database = database
        self._run = run
        self._waiting = waiting
        self._failed = failed or waiting
        groups: list[tuple[Criteria, Sequence[MessageState]]] = [(waiting, WAITING_STATES)]
        if failed is not None:
            groups.append((failed, FAILED_STATES))
        with connection.begin():
            self._seen = self._last_event()
            invoices = self._invoices([state for _, states in groups for state in states])
        self._snapshot: Snapshot = source.snapshot(connection, invoices=invoices)
        with connection.begin():
            self._rows = self._make_rows()
            for criteria, states in groups:
                self._fill_rows(criteria, states)

    def _last_event(self) -> int:
        """Return what changes with every move of the run."""
        event = self._database.tables.event
        last: int = self._connection.execute(
            select(func.max(event.c.id)).where(event.c.run_id == self._run.id)
        ).scalar_one()
        return last

    def _invoices(self, states: Collection[MessageState]) -> list[str]:
        message, link = self._database.tables.message, self._database.tables.message_invoice
        rows = self._connection.execute(
            select(link.c.invoice)
            .join(message, message.c.id == link.c.message_id)
            .where(message.c.run_id == self._run.id, message.c.state.in_(states))
        )
        return list(rows.scalars())

    def _make_rows(self) -> Table:
        """Make the TEMP table that holds message, invoice and the rules' answer side by side."""
        rows = Table(
            "msgrun_review", MetaData(),
            Column("message_id", BigId, nullable=False),
            Column("invoice", Text, primary_key=True),
            Column("customer", Text, nullable=False),
            Column("state", Text, nullable=False),
            Column("before", Text),
            Column("reason", Text),
            schema=scope_table(self._connection.dialect.name).schema, prefixes=["TEMPORARY"],
        )  # fmt: skip
        self._connection.execute(DropTable(rows, if_exists=True))
        self._connection.execute(CreateTable(rows))
        return rows

    def _fill_rows(self, criteria: Criteria, states: Sequence[MessageState]) -> None:
        tables, rows = self._database.tables, self._rows
        message, link = tables.message, tables.message_invoice
        # The limit was applied when the run was planned: what it left out stays out.
        unlimited = replace(criteria, selection=replace(criteria.selection, limit=None))
        scope = fill_scope(
            self._connection, self._snapshot, tables, unlimited, collate=False, whole=True
        )
        answer = case((scope.c.invoice.is_(None), GONE), else_=scope.c.reason)
        self._connection.execute(
            insert(rows).from_select(
                list(rows.c),
                select(link.c.message_id, link.c.invoice, message.c.customer, message.c.state,
                       message.c.reason, answer)
                .join(message, message.c.id == link.c.message_id)
                .outerjoin(scope, scope.c.invoice == link.c.invoice)
                .where(message.c.run_id == self._run.id, message.c.state.in_(states)),
            )
        )  # fmt: skip

    def result(self) -> Reevaluation:
        """Return what would change."""
        waiting = self._rows.c.state.in_(WAITING_STATES)
        with self._connection.begin():
            return Reevaluation(
                excluded=self._exclusions(waiting),
                addresses=self._address_changes(),
                revived=list(self._connection.execute(self._revivable()).scalars()),
                renamed=self._renamed(),
            )

    def _renamed(self) -> list[Exclusion]:
        before = func.coalesce(self._rows.c.before, "")
        return self._exclusions(
            self._rows.c.state.in_(sorted(NOT_SENT))
            & (before != self._rows.c.reason)
            & (before != LIMIT_CODE)
        )

    def _exclusions(self, which: ColumnElement[bool]) -> list[Exclusion]:
        rows = self._rows
        found = self._connection.execute(
            select(rows.c.message_id, rows.c.invoice, rows.c.customer, rows.c.reason)
            .where(which, rows.c.reason.is_not(None))
            .order_by(rows.c.message_id, rows.c.invoice)
        )
        return [Exclusion(*row) for row in found]

    def _recipients(self, criteria: Criteria) -> Subquery:
        return recipients_of(self._snapshot, criteria.recipient_key, self._connection.dialect.name)

    def _address_changes(self) -> list[AddressChange]:
        rows, message = self._rows, self._database.tables.message
        now = self._recipients(self._waiting)
        found = self._connection.execute(
            select(message.c.id, message.c.customer, message.c.recipients, now.c.recipients)
            .distinct()
            .join(rows, rows.c.message_id == message.c.id)
            .join(now, now.c.customer == message.c.customer)
            .where(
                rows.c.state.in_(WAITING_STATES),
                rows.c.reason.is_(None),
                cast(message.c.recipients, Text) != now.c.recipients,
            )
            .order_by(message.c.id)
        )
        return [
            AddressChange(key, customer, addresses_of(before), addresses_of(json.loads(after)))
            for key, customer, before, after in found
        ]

    def _revivable(self) -> Select[Any]:
        """Select the messages all of whose invoices could be sent now."""
        rows = self._rows
        blocked = func.sum(case((rows.c.reason.is_not(None), 1), else_=0))
        return (
            select(rows.c.message_id)
            .where(rows.c.state.in_(FAILED_STATES), func.coalesce(rows.c.before, "") != LIMIT_CODE)
            .group_by(rows.c.message_id)
            .having(blocked == 0)
            .order_by(rows.c.message_id)
        )

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open the write transaction in which `apply` and the run's own moves happen together.

        Raises:
            AlreadyRunningError: the run was moved since it was looked at.
        """
        if self._database.is_sqlite:
            detach_files(self._connection, self._database.attach)
        writing = self._connection.execution_options(begin="write")
        run = self._database.tables.run
        with writing.begin():
            writing.execute(select(run.c.id).where(run.c.id == self._run.id).with_for_update())
            if self._last_event() != self._seen:
                raise AlreadyRunningError(
                    f"run {self._run.id} was changed by another process meanwhile",
                    f"`msgrun show {self._run.id}` has it as it is; then restart again",
                )
            yield writing

    def apply(self, now: datetime) -> None:
        """Write what today's data says of unsent rows; inside `writing`."""
        rows = self._rows
        blocked = self._exclusions(rows.c.state.in_(WAITING_STATES))
        for key, group in groupby(blocked, key=lambda each: each.message_id):
            self._exclude(key, list(group), now)
        changed = [change.message_id for change in self._address_changes()]
        self._readdress(changed, self._waiting)

    def _exclude(self, key: int, gone: list[Exclusion], now: datetime) -> None:
        """Skip a message, or let the excluded invoices of a collated one leave it."""
        rows = self._rows
        kept = self._connection.execute(
            select(func.count()).where(rows.c.message_id == key, rows.c.reason.is_(None))
        ).scalar_one()
        for each in gone if kept else gone[1:]:
            row = self._new_message(each.customer, M.SKIPPED, now, reason=each.reason)
            self._move_link(each.invoice, key, row, holds=False)
        if not kept:
            self._skip(gone[0], now)
            hold(self._connection, self._database.tables, [key], holds=False)

    def _skip(self, each: Exclusion, now: datetime) -> None:
        message = self._database.tables.message
        self._connection.execute(
            update(message)
            .where(message.c.id == each.message_id, message.c.state.in_(sources_of(M.SKIPPED)))
            .values(state=M.SKIPPED, reason=each.reason, detail=None, due_at=None, updated_at=now)
        )

    def _readdress(self, messages: Sequence[int], criteria: Criteria) -> None:
        message, current = self._database.tables.message, self._recipients(criteria)
        addresses = select(current.c.recipients).where(current.c.customer == message.c.customer)
        for key in messages:
            self._connection.execute(
                update(message)
                .where(message.c.id == key)
                .values(recipients=type_coerce(addresses.scalar_subquery(), Text))
            )

    def revive(self, frozen: Frozen, now: datetime, domain: str) -> None:
        """Make failed rows pending again with `frozen` as the run's new revision; inside `writing`.

        Args:
            frozen: today's definition.
            now: the time written down.
            domain: right side of the new Message-IDs.

        Raises:
            AlreadyRunningError: another run holds an invoice that this one would revive.
        """
        connection, tables = self._connection, self._database.tables
        for each in self._renamed():
            self._skip(each, now)
        revived = list(connection.execute(self._revivable()).scalars())
        if not revived:
            return
        revision = add_revision(connection, tables, self._run.id, frozen, now)
        if frozen.definition["collate"]:
            revived = self._bundle(revived, now)
        message = tables.message
        renewed = message_id(self._run.uid, message.c.number, domain, revision)
        cleared = dict.fromkeys(
            ("reason", "detail", "date", "sha256", "size", "due_at", "deadline_at", "token")
        )
        try:
            for key in revived:
                connection.execute(
                    update(message)
                    .where(message.c.id == key, message.c.state.in_((*FAILED_STATES, M.PENDING)))
                    .values(state=M.PENDING, revision=revision, message_id=renewed,
                            updated_at=now, **cleared)
                )  # fmt: skip
            hold(connection, tables, revived, holds=self._run.selection.redirect_to is None)
        except IntegrityError as error:
            raise AlreadyRunningError(
                f"another run of '{frozen.name}' holds an invoice of run {self._run.id}",
                "`msgrun runs` lists them",
            ) from error
        self._readdress(revived, self._failed)

    def _bundle(self, revived: Sequence[int], now: datetime) -> list[int]:
        """Join a customer's skipped invoices in one new message; what was tried stays itself."""
        rows, message = self._rows, self._database.tables.message
        attempt = self._database.tables.attempt
        singles = self._connection.execute(
            select(rows.c.customer, rows.c.message_id, rows.c.invoice)
            .where(
                rows.c.message_id.in_(revived),
                rows.c.state == M.SKIPPED,
                ~exists().where(attempt.c.message_id == rows.c.message_id),
            )
            .order_by(rows.c.customer, rows.c.invoice)
        ).all()
        emptied = {row.message_id for row in singles}
        kept = set(revived) - emptied
        for customer, group in groupby(singles, key=lambda row: row.customer):
            target = self._new_message(customer, M.PENDING, now)
            for row in group:
                self._move_link(row.invoice, row.message_id, target, holds=False)
            kept.add(target)
        self._connection.execute(delete(message).where(message.c.id.in_(emptied)))
        return sorted(kept)

    def _new_message(
        self, customer: str, state: MessageState, now: datetime, reason: str | None = None
    ) -> int:
        message = self._database.tables.message
        last = select(func.max(message.c.number)).where(message.c.run_id == self._run.id)
        key: int = self._connection.execute(
            insert(message)
            .values(
                run_id=self._run.id,
                number=self._connection.execute(last).scalar_one() + 1,
                revision=1,
                customer=customer,
                recipients=[],
                state=state,
                reason=reason,
                attempts=0,
                updated_at=now,
            )
            .returning(message.c.id)
        ).scalar_one()
        return key

    def _move_link(self, invoice: str, source: int, target: int, *, holds: bool) -> None:
        link = self._database.tables.message_invoice
        self._connection.execute(
            update(link)
            .where(link.c.message_id == source, link.c.invoice == invoice)
            .values(message_id=target, holds=holds)
        )


@contextmanager
def review_run(
    database: Database,
    source: Source,
    run: RunRow,
    waiting: Criteria,
    *,
    failed: Criteria | None,
) -> Iterator[Review]:
    """Ask the rules again about a run's rows; nothing is written before `Review.writing`.

    Args:
        database: holds the ledger.
        source: what the billing data is now.
        run: whose rows.
        waiting: what is asked about unsent rows, which keep their definition.
        failed: what is asked about rejected, failed, skipped and bounced rows; None to let
            them be.

    Raises:
        SourceError: the billing data is not as the contract wants it.
        DatabaseError: the database cannot be used.
    """
    with database.connect(attach=True) as connection:
        yield Review(connection, database, source, run, waiting, failed)
