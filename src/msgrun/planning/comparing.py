"""Comparing a planned run with the last time.

Everything is counted in TEMP tables by the database, so that a million invoices take no memory
here; of each kind a few examples are named.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Subquery,
    Table,
    Text,
    and_,
    case,
    cast,
    func,
    literal_column,
    null,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import JSON

from msgrun.database import Database
from msgrun.eligibility import Criteria, standing
from msgrun.errors import SourceError
from msgrun.planning.comparison import FAR_TIMES, NAMED, Case, Cases, Comparison, Figure
from msgrun.planning.last_time import LastTime, last_time
from msgrun.planning.scope import MONEY, parts_of
from msgrun.planning.tally import Tally
from msgrun.source import Live, Narrowing, Source
from msgrun.source.mapping import AnyRow

SHORT_AT_MOST: Final = 50_000
"""Invoices from which on the short form compares the run's messages only: planning stays quick."""

NOT_MISSING: Final = ("MR125", "MR126")
"""Who has the message already, or is about to get it from another run, is not missing."""

_NO_PERIOD: Final = "MR122"  # in the cluster, not suspended, and no invoice in scope
_NO_CURRENCY: Final[ColumnElement[str]] = literal_column("''")


class Comparing:
    """One comparison, on the draft's connection and beside its scope table.

    Args:
        connection: the draft's; in no transaction.
        scope: the planned run, see `scope.scope_table`.
        facts: the source as the draft sees it.
        in_scope, messages: the plan's figures.
    """

    def __init__(
        self,
        connection: Connection,
        database: Database,
        source: Source,
        criteria: Criteria,
        *,
        scope: Table,
        facts: Live,
        in_scope: int,
        messages: int,
    ) -> None:
        self._connection = connection
        self._tables = database.tables
        self._source = source
        self._criteria = criteria
        self._scope = scope
        self._facts = facts
        self._in_scope = in_scope
        self._messages = messages
        self._tally = Tally(connection)
        self._sized: Table | None = None

    def short(self) -> Comparison | None:
        """Return who is new, missing and readdressed; of a very long run only how many messages."""
        with self._connection.begin():
            last = self._last()
            if last is None:
                return None
            before = self._messages_of(last)
            figure = Figure(Decimal(before), Decimal(self._messages))
            if max(before, self._in_scope) > SHORT_AT_MOST:
                return Comparison(last, figure)
            return self._people(last, figure)

    def note_sizes(self, sizes: Iterable[tuple[str, int]]) -> None:
        """Note customer and bytes of messages that were composed."""
        with self._connection.begin():
            if self._sized is None:
                self._sized = self._tally.numbers("now_sizes")
                self._tally.fill(self._sized, None)
            self._tally.add(self._sized, sizes)

    def whole(self) -> Comparison | None:
        """Return all that can be told; of sizes, if they were noted.

        A mapped source is copied once more, for the old invoices: the draft's facts are gone then.
        """
        with self._connection.begin():
            last = self._last()
            if last is None:
                return None
            figure = Figure(Decimal(self._messages_of(last)), Decimal(self._messages))
            told = self._people(last, figure)
            now = self._tally.numbers("now_documents")
            self._tally.fill(now, self._documents_now())
        return self._with_invoices(told, now)

    def _last(self) -> LastTime | None:
        criteria = self._criteria
        if criteria.selection.limit is not None:
            return None  # it is no whole run itself
        return last_time(self._connection, self._tables, criteria.definition, criteria.selection)

    def _messages_of(self, last: LastTime) -> int:
        message = self._tables.message
        query = select(func.count()).where(last.got(self._tables))
        if self._criteria.selection.customers:
            query = query.where(message.c.customer.in_(self._criteria.selection.customers))
        found: int = self._connection.execute(query.select_from(message)).scalar_one()
        return found

    def _people(self, last: LastTime, messages: Figure) -> Comparison:
        """Compare who gets a message, and where it goes to."""
        before, now = self._tally.people("before"), self._tally.people("now")
        self._tally.fill(before, self._people_before(last))
        self._tally.fill(now, self._people_now())
        gets, got = now.c.number > 0, before.c.customer.is_not(None)
        both = now.outerjoin(before, before.c.customer == now.c.customer)
        new = select(now.c.customer).select_from(both).where(gets, ~got)
        changed = (
            select(now.c.customer, before.c.recipients, now.c.recipients)
            .select_from(both)
            .where(gets, got, now.c.recipients != before.c.recipients)
            .where(self._addresses(now.c.recipients) != self._addresses(before.c.recipients))
        )
        reasons, missing = self._missing(before, now)
        return Comparison(
            last,
            messages,
            new=self._cases(new, now.c.customer, lambda row: Case(row[0])),
            missing=missing,
            reasons=reasons,
            addresses=self._cases(
                changed.add_columns(
                    self._addresses(before.c.recipients), self._addresses(now.c.recipients)
                ),
                now.c.customer,
                lambda row: Case(row[0], row[3], row[4]),
            ),
        )

    def _people_before(self, last: LastTime) -> Select[Any]:
        message = self._tables.message
        query = select(
            message.c.customer,
            func.count(),
            func.max(cast(message.c.recipients, Text)),
            func.sum(message.c.size),
            cast(null(), Text),
        ).where(last.got(self._tables))
        if self._criteria.selection.customers:
            query = query.where(message.c.customer.in_(self._criteria.selection.customers))
        return query.group_by(message.c.customer)

    def _people_now(self) -> Select[Any]:
        scope = self._scope
        goes = scope.c.reason.is_(None)
        return select(
            scope.c.customer,
            func.sum(case((goes, 1), else_=0)),
            func.max(case((goes, scope.c.recipients))),
            cast(null(), scope.c.amount.type),
            # Later rules have higher codes: the invoice that got furthest says why.
            func.max(scope.c.reason),
        ).group_by(scope.c.customer)

    def _missing(self, before: Table, now: Table) -> tuple[dict[str, int], Cases]:
        """Return who got a message and gets none, and why."""
        customer = self._facts.customers
        outside = standing(self._facts, self._tables, self._criteria, _NO_PERIOD)
        reason = func.coalesce(now.c.reason, outside)
        rows = (
            select(before.c.customer, reason.label("reason"))
            .select_from(
                before.outerjoin(now, now.c.customer == before.c.customer).outerjoin(
                    customer, customer.c.code == before.c.customer
                )
            )
            .where(func.coalesce(now.c.number, 0) == 0)
        )
        kept = self._tally.reasons("missing")
        self._tally.fill(kept, rows)
        counted = self._connection.execute(
            select(kept.c.reason, func.count()).group_by(kept.c.reason).order_by(kept.c.reason)
        )
        reasons = {code: number for code, number in counted if code not in NOT_MISSING}
        named = select(kept.c.customer, kept.c.reason).where(kept.c.reason.not_in(NOT_MISSING))
        cases = self._cases(named, kept.c.customer, lambda row: Case(row[0], reason=row[1]))
        return reasons, cases

    def _addresses(self, recipients: ColumnElement[str]) -> ColumnElement[str]:
        """Return the addresses alone of what the ledger keeps: names beside them may change."""
        if self._connection.dialect.name == "sqlite":
            each = func.json_each(recipients).table_valued("value")
            address: ColumnElement[Any] = func.json_extract(each.c.value, "$.address")
            listed: ColumnElement[Any] = func.group_concat(address, ", ")
        else:
            each = func.json_array_elements(cast(recipients, JSON)).table_valued("value")
            address = each.c.value.op("->>")("address")
            listed = func.string_agg(address, ", ")
        return func.coalesce(select(listed).select_from(each).scalar_subquery(), "")

    def _with_invoices(self, told: Comparison, now: Table) -> Comparison:
        """Add what has to be asked of the invoices of last time, as the source has them today."""
        last = told.last
        invoices = self._invoices_of(last).subquery("theirs")
        meant = Narrowing(invoices=select(invoices.c.invoice))
        try:
            old: Live | None = self._source.live(self._connection, meant)
        except SourceError:  # old rows that break the contract are no fault of this run
            old = None
        with self._connection.begin():
            sizes = None if self._sized is None else self._sizes(self._sized)
            if old is None:
                return replace(told, sizes=sizes)
            money = self._tally.money("before_money")
            self._tally.fill(money, self._money_before(old, last))
            gone: int = self._connection.execute(
                select(func.coalesce(func.sum(money.c.gone), 0))
            ).scalar_one()
            documents = self._tally.numbers("before_documents")
            self._tally.fill(documents, self._documents_before(old, last))
            present = self._money_now().subquery("present")
            return replace(
                told,
                totals=None if gone else self._totals(money, present),
                amounts=self._amounts(money, present),
                gone=int(gone),
                attachments=self._far(documents, now, without_gone=money),
                sizes=sizes,
            )

    def _invoices_of(self, last: LastTime) -> Select[Any]:
        message, link = self._tables.message, self._tables.message_invoice
        query = (
            select(message.c.customer, link.c.invoice)
            .join(link, link.c.message_id == message.c.id)
            .where(last.got(self._tables))
            .distinct()
        )
        if self._criteria.selection.customers:
            query = query.where(message.c.customer.in_(self._criteria.selection.customers))
        return query

    def _money_before(self, old: Live, last: LastTime) -> Select[Any]:
        theirs = self._invoices_of(last).subquery("theirs")
        invoice = old.invoices
        return (
            select(
                theirs.c.customer,
                func.coalesce(invoice.c.currency, _NO_CURRENCY),
                cast(func.sum(parts_of(invoice.c.total)), self._scope.c.amount.type),
                func.sum(case((invoice.c.id.is_(None), 1), else_=0)),
            )
            .select_from(theirs.outerjoin(invoice, invoice.c.id == theirs.c.invoice))
            .group_by(theirs.c.customer, func.coalesce(invoice.c.currency, _NO_CURRENCY))
        )

    def _money_now(self) -> Select[Any]:
        scope = self._scope
        currency = func.coalesce(scope.c.currency, _NO_CURRENCY).label("currency")
        return (
            select(scope.c.customer, currency, func.sum(scope.c.amount).label("amount"))
            .where(scope.c.reason.is_(None))
            .group_by(scope.c.customer, func.coalesce(scope.c.currency, _NO_CURRENCY))
        )

    def _totals(self, money: Table, present: Subquery) -> dict[str, Figure]:
        sums: dict[str, list[Decimal]] = {}
        for place, each in enumerate((money, present)):
            rows = self._connection.execute(
                select(each.c.currency, func.sum(each.c.amount)).group_by(each.c.currency)
            )
            for currency, amount in rows:
                if amount is not None:
                    pair = sums.setdefault(currency, [Decimal(0), Decimal(0)])
                    pair[place] = _money(amount)
        return {currency: Figure(*sums[currency]) for currency in sorted(sums)}

    def _amounts(self, money: Table, present: Subquery) -> Cases:
        same = and_(present.c.customer == money.c.customer, present.c.currency == money.c.currency)
        query = (
            select(present.c.customer, present.c.currency, money.c.amount, present.c.amount)
            .select_from(money.join(present, same))
            .where(_is_far(money.c.amount, present.c.amount), self._none_gone(money, present))
        )
        return self._cases(
            query,
            present.c.customer,
            lambda row: Case(row[0], _worth(row[1], row[2]), _worth(row[1], row[3])),
        )

    def _none_gone(self, money: Table, beside: FromClause) -> ColumnElement[bool]:
        lacking = money.alias("lacking")
        return beside.c.customer.not_in(select(lacking.c.customer).where(lacking.c.gone > 0))

    def _documents_now(self) -> Select[Any]:
        scope, document = self._scope, self._facts.documents
        return (
            select(scope.c.customer, func.count())
            .join(document, document.c.invoice == scope.c.invoice)
            .where(
                scope.c.reason.is_(None), document.c.transformation.in_(self._criteria.documents)
            )
            .group_by(scope.c.customer)
        )

    def _documents_before(self, old: Live, last: LastTime) -> Select[Any]:
        theirs, document = self._invoices_of(last).subquery("theirs"), old.documents
        return (
            select(theirs.c.customer, func.count())
            .join(document, document.c.invoice == theirs.c.invoice)
            .where(document.c.transformation.in_(last.documents))
            .group_by(theirs.c.customer)
        )

    def _far(self, before: Table, now: Table, *, without_gone: Table) -> Cases:
        query = (
            select(now.c.customer, before.c.number, now.c.number)
            .select_from(now.join(before, before.c.customer == now.c.customer))
            .where(
                _is_far(before.c.number, now.c.number),
                self._none_gone(without_gone, now),
            )
        )
        return self._cases(
            query, now.c.customer, lambda row: Case(row[0], str(row[1]), str(row[2]))
        )

    def _sizes(self, sized: Table) -> Cases:
        before = self._tally.people("before")
        total = (
            select(sized.c.customer, cast(func.sum(sized.c.number), sized.c.number.type)
                   .label("number"))
            .group_by(sized.c.customer).subquery("total")
        )  # fmt: skip
        query = (
            select(total.c.customer, before.c.bytes, total.c.number)
            .select_from(total.join(before, before.c.customer == total.c.customer))
            .where(_is_far(before.c.bytes, total.c.number))
        )
        return self._cases(
            query, total.c.customer, lambda row: Case(row[0], str(row[1]), str(row[2]))
        )

    def _cases(
        self, query: Select[Any], order: ColumnElement[Any], make: Callable[[AnyRow], Case]
    ) -> Cases:
        number: int = self._connection.execute(
            select(func.count()).select_from(query.with_only_columns(order).subquery())
        ).scalar_one()
        if not number:
            return Cases()
        rows = self._connection.execute(query.order_by(order).limit(NAMED))
        return Cases(number, [make(row) for row in rows])


def _is_far(before: ColumnElement[Any], now: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return SQL for `FAR_TIMES`; unknown figures are not far."""
    apart = or_(
        func.abs(now) > FAR_TIMES * func.abs(before), func.abs(before) > FAR_TIMES * func.abs(now)
    )
    return or_(apart, and_(before > 0, now < 0), and_(before < 0, now > 0))


def _money(parts: int) -> Decimal:
    return Decimal(int(parts)) / MONEY


def _worth(currency: str, parts: int) -> str:
    return f"{currency} {_money(parts):,.2f}".strip()
