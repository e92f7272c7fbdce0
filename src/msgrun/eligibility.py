"""The ordered rules that decide which invoices a run covers.

One list serves sending and explaining: the planner compiles it to one
`CASE … AS reason`, the doctor asks every rule about one customer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sqlalchemy import (
    Boolean,
    ColumnElement,
    CompoundSelect,
    Connection,
    FromClause,
    Select,
    Table,
    Text,
    and_,
    case,
    false,
    func,
    literal,
    null,
    or_,
    select,
    true,
    union_all,
)

from msgrun.model import Period, Selection
from msgrun.plain import JsonText, PlainAddress
from msgrun.schema import Tables
from msgrun.states import MessageState

_ATOM: Final = r"[^\s@,;:<>()\"\\.]"
ADDRESS_PATTERN: Final = rf"^({_ATOM}|[.])+@({_ATOM}+[.])+{_ATOM}+\Z"
"""What a well-formed address looks like to SQL (MR107); composing checks it strictly."""


class Facts(Protocol):
    """The source's relations as tables of the same connection."""

    @property
    def customers(self) -> FromClause:
        """Whom the invoices are for."""

    @property
    def addresses(self) -> FromClause:
        """Their mail addresses, each under its key."""

    @property
    def clusters(self) -> FromClause:
        """The cluster tree."""

    @property
    def invoices(self) -> FromClause:
        """What is sent."""

    @property
    def documents(self) -> FromClause:
        """What is attached."""


@dataclass(frozen=True, slots=True)
class Criteria:
    """What the rules are asked about.

    Attributes:
        definition: name of the message definition.
        recipient_key: the address key that it goes to.
        statuses: the invoice statuses that it sends.
        documents: the transformations that must all be there.
        password_key: the field of the customer's meta that must have a value; "" for none.
        selection: cluster, period and customers of the run.
        own_run: a run whose own rows do not stand in the way (re-evaluation); None for none.
        guarded: whether what was sent, or is held, stands in the way; a rehearsal only looks.
    """

    definition: str
    recipient_key: str
    statuses: tuple[str, ...]
    documents: tuple[str, ...]
    selection: Selection
    own_run: int | None = None
    guarded: bool = True
    password_key: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that a rule's SQL may refer to."""

    customer: FromClause
    invoice: FromClause
    facts: Facts
    ledger: Tables
    criteria: Criteria


@dataclass(frozen=True, slots=True)
class Rule:
    """One reason not to send.

    Attributes:
        code: the finding code, which carries title, explanation and remedy.
        blocks: SQL that is true where the rule excludes the invoice.
        in_scope: whether an excluded invoice still counts (a skipped row);
            otherwise it is no part of the run and only the doctor speaks of it.
    """

    code: str
    blocks: Callable[[Scene], ColumnElement[bool]]
    in_scope: bool = True


def cluster_tree(clusters: FromClause, root: str) -> FromClause:
    """Return the names of `root` and all below it; UNION ends loops."""
    tree = select(literal(root).label("name")).cte("cluster_tree", recursive=True)
    below = select(clusters.c.name).join(tree, clusters.c.parent == tree.c.name)
    return tree.union(below)


def period_day(invoice: FromClause) -> ColumnElement[str]:
    """Return the day (ISO text) that decides an invoice's period."""
    return func.substr(func.coalesce(invoice.c.period_end, invoice.c.date), 1, 10)


def in_period(invoice: FromClause, period: Period) -> ColumnElement[bool]:
    """Return whether the invoice belongs to the period (both days included)."""
    day = period_day(invoice)
    return and_(day >= period.start.isoformat(), day <= period.end.isoformat())


def _unknown_customer(scene: Scene) -> ColumnElement[bool]:
    return scene.customer.c.code.is_(None)


def _suspended(scene: Scene) -> ColumnElement[bool]:
    return scene.customer.c.suspended == "1"


