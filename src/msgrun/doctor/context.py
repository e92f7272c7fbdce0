"""Which definition, run and selection the doctor looks at, when not all of them were named."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date

from sqlalchemy import Connection, select

from msgrun.compose.gathering import gather_templates
from msgrun.config import DefinitionConfig
from msgrun.eligibility import verdicts
from msgrun.errors import ConfigError, NotFoundError
from msgrun.ledger import runs
from msgrun.ledger.rows import Frozen, RunRow
from msgrun.model import Selection
from msgrun.selection import parse_period
from msgrun.source import Snapshot
from msgrun.suggest import did_you_mean
from msgrun.workspace import Workspace

_RUNS = 1000  # so many runs of a definition are looked through


@dataclass(frozen=True, slots=True)
class Asked:
    """What the person named.

    Attributes:
        definition: a name; None for any.
        run: a number or "last"; None for the one that fits.
        cluster: root of a cluster tree; None for the usual one.
        period: as `--period` says it; None for the usual one.
        today: from which words such as "previous-month" are seen.
    """

    today: date
    definition: str | None = None
    run: str | None = None
    cluster: str | None = None
    period: str | None = None


@dataclass(frozen=True, slots=True)
class Today:
    """A definition as `msgrun.toml` has it now.

    Attributes:
        fault: why its template files cannot be read; None when they can.
    """

    frozen: Frozen
    enabled: bool
    fault: ConfigError | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """One definition with the run or the selection that it is looked at in.

    Attributes:
        frozen: what the rules and templates are asked with.
        today: the definition in `msgrun.toml`; None when it is gone from there.
        was: the definition as the run had it last; None without a run.
        selection: None where no period is known.
        redirected: the latest redirected run of the same period, where there is no other.
    """

    name: str
    frozen: Frozen
    today: Today | None
    was: Frozen | None = None
    run: RunRow | None = None
    selection: Selection | None = None
    redirected: RunRow | None = None

    @property
    def period(self) -> str:
        """The label of the period looked at; "" where there is none."""
        period = self.selection.period if self.selection else None
        return period.label if period else ""


def definition_today(workspace: Workspace, name: str) -> Today:
    """Return a definition as it is configured, disabled or not.

    Raises:
        NotFoundError: there is none of this name (MR201).
    """
    config = workspace.config
    if name not in config.definitions:
        raise NotFoundError(
            f"no definition is named '{name}' (MR201)", did_you_mean(name, config.definitions)
        )
    definition = config.definitions[name]
    enabled = definition.model_copy(update={"enabled": True})
    readable = config.model_copy(update={"definitions": {name: enabled}})
    content = definition.model_dump(mode="json")
    try:
        templates = gather_templates(readable, name)
    except ConfigError as error:
        return Today(Frozen(name, content, {}), definition.enabled, error)
    return Today(Frozen(name, content, templates), definition.enabled)


def usual_selection(definition: DefinitionConfig, asked: Asked) -> Selection | None:
    """Return the selection named, its gaps filled from the definition; None without a period.

    Raises:
        UsageError: `--period` names no period.
    """
    wanted = asked.period or definition.period
    if wanted is None:
        return None
    return Selection(
        cluster=asked.cluster or definition.cluster, period=parse_period(wanted, asked.today)
    )


def choose(
    connection: Connection, workspace: Workspace, snapshot: Snapshot, customer: str, asked: Asked
) -> list[Context]:
    """Return what to look at for a customer, the most probable first.

    Args:
        connection: in a transaction that reads.
        snapshot: the customer's rows of the source.

    Raises:
        NotFoundError: no such definition, run or cluster.
        UsageError: `--period` names no period.
    """
    if asked.run is not None:
        return [_of_run(connection, workspace, asked)]
    if asked.definition is not None:
        return list(_of_definition(connection, workspace, snapshot, customer, asked))
    chosen = [
        (context, _touches(connection, workspace, snapshot, customer, context))
        for name in workspace.config.definitions
        for context in _of_definition(
            connection, workspace, snapshot, customer, replace(asked, definition=name)
        )
    ]
    touching = [context for context, touches in chosen if touches]
    enabled = [context for context, _ in chosen if context.today and context.today.enabled]
    contexts = touching or enabled or [context for context, _ in chosen]
    return sorted(contexts, key=_recency, reverse=True)


def choose_all(connection: Connection, workspace: Workspace, asked: Asked) -> list[Context]:
    """Return what to look at for everybody: the run named, else each definition once.

    That is the latest run of a definition, or its usual selection where that is newer. Runs for
    single customers, and redirected ones, say nothing of everybody.

    Args:
        connection: in a transaction that reads.

    Raises:
        NotFoundError: no such definition, run or cluster.
        UsageError: `--period` names no period.
    """
    check_cluster_name(connection, workspace, asked)
    if asked.run is not None:
        return [_of_run(connection, workspace, asked)]
    definitions = workspace.config.definitions
    enabled = [name for name, definition in definitions.items() if definition.enabled]
    names = [asked.definition] if asked.definition is not None else enabled
    return [_of_everybody(connection, workspace, name, asked) for name in names]


def check_cluster_name(connection: Connection, workspace: Workspace, asked: Asked) -> None:
    """Raise NotFoundError where there is no cluster of the name given."""
    if asked.cluster is None:
        return
    clusters = workspace.source.cluster_names(connection)
    if asked.cluster not in clusters:
        raise NotFoundError(
            f"there is no cluster '{asked.cluster}'", did_you_mean(asked.cluster, clusters)
        )


def _of_everybody(connection: Connection, workspace: Workspace, name: str, asked: Asked) -> Context:
    today = definition_today(workspace, name)
    usual = usual_selection(workspace.config.definitions[name], asked)
    tables = workspace.database.tables
    for run in runs.list_runs(connection, tables, limit=_RUNS, definition=name):
        whole = not run.selection.customers and run.selection.redirect_to is None
        if not whole or not _fits(run, "", asked, usual):
            continue
        if _newer(usual, run):
            break
        frozen = runs.revisions(connection, tables, run.id)
        return Context(name, today.frozen, today, frozen[max(frozen)], run, run.selection)
    return Context(name, today.frozen, today, selection=usual)


def _recency(context: Context) -> tuple[date, int]:
    period = context.selection.period if context.selection else None
    return (period.start if period else date.min, context.run.id if context.run else 0)


def _of_run(connection: Connection, workspace: Workspace, asked: Asked) -> Context:
    tables = workspace.database.tables
    run = runs.find_run(connection, tables, asked.run or "last")
    if asked.definition is not None and asked.definition != run.definition:
        raise NotFoundError(
            f"run {run.id} is of definition '{run.definition}', not '{asked.definition}'",
            "leave out --definition, or name another run",
        )
    frozen = runs.revisions(connection, tables, run.id)
    was = frozen[max(frozen)]
    return Context(
        run.definition, was, _today_or_none(workspace, run.definition), was, run, run.selection
    )


def _today_or_none(workspace: Workspace, name: str) -> Today | None:
    if name not in workspace.config.definitions:
        return None
    return definition_today(workspace, name)


def _of_definition(
    connection: Connection, workspace: Workspace, snapshot: Snapshot, customer: str, asked: Asked
) -> Iterator[Context]:
    """Yield the context of the latest fitting run, after that of a period not run yet."""
    name = asked.definition or ""
    today = definition_today(workspace, name)
    usual = usual_selection(workspace.config.definitions[name], asked)
    tables = workspace.database.tables
    earlier = [
        run
        for run in runs.list_runs(connection, tables, limit=_RUNS, definition=name)
        if _fits(run, customer, asked, usual)
    ]
    run = next((each for each in earlier if each.selection.redirect_to is None), None)
    if run is None:
        redirected = next(iter(earlier), None)
        yield Context(name, today.frozen, today, selection=usual, redirected=redirected)
        return
    if _newer(usual, run):
        unsent = Context(name, today.frozen, today, selection=usual)
        if today.enabled and _would_send(connection, workspace, snapshot, customer, unsent):
            yield unsent
    frozen = runs.revisions(connection, tables, run.id)
    was = frozen[max(frozen)]
    yield Context(name, today.frozen, today, was, run, run.selection)


def _fits(run: RunRow, customer: str, asked: Asked, usual: Selection | None) -> bool:
    """Tell whether a run can say something about the customer and what was named."""
    if run.selection.customers and customer not in run.selection.customers:
        return False
    if asked.cluster is not None and run.selection.cluster != asked.cluster:
        return False
    if asked.period is None or usual is None:
        return True
    theirs, ours = run.selection.period, usual.period
    return (theirs and (theirs.start, theirs.end)) == (ours and (ours.start, ours.end))


def _newer(usual: Selection | None, run: RunRow) -> bool:
    """Tell whether the usual period begins after the one of the run."""
    ours, theirs = usual.period if usual else None, run.selection.period
    return ours is not None and theirs is not None and ours.start > theirs.end


def _blocked(
    connection: Connection,
    workspace: Workspace,
    snapshot: Snapshot,
    customer: str,
    context: Context,
) -> list[tuple[str, ...]]:
    selection = context.selection or Selection()
    criteria = workspace.criteria(context.frozen, selection)
    tables = workspace.database.tables
    asked = verdicts(connection, snapshot, tables, criteria, customer)
    return [each.blocked_by for each in asked if each.invoice is not None]


def _would_send(
    connection: Connection,
    workspace: Workspace,
    snapshot: Snapshot,
    customer: str,
    context: Context,
) -> bool:
    return () in _blocked(connection, workspace, snapshot, customer, context)


def _touches(
    connection: Connection,
    workspace: Workspace,
    snapshot: Snapshot,
    customer: str,
    context: Context,
) -> bool:
    """Tell whether a definition has, or would make, a row for the customer."""
    tables = workspace.database.tables
    message, run = tables.message, tables.run
    row = select(message.c.id).join(run, run.c.id == message.c.run_id)
    row = row.where(message.c.customer == customer, run.c.definition == context.name).limit(1)
    if connection.execute(row).first() is not None:
        return True
    if context.today is None or not context.today.enabled:
        return False
    outside = {"MR103", "MR122"}
    return any(
        outside.isdisjoint(codes)
        for codes in _blocked(connection, workspace, snapshot, customer, context)
    )
