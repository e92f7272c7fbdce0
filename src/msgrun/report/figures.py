"""The figures of a report, from one pass over a run's messages; memory does not grow with it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final

from sqlalchemy import Connection

from msgrun.deliverability.providers import mailbox_provider
from msgrun.ledger import views
from msgrun.ledger.rows import Counts, RunRow
from msgrun.report.reading import Billed, Reported, read_messages
from msgrun.report.replies import alike
from msgrun.report.timeline import Timeline
from msgrun.states import MessageState
from msgrun.workspace import Workspace

LISTED: Final = 3_000
"""So many messages are listed; of a run with more, only those that were not sent."""

_M = MessageState
_NAMED: Final = 10  # domains named; the rest together
_REPLIES: Final = 3  # common answers shown of each
_DOMAINS: Final = 20_000  # counted apart; of a run with more, the later ones are in the rest
_ANSWERS: Final = 20_000  # the same for different answers
_ACCEPTED: Final = frozenset({_M.SENT, _M.BOUNCED})
_UNDECIDED: Final = frozenset({_M.PENDING, _M.CLAIMED, _M.SENDING})


@dataclass(slots=True)
class Money:
    """What the invoices of one currency come to; an amount that came back was sent first."""

    sent: Decimal = Decimal(0)
    not_sent: Decimal = Decimal(0)
    sent_invoices: int = 0
    not_sent_invoices: int = 0


@dataclass(slots=True)
class Unpriced:
    """Invoices without an amount: gone from the billing data, or there without a total."""

    sent: int = 0
    not_sent: int = 0


@dataclass(frozen=True, slots=True)
class Reason:
    """Why some invoices were not sent, or came back.

    Attributes:
        code: a finding code; None where none was recorded.
        answers: the commonest words of servers, each with its number.
    """

    state: MessageState
    code: str | None
    invoices: int
    messages: int
    answers: Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Provider:
    """How the messages to one provider, or domain, fared.

    Attributes:
        name: None for all the rest; "" where the addresses were purged.
        domains: how many domains it stands for.
        states: messages in each state; claimed and sending are pending.
    """

    name: str | None
    domains: int
    states: Mapping[MessageState, int]
    answers: Sequence[tuple[str, int]]

    @property
    def messages(self) -> int:
        """How many messages there are."""
        return sum(self.states.values())


@dataclass(frozen=True, slots=True)
class Listed:
    """A message in the list, with the customer's name as it is now."""

    message: Reported
    name: str


@dataclass(slots=True)
class Report:
    """A run reported.

    Attributes:
        at: when it was read, by the database's clock.
        counts: invoices.
        messages: messages.
        money: by currency; "" where the invoice names none.
        gone: invoices that are no longer in the billing data.
        unstated: invoices there without a total.
        listed: messages, at most `LISTED`.
        all_listed: False where only those not sent are.
        unlisted: those not sent for which the list had no room.
        partly: sent messages with some of their recipients refused.
        purged: messages whose personal data was taken out.
    """

    run: RunRow
    at: datetime
    counts: Counts
    messages: Counts
    reasons: Sequence[Reason]
    money: Mapping[str, Money]
    gone: Unpriced
    unstated: Unpriced
    providers: Sequence[Provider]
    timeline: Timeline
    listed: Sequence[Listed]
    all_listed: bool
    unlisted: int
    partly: int
    purged: int

    @property
    def not_sent(self) -> int:
        """Invoices in scope that were not sent, for whatever reason."""
        return self.counts.in_scope - self.counts.sent


def read_report(workspace: Workspace, run: RunRow, *, listing: bool = True) -> Report:
    """Read a run and add its figures up; its ledger and the billing data are only read.

    Args:
        workspace: with the ledger and the billing data.
        run: to be reported.
        listing: whether single messages are wanted.

    Raises:
        SourceError: the billing data cannot be read (MR006).
    """
    database = workspace.database
    with database.read(attach=True) as connection:
        number = views.count_messages(connection, database.tables, run.id).in_scope
        at = database.now(connection)
        connection.rollback()
        tally = _Tally(run, LISTED if listing else 0, everything=number <= LISTED)
        for page in read_messages(workspace, connection, run):
            tally.enter(workspace, connection, [each for each in page if tally.add(each)])
    return tally.report(at)


