"""What templates see: every name, with one customer's values or with its type."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import date
from typing import Any, get_type_hints

from sqlalchemy import select

from msgrun.compose.formats import FALLBACK, known
from msgrun.compose.message import without_password
from msgrun.compose.render import (
    VARIABLES,
    RunInfo,
    SenderInfo,
    filters,
    functions,
    variables_of,
)
from msgrun.eligibility import period_day
from msgrun.errors import NotFoundError
from msgrun.ledger.rows import Frozen
from msgrun.model import MessageContext, Selection
from msgrun.planning.draft import draft_run
from msgrun.source import Narrowing
from msgrun.workspace import Workspace


@dataclass(frozen=True, slots=True)
class TemplateView:
    """All that templates can use.

    Attributes:
        customer: its code; None where only types are shown.
        eligible: whether the values are those of a message that a run would send now.
        variables: names to values, or to types; records and mappings as dicts.
        language: whose sums and dates are written as; None without a customer.
        unknown_language: what the customer has as its language, where nothing is known of that.
        filters: names to what they do; msgrun's own first.
        functions: likewise.
    """

    definition: str
    customer: str | None
    eligible: bool
    variables: Mapping[str, Any]
    language: str | None
    unknown_language: str | None
    filters: Mapping[str, str]
    functions: Mapping[str, str]


def seen_by_templates(
    workspace: Workspace,
    name: str,
    customer: str | None,
    *,
    today: date,
    period: str | None = None,
) -> TemplateView:
    """Return what a definition's templates see.

    Args:
        workspace: configuration, database, source.
        name: the definition.
        customer: a code; None for the types alone.
        today: from which words such as "previous-month" are seen.
        period: of the invoices; None takes the definition's usual one.

    Raises:
        NotFoundError: no such definition or customer, or the customer has no invoice at all.
        UsageError: `period` is none.
    """
    definition = workspace.config.definition(name)
    if customer is None:
        types = {each: _typed(*what) for each, what in VARIABLES.items()}
        return TemplateView(name, None, False, types, None, None, filters(), functions())
    frozen = Frozen(name, definition.model_dump(mode="json"), {})
    selection = workspace.selection(
        definition,
        today=today,
        period=period or definition.period or "all",
        customers=[customer],
        redirect_to="nobody@localhost",  # whether it was sent before does not matter here
    )
    context, eligible = _context(workspace, frozen, selection, customer)
    context = without_password(context, definition.password_key)
    label = selection.period.label if selection.period else ""
    sender = workspace.sender_of(frozen)
    variables = variables_of(context, SenderInfo(sender.name, sender.address), RunInfo(name, label))
    told = {each: _valued(value) for each, value in variables.items()}
    own = context.customer.language
    return TemplateView(
        name,
        customer,
        eligible,
        told,
        known(own or "") or known(definition.language) or FALLBACK,
        own if own and known(own) is None else None,
        filters(),
        functions(),
    )


def _context(
    workspace: Workspace, frozen: Frozen, selection: Selection, customer: str
) -> tuple[MessageContext, bool]:
    """Return what a customer's first message is made of, or one of its newest invoice would be."""
    criteria = workspace.criteria(frozen, selection)
    with draft_run(workspace.database, workspace.source, frozen, criteria) as draft:
        found = draft.sample(1)
    if found and found[0][1] is not None:
        return found[0][1], True
    with workspace.database.read(attach=True) as connection:
        live = workspace.source.live(connection, Narrowing(customers=(customer,)))
        newest = (
            select(live.invoices.c.id)
            .where(live.invoices.c.customer == customer)
            .order_by(period_day(live.invoices).desc(), live.invoices.c.id)
            .limit(1)
        )
        with connection.begin():
            invoice = connection.execute(newest).scalar()
            loaded = workspace.source.load(
                connection,
                [(customer, [invoice])] if invoice is not None else [],
                key=criteria.recipient_key,
                transformations=criteria.documents,
            )
    if not loaded or loaded[0] is None:
        raise NotFoundError(
            f"customer '{customer}' has no invoice, so there is no message (MR121)",
            "leave the customer out to see the names and their types",
        )
    return loaded[0], False


def _valued(value: Any) -> Any:
    """Return a value as templates see it: records and mappings as dicts."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _valued(getattr(value, name)) for name in _names(type(value))}
    if isinstance(value, Mapping):
        return {str(name): _valued(each) for name, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_valued(each) for each in value]
    return value


def _typed(record: type, many: bool) -> Any:
    """Return a record's names with what each of them is."""
    hints = get_type_hints(record)
    described = {name: _word(hints.get(name, str)) for name in _names(record)}
    return [described] if many else described


def _names(record: type) -> list[str]:
    named = [each.name for each in fields(record)]
    return named + [name for name, each in vars(record).items() if isinstance(each, property)]


def _word(kind: Any) -> str:
    words = {str: "text", bool: "true or false"}
    arguments = getattr(kind, "__args__", ())
    if type(None) in arguments:
        return f"{_word(next(each for each in arguments if each is not type(None)))}, or empty"
    return words.get(kind, "names and values")