def _other_cluster(scene: Scene) -> ColumnElement[bool]:
    selection = scene.criteria.selection
    if selection.cluster is None:
        return false()
    cluster = scene.customer.c.cluster
    if not selection.children:
        inside: ColumnElement[bool] = cluster == selection.cluster
    else:
        tree = cluster_tree(scene.facts.clusters, selection.cluster)
        inside = cluster.in_(select(tree.c.name))
    return and_(scene.customer.c.code.is_not(None), ~func.coalesce(inside, false()))


def _addresses(scene: Scene) -> Select[Any]:
    addresses = scene.facts.addresses
    return select(addresses.c.address).where(
        addresses.c.customer == scene.customer.c.code,
        addresses.c.key == scene.criteria.recipient_key,
    )


def _no_address(scene: Scene) -> ColumnElement[bool]:
    return ~_addresses(scene).exists()


def _malformed_address(scene: Scene) -> ColumnElement[bool]:
    address = scene.facts.addresses.c.address
    well_formed = or_(PlainAddress(address), address.regexp_match(ADDRESS_PATTERN))
    return _addresses(scene).where(~well_formed).exists()


def _no_invoice(scene: Scene) -> ColumnElement[bool]:
    return scene.invoice.c.id.is_(None)


def _other_period(scene: Scene) -> ColumnElement[bool]:
    period = scene.criteria.selection.period
    return false() if period is None else ~in_period(scene.invoice, period)


def _other_status(scene: Scene) -> ColumnElement[bool]:
    return scene.invoice.c.status.not_in(scene.criteria.statuses)


def _document_missing(scene: Scene) -> ColumnElement[bool]:
    documents = scene.facts.documents
    present = [
        # A column of the key: the index alone answers.
        select(documents.c.invoice)
        .where(documents.c.invoice == scene.invoice.c.id, documents.c.transformation == wanted)
        .exists()
        for wanted in scene.criteria.documents
    ]
    return or_(false(), *(~there for there in present))


def _no_password(scene: Scene) -> ColumnElement[bool]:
    key = scene.criteria.password_key
    if not key:
        return false()
    value = JsonText(scene.customer.c.meta, literal(key))
    return and_(
        scene.customer.c.code.is_not(None),
        func.trim(func.coalesce(value, ""), " \t\r\n", type_=Text) == "",
    )


_SPENT: Final = (MessageState.SENT, MessageState.BOUNCED, MessageState.IN_DOUBT)


def _held(scene: Scene, *, spent: bool) -> Select[Any]:
    """Select the generations under which another message holds the invoice."""
    message, link = scene.ledger.message, scene.ledger.message_invoice
    state = message.c.state.in_(_SPENT) if spent else message.c.state.not_in(_SPENT)
    held = (
        select(link.c.generation)
        .join(message, message.c.id == link.c.message_id)
        .where(
            link.c.invoice == scene.invoice.c.id,
            link.c.definition == scene.criteria.definition,
            link.c.holds,
            state,
        )
    )
    if scene.criteria.own_run is not None:
        held = held.where(message.c.run_id != scene.criteria.own_run)
    return held


def _sent_before(scene: Scene) -> ColumnElement[bool]:
    selection = scene.criteria.selection
    own_run = scene.criteria.own_run
    unguarded = selection.redirect_to or not scene.criteria.guarded
    if unguarded or (selection.resend and own_run is None):
        return false()
    held = _held(scene, spent=True)
    if selection.resend:
        # What this run was asked to send again, a later run has sent again already.
        theirs = scene.ledger.message_invoice
        message, link = scene.ledger.message.alias(), theirs.alias()
        own = (
            select(link.c.generation)
            .join(message, message.c.id == link.c.message_id)
            .where(message.c.run_id == own_run, link.c.invoice == theirs.c.invoice)
            .correlate(theirs)
        )
        held = held.where(theirs.c.generation >= own.scalar_subquery())
    return held.exists()


def _held_elsewhere(scene: Scene) -> ColumnElement[bool]:
    if scene.criteria.selection.redirect_to or not scene.criteria.guarded:
        return false()
    return _held(scene, spent=False).exists()