@dataclass(slots=True)
class _Tally:
    """Adds messages up."""

    run: RunRow
    room: int
    everything: bool
    invoices: Counter[MessageState] = field(default_factory=Counter)
    messages: Counter[MessageState] = field(default_factory=Counter)
    reasons: dict[tuple[MessageState, str | None], list[int]] = field(default_factory=dict)
    money: dict[str, Money] = field(default_factory=dict)
    gone: Unpriced = field(default_factory=Unpriced)
    unstated: Unpriced = field(default_factory=Unpriced)
    timeline: Timeline = field(default_factory=Timeline)
    domains: dict[str | None, Counter[MessageState]] = field(default_factory=dict)
    answers: Counter[tuple[object, str]] = field(default_factory=Counter)
    listed: list[Listed] = field(default_factory=list)
    unlisted: int = 0
    partly: int = 0
    purged: int = 0

    def add(self, message: Reported) -> bool:
        """Count a message; tell whether it belongs in the list."""
        state = _M.PENDING if message.state in _UNDECIDED else message.state
        self.invoices[state] += len(message.invoices)
        self.messages[state] += 1
        self.partly += message.partly and state is _M.SENT
        self.purged += message.purged
        for invoice in message.invoices:
            self._price(invoice, sent=state in _ACCEPTED)
        if state in _ACCEPTED and message.sent_at is not None:
            self.timeline.add(message.sent_at)
        answer = "" if message.purged and message.code is None else alike(message.answer)
        if state is not _M.SENT:
            key = (state, message.reason)
            numbers = self.reasons.setdefault(key, [0, 0])
            numbers[0] += len(message.invoices)
            numbers[1] += 1
            if state not in {_M.SKIPPED, _M.PENDING}:
                self._note(key, answer)
        if state is not _M.SKIPPED:
            self._place(message, state, answer)
        return self.everything or state is not _M.SENT

    def enter(
        self, workspace: Workspace, connection: Connection, messages: Sequence[Reported]
    ) -> None:
        """Put messages into the list, as far as there is room."""
        taken = messages[: self.room - len(self.listed)]
        self.unlisted += len(messages) - len(taken)
        if not taken:
            return
        codes = [each.customer for each in taken if not each.purged]
        names = workspace.source.names(connection, codes)
        connection.rollback()
        for each in taken:
            name = "" if each.purged else names.get(each.customer, "")
            self.listed.append(Listed(each, name))

    def report(self, at: datetime) -> Report:
        """Return what has been counted."""
        self.timeline.settle()
        return Report(
            run=self.run,
            at=at,
            counts=_counts(self.invoices),
            messages=_counts(self.messages),
            reasons=self._reasons(),
            money={name: self.money[name] for name in sorted(self.money)},
            gone=self.gone,
            unstated=self.unstated,
            providers=self._providers(),
            timeline=self.timeline,
            listed=self.listed,
            all_listed=self.everything,
            unlisted=self.unlisted,
            partly=self.partly,
            purged=self.purged,
        )

    def _price(self, invoice: Billed, *, sent: bool) -> None:
        if invoice.total is None:
            unpriced = self.unstated if invoice.there else self.gone
            if sent:
                unpriced.sent += 1
            else:
                unpriced.not_sent += 1
            return
        money = self.money.setdefault(invoice.currency, Money())
        if sent:
            money.sent += invoice.total
            money.sent_invoices += 1
        else:
            money.not_sent += invoice.total
            money.not_sent_invoices += 1

    def _place(self, message: Reported, state: MessageState, answer: str) -> None:
        redirected = self.run.selection.redirect_to
        addresses = (redirected,) if redirected else message.to
        domains = {each.rpartition("@")[2].lower().rstrip(".") for each in addresses}
        if message.purged and not redirected:
            domains = {""}
        for domain in domains:
            name = mailbox_provider(domain) or domain
            known = name in self.domains or len(self.domains) < _DOMAINS
            self.domains.setdefault(name if known else None, Counter())[state] += 1
            if known and message.code is not None:
                self._note(name, answer)

    def _note(self, of: object, answer: str) -> None:
        if answer and ((of, answer) in self.answers or len(self.answers) < _ANSWERS):
            self.answers[of, answer] += 1

    def _common(self, of: object) -> list[tuple[str, int]]:
        mine = Counter({answer: n for (whose, answer), n in self.answers.items() if whose == of})
        return mine.most_common(_REPLIES)

    def _reasons(self) -> list[Reason]:
        found = [
            Reason(state, code, invoices, messages, self._common((state, code)))
            for (state, code), (invoices, messages) in self.reasons.items()
        ]
        return sorted(found, key=lambda each: (-each.invoices, each.code or "", each.state))

    def _providers(self) -> list[Provider]:
        rest = self.domains.pop(None, Counter())
        by_size = sorted(self.domains, key=lambda name: (-self.domains[name].total(), str(name)))
        # A rest of one domain is no rest.
        named = by_size if len(by_size) <= _NAMED + 1 and not rest else by_size[:_NAMED]
        found = [Provider(name, 1, self.domains[name], self._common(name)) for name in named]
        others = by_size[len(named) :]
        for name in others:
            rest.update(self.domains[name])
        if rest:
            found.append(Provider(None, len(others), rest, ()))
        return found


def _counts(numbers: Mapping[MessageState, int]) -> Counts:
    figures = {state.value: number for state, number in numbers.items()}
    figures["in_scope"] = sum(numbers.values())
    figures["sent"] = figures.get("sent", 0) + figures.get("bounced", 0)
    return Counts(**figures)
