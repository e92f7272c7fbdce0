"""What the database knows of a customer, read at one moment for all checks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, select

from msgrun.doctor.context import Context
from msgrun.doctor.findings import Finding
from msgrun.doctor.schedules import missed_schedules
from msgrun.eligibility import Criteria, InvoiceVerdict, period_day, verdicts
from msgrun.ledger import runs, views, workers
from msgrun.ledger.rows import Counts, MessageRow, RunRow, WorkerRow
from msgrun.model import Customer, Invoice, MessageContext, Selection
from msgrun.source import Snapshot
from msgrun.states import HOLDING, LIVE, MessageState
from msgrun.workspace import Workspace

HANDED_OVER: Final = frozenset({MessageState.SENT, MessageState.BOUNCED})
"""States of a message that a server has accepted."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run with what stands beside its row; `counts` counts its messages."""

    row: RunRow
    counts: Counts
    events: Sequence[Mapping[str, Any]]
    alive: Sequence[WorkerRow]
    last_worker: WorkerRow | None


@dataclass(frozen=True, slots=True)
class Subject:
    """The customer, as the source has it now.

    Attributes:
        addresses: (key, address), all of them.
        parents: cluster to its parent (None at a root).
        invoices: by id.
        days: invoice id to the day that decides its period.
        unheld: the keys that definitions want and no customer has an address under.
        keys: how many customers have an address under each key; counted only if any is unheld.
        statuses: how many invoices of all customers have each status; counted only if one of the
            customer's own is not of a definition's.
        came_back: the address to the message that came back from it last, unless a later one
            was accepted.
    """

    customer: Customer
    addresses: Sequence[tuple[str, str]]
    parents: Mapping[str, str | None]
    invoices: Mapping[str, Invoice]
    days: Mapping[str, str]
    unheld: frozenset[str]
    keys: Mapping[str, int]
    statuses: Mapping[str, int]
    came_back: Mapping[str, MessageRow]

    def under(self, key: str) -> list[str]:
        """Return the customer's addresses under a key."""
        return sorted(address for own, address in self.addresses if own == key)


@dataclass(frozen=True, slots=True)
class Question:
    """One invoice under one definition: all that the checks are asked about.

    Attributes:
        verdict: what the planner's rules say of it; without an invoice, of the customer.
        invoice: None where the customer has none that matters, or it is gone from the source.
        row: the run's own message with it; None where it has none.
        holder: a message of another run that holds or has sent it.
        rehearsal: the message of a redirected run, where there is no other run.
        runs: the runs of `row` and `holder`, and the redirected one, by number.
        message: what a message would be composed of; None without an invoice.
        missed: MR504 of the definition's schedules, where it has no run for the period.
        now: the database's clock.
    """

    subject: Subject
    context: Context
    verdict: InvoiceVerdict
    invoice: Invoice | None
    row: MessageRow | None
    holder: MessageRow | None
    rehearsal: MessageRow | None
    runs: Mapping[int, RunFacts]
    message: MessageContext | None
    missed: Sequence[Finding]
    now: datetime

    @property
    def blocked(self) -> frozenset[str]:
        """The codes of all rules that exclude it today."""
        return frozenset(self.verdict.blocked_by)

    @property
    def speaker(self) -> MessageRow | None:
        """The message that decides: the run's own, unless another run holds the invoice.

        A redirected one speaks only where there is no other.
        """
        row = self.row
        if self.holder is not None and (row is None or row.state not in HOLDING):
            return self.holder
        if row is None and self.rehearsal is not None and self.rehearsal.state in HANDED_OVER:
            return self.rehearsal
        return row

    @property
    def addresses(self) -> frozenset[str]:
        """Every address that the customer has or had."""
        rows = (self.row, self.holder, self.rehearsal)
        written = (to.address for row in rows if row is not None for to in row.recipients)
        return frozenset((*(address for _, address in self.subject.addresses), *written))

    @property
    def accepted(self) -> bool:
        """Whether the ledger says that the server accepted the message for the customer."""
        row = self.speaker
        if row is None or row.state is not MessageState.SENT:
            return False
        return self.runs[row.run_id].row.selection.redirect_to is None

    @property
    def run(self) -> RunFacts | None:
        """The run that is looked at."""
        return self.runs[self.context.run.id] if self.context.run else None

    @property
    def covered(self) -> bool:
        """Whether the run was not limited to other customers."""
        only = self.context.run.selection.customers if self.context.run else ()
        return not only or self.subject.customer.code in only

    @property
    def label(self) -> str:
        """The invoice as people call it."""
        if self.invoice is not None:
            return self.invoice.label
        return self.verdict.invoice or ""