RULES: Final[tuple[Rule, ...]] = (
    Rule("MR101", _unknown_customer),
    Rule("MR102", _suspended),
    Rule("MR103", _other_cluster, in_scope=False),
    Rule("MR105", _no_address),
    Rule("MR107", _malformed_address),
    Rule("MR121", _no_invoice, in_scope=False),
    Rule("MR122", _other_period, in_scope=False),
    Rule("MR123", _other_status),
    Rule("MR401", _document_missing),
    Rule("MR408", _no_password),
    Rule("MR125", _sent_before),
    Rule("MR126", _held_elsewhere),
)
"""Every rule, in the order in which the first one names the reason."""

Further = tuple[str, Callable[[FromClause], ColumnElement[bool]]]
"""A code, and SQL about the invoices that is true where it is the reason."""

FUNNEL: Final[tuple[Rule, ...]] = (
    *(rule for rule in RULES if not rule.in_scope),
    *(rule for rule in RULES if rule.in_scope),
)
"""The same rules as they narrow everybody down: first to the scope, then by the skips' reasons.

So what falls at a rule within the scope is what a run skips with that reason.
"""

LIMIT_CODE: Final = "MR127"
"""What `--limit` leaves out, after all rules."""

_GUARD_CODES: Final = frozenset({"MR125", "MR126"})


def _blocked(rule: Rule, scene: Scene) -> ColumnElement[bool]:
    return func.coalesce(rule.blocks(scene), false(), type_=Boolean)


def scope_select(
    facts: Facts, ledger: Tables, criteria: Criteria, *, whole: bool = False
) -> Select[Any]:
    """Return one row for each invoice in scope: invoice, customer, reason (NULL: to be sent).

    With `whole` there is a row for every invoice of `facts`, and the rules that otherwise
    take an invoice out of scope give reasons too (for rows that a run has already).
    """
    invoice, customer = facts.invoices, facts.customers
    scene = Scene(customer, invoice, facts, ledger, criteria)
    reasons = [
        (_blocked(rule, scene), literal(rule.code)) for rule in RULES if whole or rule.in_scope
    ]
    outside = [_blocked(rule, scene) for rule in RULES if not (whole or rule.in_scope)]
    rows = (
        select(
            invoice.c.id.label("invoice"),
            invoice.c.customer.label("customer"),
            case(*reasons, else_=null()).label("reason"),
        )
        .select_from(invoice.outerjoin(customer, customer.c.code == invoice.c.customer))
        .where(*(~block for block in outside))
    )
    if criteria.selection.customers:
        rows = rows.where(invoice.c.customer.in_(criteria.selection.customers))
    return rows


def funnel_select(
    facts: Facts,
    ledger: Tables,
    criteria: Criteria,
    places: Mapping[str, int],
    *,
    first: Sequence[Further] = (),
    last: Sequence[Further] = (),
) -> CompoundSelect[Any]:
    """Return one row for every invoice, and one for every customer who has none.

    The columns are customer, invoice and place: that of the first rule of `FUNNEL` at which it
    falls.

    Args:
        facts: everything, not narrowed down to a period.
        places: a number for each code; for "", where no rule stands in the way.
        first: further reasons, which go before the rules.
        last: likewise, after the rules.
    """
    invoice, customer = facts.invoices, facts.customers
    scene = Scene(customer, invoice, facts, ledger, criteria)
    # Both halves share the expression: the cluster tree may be named once in a statement.
    place = case(
        *((holds(invoice), literal(places[code])) for code, holds in first),
        *((_blocked(rule, scene), literal(places[rule.code])) for rule in FUNNEL),
        *((holds(invoice), literal(places[code])) for code, holds in last),
        else_=literal(places[""]),
    ).label("place")
    billed = (
        select(invoice.c.customer.label("customer"), invoice.c.id.label("invoice"), place)
        .select_from(invoice.outerjoin(customer, customer.c.code == invoice.c.customer))
        .where(_of_selected(invoice.c.customer, criteria))
    )
    unbilled = (
        select(customer.c.code, invoice.c.id, place)
        .select_from(customer.outerjoin(invoice, invoice.c.customer == customer.c.code))
        .where(invoice.c.id.is_(None), _of_selected(customer.c.code, criteria))
    )
    # The offset keeps databases from asking the rules again wherever `place` is named outside.
    return union_all(billed, unbilled).offset(0)


