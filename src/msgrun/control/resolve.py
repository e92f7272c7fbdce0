"""Settling messages in doubt: a person says that they arrived, or has them sent again."""

from collections.abc import Sequence
from dataclasses import dataclass

from msgrun.control.work import merge_journals
from msgrun.delivery.composing import Unsendable, compose_claim
from msgrun.errors import MsgrunError, UsageError
from msgrun.failpoints import reach
from msgrun.ledger import runs
from msgrun.ledger.doubt import Doubtful, find, settle_doubt
from msgrun.states import MessageState, RunStatus
from msgrun.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Resolved:
    """One message that was settled, and where that left it."""

    message: int
    run: int
    customer: str
    state: MessageState


def resolve(
    workspace: Workspace, references: Sequence[str], *, resend: bool, because: str
) -> list[Resolved]:
    """Settle messages in doubt, all of them or none.

    Args:
        workspace: configuration, database, source.
        references: numbers or Message-IDs.
        resend: whether they are sent again, with the same bytes, at the next restart; else they
            are taken for sent.
        because: why, for the event log.

    Raises:
        NotFoundError: no such message.
        UsageError: one is not in doubt, or its run was cancelled.
        MsgrunError: its bytes cannot be made again.
    """
    merge_journals(workspace)
    database = workspace.database
    with database.read() as connection, connection.begin():
        found = [find(connection, database.tables, each) for each in dict.fromkeys(references)]
    for message in found:
        _refuse_settled(message)
        if resend:
            _refuse_other_bytes(workspace, message)
    with database.write() as connection:
        now = database.now(connection)
        for message in found:
            written = settle_doubt(
                connection, database.tables, message, resend=resend, because=because, now=now
            )
            if not written:
                raise UsageError(
                    f"message {message.claim.id} was settled, or its run cancelled, meanwhile",
                    f"`msgrun results {message.run_id}` shows it; nothing was changed",
                )
    reach("resolve.committed")
    state = MessageState.PENDING if resend else MessageState.SENT
    return [Resolved(each.claim.id, each.run_id, each.claim.customer, state) for each in found]


def _refuse_settled(message: Doubtful) -> None:
    if message.state is not MessageState.IN_DOUBT:
        raise UsageError(
            f"message {message.claim.id} is {message.state}, not in doubt: nothing to resolve",
            f"`msgrun results {message.run_id} --state in_doubt` lists those that are",
        )


def _refuse_other_bytes(workspace: Workspace, message: Doubtful) -> None:
    """Make sure that the very same bytes can be made: only then do far servers drop a copy."""
    database, claim = workspace.database, message.claim
    with database.read(attach=True) as connection, connection.begin():
        run = runs.get_run(connection, database.tables, message.run_id)
        frozen = runs.revisions(connection, database.tables, run.id)[claim.revision]
        otherwise = (
            f"`msgrun start {run.definition} --customer {claim.customer} --resend` sends it anew, "
            "with a new Message-ID"
        )
        if run.status is RunStatus.CANCELLED:
            raise UsageError(f"run {run.id} was cancelled: it sends nothing any more", otherwise)
        revision = workspace.revision(frozen, run.selection)
        made = compose_claim(connection, workspace.source, revision, claim)
    if isinstance(made, Unsendable):
        raise MsgrunError(
            f"message {claim.id} cannot be sent again: {made.error.message}", otherwise
        )
