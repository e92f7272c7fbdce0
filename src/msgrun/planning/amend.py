"""What a re-evaluation writes: unsent rows adjusted, failed ones made pending again."""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Final

from sqlalchemy import Connection, Text, delete, exists, func, insert, select, type_coerce, update
from sqlalchemy.exc import IntegrityError

from msgrun.errors import AlreadyRunningError
from msgrun.ledger.messages import hold
from msgrun.ledger.rows import Frozen
from msgrun.ledger.runs import add_revision
from msgrun.planning.changes import Exclusion
from msgrun.planning.reevaluate import FAILED_STATES, WAITING_STATES, Review
from msgrun.planning.scope import message_id
from msgrun.states import MessageState, sources_of

M = MessageState

_CHUNK: Final = 10_000  # messages named in one statement

_OF_THE_LAST_TRY: Final = (
    "reason", "detail", "date", "sha256", "size", "context", "doubted_at", "due_at",
    "deadline_at", "token", "purged_at",
)  # fmt: skip


class Amendment:
    """Writes what a review found, inside its `Review.writing`."""

    def __init__(self, review: Review, connection: Connection) -> None:
        self._review = review
        self._connection = connection
        self._tables = review.database.tables

    def apply(self, now: datetime) -> None:
        """Write what today's data says of unsent rows; inside `writing`."""
        rows = self._review.rows
        blocked = self._review.exclusions(rows.c.state.in_(WAITING_STATES))
        for key, group in groupby(blocked, key=lambda each: each.message_id):
            self._exclude(key, list(group), now)
        self._readdress()

    def _exclude(self, key: int, gone: list[Exclusion], now: datetime) -> None:
        """Skip a message, or let the excluded invoices of a collated one leave it."""
        rows = self._review.rows
        kept = self._connection.execute(
            select(func.count()).where(rows.c.message_id == key, rows.c.reason.is_(None))
        ).scalar_one()
        for each in gone if kept else gone[1:]:
            row = self._new_message(each.customer, M.SKIPPED, now, reason=each.reason)
            self._move_link(each.invoice, key, row, holds=False)
        if not kept:
            self._skip(gone[0], now)
            hold(self._connection, self._tables, [key], holds=False)

    def _skip(self, each: Exclusion, now: datetime) -> None:
        message = self._tables.message
        self._connection.execute(
            update(message)
            .where(message.c.id == each.message_id, message.c.state.in_(sources_of(M.SKIPPED)))
            .values(state=M.SKIPPED, reason=each.reason, detail=None, due_at=None, updated_at=now)
        )

    def _readdress(self) -> None:
        """Let unsent messages go to their customers' addresses of now."""
        message, rows = self._tables.message, self._review.rows
        changed = self._review.readdressed().order_by(None).subquery("changed")
        now = select(func.min(rows.c.recipients)).where(
            rows.c.message_id == message.c.id, rows.c.reason.is_(None)
        )
        self._connection.execute(
            update(message)
            .where(message.c.id.in_(select(changed.c.id)))
            .values(recipients=type_coerce(now.scalar_subquery(), Text))
        )

    def _address(self, messages: Sequence[int]) -> None:
        """Address messages that are tried again."""
        message, rows = self._tables.message, self._review.rows
        theirs = select(func.min(rows.c.recipients)).where(
            rows.c.customer == message.c.customer, rows.c.state.in_(FAILED_STATES)
        )
        for start in range(0, len(messages), _CHUNK):
            self._connection.execute(
                update(message)
                .where(message.c.id.in_(messages[start : start + _CHUNK]))
                .values(recipients=type_coerce(theirs.scalar_subquery(), Text))
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
        connection, tables = self._connection, self._tables
        for each in self._review.renamed_rows():
            self._skip(each, now)
        revived = list(connection.execute(self._review.revivable()).scalars())
        if not revived:
            return
        revision = add_revision(connection, tables, self._review.run.id, frozen, now)
        run = tables.run  # has addresses again
        connection.execute(
            update(run).where(run.c.id == self._review.run.id).values(purged_at=None)
        )
        if frozen.definition["collate"]:
            revived = self._bundle(revived, now)
        message = tables.message
        renewed = message_id(self._review.run.uid, message.c.number, domain, revision)
        rows = self._review.rows
        # An invoice that was booked to another customer since goes to that one.
        now_of = select(func.min(rows.c.customer)).where(rows.c.message_id == message.c.id)
        customer = func.coalesce(now_of.scalar_subquery(), message.c.customer)
        cleared = dict.fromkeys(_OF_THE_LAST_TRY)
        try:
            for start in range(0, len(revived), _CHUNK):
                chosen = message.c.id.in_(revived[start : start + _CHUNK])
                connection.execute(
                    update(message)
                    .where(chosen, message.c.state.in_((*FAILED_STATES, M.PENDING)))
                    .values(state=M.PENDING, revision=revision, message_id=renewed,
                            customer=customer, updated_at=now, **cleared)
                )  # fmt: skip
            hold(connection, tables, revived, holds=self._review.run.selection.redirect_to is None)
        except IntegrityError as error:
            raise AlreadyRunningError(
                f"another run of '{frozen.name}' holds an invoice of run {self._review.run.id}",
                "`msgrun runs` lists them",
            ) from error
        self._address(revived)

    def _bundle(self, revived: Sequence[int], now: datetime) -> list[int]:
        """Join a customer's skipped invoices in one new message; what was tried stays itself."""
        rows, message = self._review.rows, self._tables.message
        attempt = self._tables.attempt
        revivable = self._review.revivable().with_only_columns(rows.c.message_id)
        singles = self._connection.execute(
            select(rows.c.customer, rows.c.message_id, rows.c.invoice)
            .where(
                rows.c.message_id.in_(revivable),
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
        for key in emptied:
            self._connection.execute(delete(message).where(message.c.id == key))
        return sorted(kept)

    def _new_message(
        self, customer: str, state: MessageState, now: datetime, reason: str | None = None
    ) -> int:
        message = self._tables.message
        last = select(func.max(message.c.number)).where(message.c.run_id == self._review.run.id)
        key: int = self._connection.execute(
            insert(message)
            .values(
                run_id=self._review.run.id,
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
        link = self._tables.message_invoice
        self._connection.execute(
            update(link)
            .where(link.c.message_id == source, link.c.invoice == invoice)
            .values(message_id=target, holds=holds)
        )
