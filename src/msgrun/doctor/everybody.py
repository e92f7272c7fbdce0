"""One definition's funnel with names: whom the rules stop where, and what the run's ledger says."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, FromClause, func, select

from msgrun.doctor.context import Context
from msgrun.doctor.places import OUTSIDE, Places
from msgrun.ledger.messages import invoices_of
from msgrun.ledger.rows import RunRow
from msgrun.model import CONCEPT
from msgrun.schema import Tables
from msgrun.source import Live
from msgrun.states import MessageState, RunStatus

_EXAMPLES: Final = 3
_WAITING: Final = frozenset({MessageState.PENDING, MessageState.CLAIMED, MessageState.SENDING})
_HELD: Final = frozenset({RunStatus.STOPPED, RunStatus.PAUSED})


@dataclass(frozen=True, slots=True)
class Named:
    """A customer with an invoice, as people know them.

    Attributes:
        name: None where the customer is not known.
        invoice: the number; None where no single invoice is concerned, or it is gone.
        invoice_id: the source's id of it.
    """

    customer: str
    name: str | None
    invoice: str | None = None
    invoice_id: str | None = None


@dataclass(frozen=True, slots=True)
class RuleCount:
    """How many a rule stops.

    Attributes:
        code: of the rule; "" for what every rule lets through.
        invoices: that fall at it.
        customers: none of whose invoices gets any further.
        customers_left: who get further.
        in_scope: whether a run has rows for them.
    """

    code: str
    invoices: int
    customers: int
    customers_left: int
    in_scope: bool
    examples: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class StateCount:
    """How many messages of the run are in a state, for one reason and one answer.

    Attributes:
        code: the finding code of the reason; "" where there is none.
        answer: the server's codes, e.g. "550 5.1.1"; "" for none.
        reply: the text of one of those answers.
        examples: none for what was sent.
    """

    state: MessageState
    code: str
    answer: str
    reply: str
    messages: int
    examples: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class Narrowing:
    """How one definition's selection narrows everybody down.

    Attributes:
        customers: whom the source knows.
        unknown: codes that invoices name and the source does not know.
        rules: in the order of the funnel; only those at which somebody falls.
        states: of the run's messages; empty without a run.
        skipped: why nothing was looked at; "" where it was.
    """

    context: Context
    customers: int = 0
    unknown: int = 0
    invoices: int = 0
    rules: tuple[RuleCount, ...] = ()
    states: tuple[StateCount, ...] = ()
    skipped: str = ""

    @property
    def in_scope(self) -> int:
        """How many invoices a run would have rows for."""
        return sum(each.invoices for each in self.rules if each.in_scope)


class Namer:
    """Finds the names that go with codes and ids.

    Args:
        connection: in a transaction that reads, whenever it is asked.
    """

    def __init__(self, connection: Connection, facts: Live) -> None:
        self._connection = connection
        self._facts = facts

    def __call__(self, pairs: Sequence[tuple[str, str | None]]) -> list[Named]:
        """Return each pair of customer code and invoice id with its names."""
        names = self._found(self._facts.customers, "code", "name", {code for code, _ in pairs})
        ids = {key for _, key in pairs if key is not None}
        numbers = self._found(self._facts.invoices, "id", "number", ids)
        return [
            Named(
                code,
                names.get(code),
                (numbers[key] or CONCEPT) if key is not None and key in numbers else None,
                key,
            )
            for code, key in pairs
        ]

    def _found(
        self, of: FromClause, key: str, value: str, wanted: Collection[str]
    ) -> dict[str, str | None]:
        if not wanted:
            return {}
        query = select(of.c[key], of.c[value]).where(of.c[key].in_(wanted))
        return {row[0]: row[1] for row in self._connection.execute(query)}


def narrow(
    connection: Connection, tables: Tables, facts: Live, context: Context, places: Places
) -> Narrowing:
    """Count what came to rest where; `places` is filled for the context.

    Args:
        connection: in a transaction that reads.
    """
    counted = places.counted()
    everybody = sum(each.customers for each in counted)
    left = everybody
    namer = Namer(connection, facts)
    rules = []
    for place in counted:
        left -= place.customers
        examples = namer([(each.customer, each.invoice) for each in place.examples])
        rules.append(
            RuleCount(
                place.code,
                place.invoices,
                place.customers,
                left,
                place.code not in OUTSIDE,
                tuple(examples),
            )
        )
    customer = facts.customers
    known = select(func.count()).select_from(customer)
    if context.selection is not None and context.selection.customers:
        known = known.where(customer.c.code.in_(context.selection.customers))
    customers = connection.execute(known).scalar_one()
    return Narrowing(
        context,
        customers,
        everybody - customers,
        sum(each.invoices for each in counted),
        tuple(rules),
        _states(connection, tables, namer, context.run) if context.run else (),
    )


def reason_of(state: MessageState, reason: str | None, run: RunRow) -> str | None:
    """Return why a message was not sent; one that waits for a stopped run says so."""
    if reason is not None or state not in _WAITING:
        return reason
    return "MR502" if run.status in _HELD else "MR505"


def _states(
    connection: Connection, tables: Tables, namer: Namer, run: RunRow
) -> tuple[StateCount, ...]:
    message = tables.message
    key = (message.c.state, message.c.reason, message.c.code, message.c.enhanced)
    rows = connection.execute(
        select(*key, func.count().label("messages"), func.min(message.c.reply).label("reply"))
        .where(message.c.run_id == run.id)
        .group_by(*key)
    ).all()
    order = {state: place for place, state in enumerate(MessageState)}
    counts = []
    for row in sorted(rows, key=lambda row: (order[row.state], row.reason or "", -row.messages)):
        state = MessageState(row.state)
        told = state is not MessageState.SENT
        examples = _of_state(connection, tables, namer, run, row) if told else ()
        answer = " ".join(str(part) for part in (row.code, row.enhanced) if part)
        counts.append(
            StateCount(
                state,
                reason_of(state, row.reason, run) or "",
                answer,
                (row.reply or "") if told else "",
                row.messages,
                examples,
            )
        )
    return tuple(counts)


def _of_state(
    connection: Connection, tables: Tables, namer: Namer, run: RunRow, group: Any
) -> tuple[Named, ...]:
    """Return the first messages of a group."""
    message = tables.message
    same = [
        message.c[name].is_not_distinct_from(getattr(group, name))
        for name in ("reason", "code", "enhanced")
    ]
    rows = connection.execute(
        select(message.c.id, message.c.customer)
        .where(message.c.run_id == run.id, message.c.state == group.state, *same)
        .order_by(message.c.number)
        .limit(_EXAMPLES)
    ).all()
    invoices = invoices_of(connection, tables, [row.id for row in rows])
    return tuple(namer([(row.customer, next(iter(invoices[row.id]), None)) for row in rows]))