def _of_selected(code: ColumnElement[Any], criteria: Criteria) -> ColumnElement[bool]:
    customers = criteria.selection.customers
    return code.in_(customers) if customers else true()


_STANDING: Final = frozenset({"MR101", "MR102", "MR103"})


def standing(
    facts: Facts, ledger: Tables, criteria: Criteria, otherwise: str
) -> ColumnElement[str]:
    """Return SQL for the first rule that keeps `facts.customers` out, invoices aside.

    Args:
        facts, ledger, criteria: as for `scope_select`; a customer who is gone is an outer join's.
        otherwise: the code where none of them does.
    """
    scene = Scene(facts.customers, facts.customers, facts, ledger, criteria)
    reasons = [
        (_blocked(rule, scene), literal(rule.code)) for rule in RULES if rule.code in _STANDING
    ]
    return case(*reasons, else_=literal(otherwise))


def guard_select(scope: Table, ledger: Tables, criteria: Criteria, code: str) -> Select[Any]:
    """Return the invoices of `scope` that the guard rule `code` blocks now.

    `scope` has the columns invoice and reason; used again inside the writing transaction.
    """
    rule = next(rule for rule in RULES if rule.code == code and code in _GUARD_CODES)
    invoice = select(scope.c.invoice.label("id"), scope.c.reason).subquery("planned")
    # Guard rules ask the ledger alone: customer and facts are not referred to.
    scene = Scene(invoice, invoice, None, ledger, criteria)  # type: ignore[arg-type]
    return select(invoice.c.id).where(invoice.c.reason.is_(None), rule.blocks(scene))


@dataclass(frozen=True, slots=True)
class InvoiceVerdict:
    """What every rule says of one invoice of a customer (or of the customer alone).

    Attributes:
        invoice: its id; None when the customer has none.
        blocked_by: codes of all rules that exclude it, in the rules' order.
    """

    invoice: str | None
    blocked_by: tuple[str, ...]

    @property
    def reason(self) -> str | None:
        """The code that the planner would write down; None where it would be sent."""
        return self.blocked_by[0] if self.blocked_by else None

    @property
    def in_scope(self) -> bool:
        """Whether a run would have a row for it."""
        outside = {rule.code for rule in RULES if not rule.in_scope}
        return self.invoice is not None and outside.isdisjoint(self.blocked_by)


def verdicts(
    connection: Connection, facts: Facts, ledger: Tables, criteria: Criteria, customer: str
) -> Sequence[InvoiceVerdict]:
    """Ask every rule about every invoice of one customer, in order of invoice id."""
    who, invoice = facts.customers, facts.invoices
    scene = Scene(who, invoice, facts, ledger, criteria)
    columns = [_blocked(rule, scene).label(rule.code) for rule in RULES]
    known = connection.execute(select(who.c.code).where(who.c.code == customer)).first()
    joined = who.outerjoin(invoice, invoice.c.customer == who.c.code)
    query = select(invoice.c.id, *columns).select_from(joined).where(who.c.code == customer)
    if known is None:
        flipped = invoice.outerjoin(who, who.c.code == invoice.c.customer)
        query = (
            select(invoice.c.id, *columns)
            .select_from(flipped)
            .where(invoice.c.customer == customer)
        )
    rows = connection.execute(query.order_by(invoice.c.id))
    return [
        InvoiceVerdict(
            row[0], tuple(rule.code for rule, hit in zip(RULES, row[1:], strict=True) if hit)
        )
        for row in rows
    ]