def read_subject(
    connection: Connection,
    workspace: Workspace,
    snapshot: Snapshot,
    customer: Customer,
    contexts: Iterable[Context],
) -> Subject:
    """Return what the source has of a customer.

    Args:
        contexts: the definitions looked at.

    Raises:
        SourceError: rows break the contract (MR006).
    """
    address, cluster, invoice = snapshot.addresses, snapshot.clusters, snapshot.invoices
    source = workspace.source
    rows = connection.execute(
        select(address.c.key, address.c.address)
        .where(address.c.customer == customer.code)
        .order_by(address.c.key, address.c.address)
    )
    addresses = [(key, text) for key, text in rows]
    own = {key for key, _ in addresses}
    wanted = [context.frozen.definition for context in contexts]
    keys = {definition["recipient_key"] for definition in wanted}
    unheld = frozenset(key for key in keys - own if not source.has_key(connection, key))
    parents = connection.execute(select(cluster.c.name, cluster.c.parent))
    days = connection.execute(
        select(invoice.c.id, period_day(invoice)).where(invoice.c.customer == customer.code)
    )
    day_of = {row[0]: row[1] for row in days}
    invoices = source.numbers(connection, sorted(day_of))
    odd = any(each.status not in of["statuses"] for each in invoices.values() for of in wanted)
    return Subject(
        customer=customer,
        addresses=addresses,
        parents={row[0]: row[1] for row in parents},
        invoices=invoices,
        days=day_of,
        unheld=unheld,
        keys=source.keys_histogram(connection) if unheld else {},
        statuses=source.statuses(connection) if odd else {},
        came_back=_came_back(connection, workspace, customer.code),
    )


def _came_back(connection: Connection, workspace: Workspace, code: str) -> Mapping[str, MessageRow]:
    """Return the addresses from which the last message came back, under any definition."""
    tables, last = workspace.database.tables, dict[str, MessageRow]()
    handed = (MessageState.SENT, MessageState.BOUNCED)
    for row in views.messages(connection, tables, customer=code, states=handed):
        if runs.get_run(connection, tables, row.run_id).selection.redirect_to is None:
            last |= {each.address: row for each in row.recipients}
    return {at: row for at, row in last.items() if row.state is MessageState.BOUNCED}


def read_questions(
    connection: Connection,
    workspace: Workspace,
    snapshot: Snapshot,
    subject: Subject,
    context: Context,
) -> list[Question]:
    """Return what is to be asked about a customer under one definition, an invoice each.

    Those are the invoices of the period and those that the run has rows for; without any, one
    question about the customer alone.
    """
    tables, code = workspace.database.tables, subject.customer.code
    criteria = workspace.criteria(
        context.frozen,
        context.selection or Selection(),
        own_run=context.run.id if context.run else None,
    )
    asked = verdicts(connection, snapshot, tables, criteria, code)
    history = list(views.messages(connection, tables, customer=code, definition=context.name))
    reader = _Reader(connection, workspace, history)
    own = reader.rows_of(context.run)
    rehearsed = reader.rows_of(context.redirected)
    relevant = _relevant(asked, own, context)
    missed: Sequence[Finding] = ()
    if context.run is None and workspace.config.schedules:
        missed = missed_schedules(connection, workspace, context, reader.now)
    questions = []
    for verdict in relevant:
        invoice_id = verdict.invoice
        row = own.get(invoice_id) if invoice_id else None
        rehearsal = rehearsed.get(invoice_id) if invoice_id else None
        holder = reader.holder(invoice_id, context.run) if invoice_id else None
        invoice = subject.invoices.get(invoice_id) if invoice_id else None
        questions.append(
            Question(
                subject=subject,
                context=context,
                verdict=verdict,
                invoice=invoice,
                row=row,
                holder=holder,
                rehearsal=rehearsal,
                runs=reader.facts(context.run, row, holder, rehearsal),
                message=_load(connection, workspace, criteria, invoice),
                missed=missed,
                now=reader.now,
            )
        )
    return questions


