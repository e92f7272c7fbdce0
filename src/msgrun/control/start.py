"""Starting a run: plan, check, ask, write, send."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from sqlalchemy import Connection

from msgrun.control.restart import closed_until, resume
from msgrun.control.work import (
    RECOVERED,
    Ending,
    deliver,
    hand_over,
    handed_over,
    merge_journals,
    recover_definition,
    require_many_hosts,
    summary_of,
    take_on,
)
from msgrun.errors import ExitCode
from msgrun.events import Listener, ignore
from msgrun.ledger import runs
from msgrun.ledger.rows import Frozen, RunRow
from msgrun.ledger.workers import definition_lock
from msgrun.model import Selection
from msgrun.planning.draft import Plan, draft_run
from msgrun.preflight import Preflight, check_draft, check_funnel, check_server
from msgrun.states import RunStatus
from msgrun.workspace import Workspace, message_id_domain

Confirm = Callable[[Plan, Preflight], bool]
Within = Callable[[Connection, RunRow], None]


def nothing_more(_connection: Connection, _run: RunRow) -> None:
    """Write nothing beside the run."""


def plan_run(
    workspace: Workspace, name: str, selection: Selection, *, compare: bool = False
) -> tuple[Plan, Preflight]:
    """Say what a run would do; nothing is written and no server is asked.

    Args:
        workspace: configuration, database, source.
        name: the definition.
        selection: what to cover.
        compare: with the last run in full, not only what is quickly found.

    Raises:
        PreflightError: an error that concerns the whole run.
        MsgrunError: configuration, source or database cannot be used.
    """
    frozen = workspace.freeze(name)
    with draft_run(
        workspace.database, workspace.source, frozen, workspace.criteria(frozen, selection)
    ) as draft:
        checked = check_draft(workspace, frozen, draft)
        comparing = draft.comparing()
        comparison = comparing.whole() if compare else comparing.short()
        return draft.plan, replace(checked, comparison=comparison)


def start(
    workspace: Workspace,
    name: str,
    selection: Selection,
    *,
    confirm: Confirm,
    wait: bool,
    once: bool = False,
    processes: int | None = None,
    distributed: bool = False,
    within: Within = nothing_more,
    listener: Listener = ignore,
) -> Ending | None:
    """Plan a run, check it, ask, write it down and send it.

    Args:
        workspace: configuration, database, source.
        name: the definition.
        selection: what to cover.
        confirm: asked with plan and findings before anything is written.
        wait: whether to wait for deferred messages here.
        once: do nothing when the same definition, cluster and period has already run.
        processes: how many work on it, this one included; None: as many as it is worth.
        distributed: leave it to the workers of any host (PostgreSQL), in place of sending it here.
        within: called in the transaction that writes the run; what it raises undoes the run.
        listener: told what happens.

    Returns:
        How it ended; None when the person said no (nothing is written then).

    Raises:
        PreflightError: an error that concerns the whole run; nothing is written.
        ServerDownError: the server cannot be reached; nothing is written.
        AlreadyRunningError: the definition has a live run.
        UsageError: workers were asked for, and the ledger is SQLite.
    """
    if distributed:
        require_many_hosts(workspace)
    frozen = workspace.freeze(name)
    merge_journals(workspace)
    _refuse_when_live(workspace, name)
    if once and (earlier := _earlier_run(workspace, frozen, selection)) is not None:
        return _once(
            workspace,
            frozen,
            earlier,
            wait=wait,
            processes=processes,
            distributed=distributed,
            listener=listener,
        )
    criteria = workspace.criteria(frozen, selection)
    with ExitStack() as stack:
        with draft_run(workspace.database, workspace.source, frozen, criteria) as draft:
            checked = check_draft(workspace, frozen, draft)
            check_funnel(workspace, frozen, draft.plan)
            if draft.plan.messages:
                check_server(workspace, frozen)
            if not confirm(draft.plan, replace(checked, comparison=draft.comparing().short())):
                return None
            stack.enter_context(definition_lock(workspace.database, name))
            recover_definition(workspace, name, lock_is_ours=True)
            domain = message_id_domain(workspace.sender_of(frozen))

            def begin(writing: Connection, run: RunRow) -> tuple[int, int | None]:
                within(writing, run)
                if not distributed:
                    return run.id, take_on(workspace, writing, run)
                hand_over(workspace, writing, run)
                return run.id, None

            run_id, token = draft.commit(domain, begin)
        if token is None:
            return handed_over(workspace, run_id)
        return deliver(workspace, run_id, token, wait=wait, processes=processes, listener=listener)


def _refuse_when_live(workspace: Workspace, name: str) -> None:
    """Say early, before planning and asking, that somebody works on the definition."""
    with definition_lock(workspace.database, name):
        recover_definition(workspace, name, lock_is_ours=True)


def _earlier_run(workspace: Workspace, frozen: Frozen, selection: Selection) -> RunRow | None:
    """Return the latest whole run of the same definition, cluster and period."""
    database = workspace.database
    with database.read() as connection, connection.begin():
        candidates = runs.list_runs(connection, database.tables, limit=1000, definition=frozen.name)
    for run in candidates:
        theirs = run.selection
        whole = theirs.limit is None and theirs.redirect_to is None and not theirs.customers
        same = (theirs.cluster, theirs.children, theirs.period and theirs.period.start,
                theirs.period and theirs.period.end) == (
            selection.cluster, selection.children, selection.period and selection.period.start,
            selection.period and selection.period.end)  # fmt: skip
        if whole and same and run.status is not RunStatus.CANCELLED:
            return run
    return None


def _once(
    workspace: Workspace,
    frozen: Frozen,
    run: RunRow,
    *,
    wait: bool,
    processes: int | None,
    distributed: bool,
    listener: Listener,
) -> Ending:
    """Leave a finished run be, resume an unfinished one, respect a person and the leak guard."""
    if (stays := left_alone(workspace, frozen, run)) is not None:
        return stays
    return resume(
        workspace,
        run,
        wait=wait,
        processes=processes,
        distributed=distributed,
        listener=listener,
    )


def left_alone(workspace: Workspace, frozen: Frozen, run: RunRow) -> Ending | None:
    """Return how a command ends for a run that nothing but a person resumes; None: it may be.

    Args:
        workspace: configuration, database, source.
        frozen: the definition as it is today.
        run: one that nobody works on.
    """
    if run.status is RunStatus.FINISHED:
        note = f"run {run.id} has already finished: nothing to do"
        return Ending(summary_of(workspace, run.id), note=note, code=ExitCode.DONE)
    if run.status is RunStatus.STOPPED and not _died(workspace, run):
        note = f"run {run.id} was stopped by a person: `msgrun restart {run.id}` sends the rest"
        return Ending(summary_of(workspace, run.id), note=note, code=ExitCode.INCOMPLETE)
    if run.status is RunStatus.PAUSED and run.reason == "MR512":
        note = f"run {run.id} was paused by the leak guard (MR512): a person has to look"
        return Ending(summary_of(workspace, run.id), note=note)
    if run.status is RunStatus.PAUSED and (until := closed_until(workspace, frozen)) is not None:
        note = (
            f"run {run.id} is paused: the server's daily quota is used up until {until:%F %R} UTC"
        )
        return Ending(summary_of(workspace, run.id), note=note)
    return None


def _died(workspace: Workspace, run: RunRow) -> bool:
    """Tell whether a stopped run came to rest because its worker died."""
    database = workspace.database
    with database.read() as connection, connection.begin():
        kinds = [event["kind"] for event in runs.events(connection, database.tables, run.id)]
    while RunStatus.RUNNING in kinds:
        kinds = kinds[kinds.index(RunStatus.RUNNING) + 1 :]
    return RECOVERED in kinds and RunStatus.STOPPING not in kinds
