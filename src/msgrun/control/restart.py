"""Restarting a run: say what will be sent, then send exactly what is unsent."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from msgrun.control.work import (
    Ending,
    deliver,
    hand_over,
    handed_over,
    merge_journals,
    recover_dead,
    recover_definition,
    require_many_hosts,
    summary_of,
    take_on,
)
from msgrun.errors import AlreadyRunningError, UsageError
from msgrun.events import Listener, ServerTrouble, ignore
from msgrun.failpoints import reach
from msgrun.ledger import doubt, messages, runs, servers, workers
from msgrun.ledger.rows import Frozen, RunRow
from msgrun.ledger.workers import definition_lock
from msgrun.planning.amend import Amendment
from msgrun.planning.changes import Reevaluation
from msgrun.planning.reevaluate import (
    FAILED_STATES,
    WAITING_STATES,
    Review,
    review_run,
)
from msgrun.preflight import (
    SAMPLE,
    Candidate,
    Preflight,
    check_contexts,
    check_sender,
    check_server,
)
from msgrun.states import RESTARTABLE, MessageState, RunStatus
from msgrun.workspace import Workspace, message_id_domain

M = MessageState

_STALE: Final = 2 * workers.HEARTBEAT


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a restart would do; figures are messages.

    Attributes:
        never_tried: pending messages that would be sent.
        deferred: deferred messages that would be sent now.
        resends: messages that were in doubt, to be sent again as a person decided.
        in_doubt: messages that stay as they are.
        closed_until: the server's daily quota is used up until then: the deferred wait for it.
        review: what today's data changes.
        checked: what the pre-flight found.
    """

    run: RunRow
    never_tried: int
    deferred: int
    resends: int
    in_doubt: int
    closed_until: datetime | None
    review: Reevaluation
    checked: Preflight

    @property
    def to_send(self) -> int:
        """How many messages would be sent, as far as is known before collating."""
        unsent = self.never_tried + self.deferred + self.resends
        return unsent + len(self.review.revived)

    @property
    def empty(self) -> bool:
        """Whether a restart would change no message."""
        return not (self.to_send or self.review.excluded or self.review.renamed)


Confirm = Callable[[Proposal], bool]
Wanted = list[tuple[str, tuple[str, ...]]]


def restart(
    workspace: Workspace,
    reference: str,
    *,
    failed: bool,
    confirm: Confirm,
    wait: bool,
    processes: int | None = None,
    distributed: bool = False,
    hasten: bool = True,
    listener: Listener = ignore,
) -> Ending | None:
    """Send what a run has left, after saying so.

    Args:
        workspace: configuration, database, source.
        reference: the run's number, or "last".
        failed: also re-evaluate rejected, failed, skipped and bounced messages against today's
            data, definition and templates.
        confirm: asked with the proposal; a no writes nothing.
        wait: whether to wait for deferred messages here.
        processes: how many work on it, this one included; None: as many as it is worth.
        distributed: leave it to the workers of any host (PostgreSQL), in place of sending it here.
        hasten: make deferred messages due now, because a person asked; else they wait their time.
        listener: told what happens.

    Returns:
        How it ended; None when the person said no.

    Raises:
        NotFoundError: no such run.
        AlreadyRunningError: somebody works on it, or on another run of its definition.
        PreflightError: an error that concerns the whole run; nothing is written.
        ServerDownError: the server cannot be reached; nothing is written.
        UsageError: the run was cancelled; or workers were asked for, and the ledger is SQLite.
    """
    if distributed:
        require_many_hosts(workspace)
    database = workspace.database
    merge_journals(workspace)
    run = _restartable(workspace, reference)
    _wait_out_lease(workspace, run, listener)
    with definition_lock(database, run.definition):
        # A dead run of the same definition would keep this one from being the live one.
        recover_definition(workspace, run.definition, lock_is_ours=True, but=run.id)
        with database.write() as connection:
            run = recover_dead(workspace, connection, run, lock_is_ours=True)
    reach("recover.committed")
    with ExitStack() as stack:
        with _reviewed(workspace, run, failed=failed) as (proposal, frozen, review):
            if proposal.empty and run.status is RunStatus.FINISHED:
                note = f"run {run.id} has nothing left to send"
                return Ending(summary_of(workspace, run.id), note=note)
            if proposal.to_send:
                check_server(workspace, frozen)
            # A run that came to rest after its last message has only its own end left to write.
            if not proposal.empty and not confirm(proposal):
                return None
            # Only now: a question that nobody answers must not keep others out.
            stack.enter_context(definition_lock(database, run.definition))
            token = _apply(
                workspace,
                run,
                frozen,
                review,
                failed=failed,
                distributed=distributed,
                hasten=hasten,
            )
        if token is None:
            return handed_over(workspace, run.id)
        return deliver(workspace, run.id, token, wait=wait, processes=processes, listener=listener)


def propose(workspace: Workspace, reference: str, *, failed: bool) -> Proposal:
    """Say what a restart would send; nothing is written and no server is asked.

    Raises:
        NotFoundError: no such run.
        PreflightError: an error that concerns the whole run.
        UsageError: the run was cancelled.
    """
    run = _restartable(workspace, reference)
    with _reviewed(workspace, run, failed=failed) as (proposal, _, _):
        return proposal


def _restartable(workspace: Workspace, reference: str) -> RunRow:
    with workspace.database.read() as connection, connection.begin():
        run = runs.find_run(connection, workspace.database.tables, reference)
    if run.status is RunStatus.CANCELLED:
        raise UsageError(
            f"run {run.id} was cancelled: it cannot be restarted",
            f"`msgrun start {run.definition}` makes a new run",
        )
    return run