def _load(
    connection: Connection, workspace: Workspace, criteria: Criteria, invoice: Invoice | None
) -> MessageContext | None:
    """Return what a message with the invoice would be composed of."""
    if invoice is None:
        return None
    (context,) = workspace.source.load(
        connection,
        [(invoice.customer, [invoice.id])],
        key=criteria.recipient_key,
        transformations=criteria.documents,
    )
    return context


def _relevant(
    asked: Sequence[InvoiceVerdict], own: Mapping[str, MessageRow], context: Context
) -> list[InvoiceVerdict]:
    """Return the verdicts that matter; one without an invoice where none does."""
    of_customer = ("MR101", "MR102", "MR103", "MR105", "MR107")
    alone = InvoiceVerdict(
        None, tuple(code for code in (asked[0].blocked_by if asked else ()) if code in of_customer)
    )
    if context.selection is None:
        return [alone]
    known = {each.invoice for each in asked}
    relevant = [
        each
        for each in asked
        if each.invoice is not None and (each.invoice in own or "MR122" not in each.blocked_by)
    ]
    gone = [InvoiceVerdict(invoice, ()) for invoice in sorted(own) if invoice not in known]
    return relevant + gone or [alone]


class _Reader:
    """Reads the ledger beside a customer's messages, each run once."""

    def __init__(
        self, connection: Connection, workspace: Workspace, history: Sequence[MessageRow]
    ) -> None:
        self._connection = connection
        self._database = workspace.database
        self._history = history
        self._known: dict[int, RunFacts] = {}
        self.now = workspace.database.now(connection)

    def rows_of(self, run: RunRow | None) -> dict[str, MessageRow]:
        """Return a run's messages by invoice; of several the last."""
        return {
            invoice: row
            for row in self._history
            if run is not None and row.run_id == run.id
            for invoice in row.invoices
        }

    def holder(self, invoice: str, run: RunRow | None) -> MessageRow | None:
        """Return the last message of another, real run that holds the invoice."""
        for row in reversed(self._history):
            other = run is None or row.run_id != run.id
            if other and invoice in row.invoices and row.state in HOLDING:
                facts = self._facts_of(row.run_id)
                if facts.row.selection.redirect_to is None:
                    return row
        return None

    def facts(self, *of: RunRow | MessageRow | None) -> dict[int, RunFacts]:
        """Return the runs of rows by number."""
        numbers = [each.id if isinstance(each, RunRow) else each.run_id for each in of if each]
        return {number: self._facts_of(number) for number in numbers}

    def _facts_of(self, number: int) -> RunFacts:
        if number not in self._known:
            connection, tables = self._connection, self._database.tables
            row = runs.get_run(connection, tables, number)
            alive: Sequence[WorkerRow] = ()
            if row.status in LIVE:
                alive = workers.live_workers(connection, self._database, number, row.definition)
            self._known[number] = RunFacts(
                row,
                views.count_messages(connection, tables, row.id),
                runs.events(connection, tables, number),
                alive,
                workers.last_worker(connection, tables, number),
            )
        return self._known[number]