@contextmanager
def _reviewed(
    workspace: Workspace, run: RunRow, *, failed: bool
) -> Iterator[tuple[Proposal, Frozen, Review]]:
    """Ask the rules again; hand out the proposal, the definition to go by, and the review."""
    stored = _stored(workspace, run)
    frozen = workspace.freeze(run.definition) if failed else stored[max(stored)]
    waiting = {
        number: workspace.criteria(each, run.selection, own_run=run.id)
        for number, each in stored.items()
    }
    today = workspace.criteria(frozen, run.selection, own_run=run.id) if failed else None
    with review_run(workspace.database, workspace.source, run, waiting, failed=today) as review:
        yield _propose(workspace, run, stored, frozen, review), frozen, review


def resume(
    workspace: Workspace,
    run: RunRow,
    *,
    wait: bool,
    processes: int | None,
    distributed: bool,
    hasten: bool = True,
    listener: Listener,
) -> Ending:
    """Restart without asking, for `start --once` and schedules."""
    ending = restart(
        workspace,
        str(run.id),
        failed=False,
        confirm=lambda _: True,
        wait=wait,
        processes=processes,
        distributed=distributed,
        hasten=hasten,
        listener=listener,
    )
    return ending or Ending(summary_of(workspace, run.id))


def _stored(workspace: Workspace, run: RunRow) -> Mapping[int, Frozen]:
    """Return the definitions that the run was given; the last one has the highest number."""
    with workspace.database.read() as connection, connection.begin():
        return runs.revisions(connection, workspace.database.tables, run.id)


def _propose(
    workspace: Workspace,
    run: RunRow,
    stored: Mapping[int, Frozen],
    frozen: Frozen,
    review: Review,
) -> Proposal:
    check_sender(workspace, frozen)
    result = review.result()
    revived = result.revived
    leaving: dict[int, Wanted] = {}
    for each in review.first(SAMPLE, WAITING_STATES):
        leaving.setdefault(each.revision, []).append((each.customer, each.invoices))
    tried_again = review.first(SAMPLE, FAILED_STATES, revived) if revived else []
    again: Wanted = [(each.customer, each.invoices) for each in tried_again]
    states = review.leaving()
    database = workspace.database
    with database.read() as connection, connection.begin():
        resends = doubt.count_resends(connection, database.tables, run.id)
    # Unsent messages keep their definition; those that are tried again get today's.
    sample = list(_contexts(workspace, run, frozen, again))
    for number, wanted in leaving.items():
        sample += _contexts(workspace, run, stored[number], wanted)
    return Proposal(
        run=run,
        never_tried=states.get(M.PENDING, 0),
        deferred=states.get(M.DEFERRED, 0),
        resends=resends,
        closed_until=closed_until(workspace, frozen),
        in_doubt=summary_of(workspace, run.id).messages.in_doubt,
        review=result,
        checked=check_contexts(sample),
    )


def closed_until(workspace: Workspace, frozen: Frozen) -> datetime | None:
    """Return until when the daily quota of a definition's server is used up; None if it is not."""
    database = workspace.database
    name, _ = workspace.server_of(frozen)
    with database.read() as connection, connection.begin():
        return servers.closed_until(connection, database.tables, name, database.now(connection))


def _contexts(
    workspace: Workspace, run: RunRow, frozen: Frozen, wanted: Wanted
) -> Sequence[Candidate]:
    revision = workspace.revision(frozen, run.selection)
    with workspace.database.read(attach=True) as connection, connection.begin():
        loaded = workspace.source.load(
            connection, wanted, key=revision.key, transformations=revision.transformations
        )
    return [(revision, code, each) for (code, _), each in zip(wanted, loaded, strict=True)]


def _apply(
    workspace: Workspace,
    run: RunRow,
    frozen: Frozen,
    review: Review,
    *,
    failed: bool,
    distributed: bool = False,
    hasten: bool = True,
) -> int | None:
    """Write what today's data says, make the deferred due, and take the run on or hand it over."""
    database = workspace.database
    with review.writing() as connection:
        now = database.now(connection)
        if run.status not in RESTARTABLE and run.status is not RunStatus.PLANNED:
            raise AlreadyRunningError(f"run {run.id} is {run.status}", "`msgrun watch` follows it")
        amendment = Amendment(review, connection)
        amendment.apply(now)
        if failed:
            amendment.revive(frozen, now, message_id_domain(workspace.sender_of(frozen)))
        name, _ = workspace.server_of(frozen)
        if hasten and servers.closed_until(connection, database.tables, name, now) is None:
            messages.make_due(connection, database.tables, run.id, now)
        if not distributed:
            return take_on(workspace, connection, run)
        hand_over(workspace, connection, run)
        return None


def _wait_out_lease(workspace: Workspace, run: RunRow, listener: Listener) -> None:
    """Wait for the lease of a worker on another host that has gone silent (PostgreSQL)."""
    database, told = workspace.database, False
    while not database.is_sqlite:
        with database.read() as connection, connection.begin():
            now = database.now(connection)
            alive = workers.live_workers(connection, database, run.id, run.definition)
        if not alive or min(now - worker.seen_at for worker in alive) < _STALE:
            return
        if not told:
            left = max((worker.lease_until - now).total_seconds() for worker in alive)
            listener(ServerTrouble("the run's worker is silent; waiting for its lease", left))
            told = True
        time.sleep(0.5)
