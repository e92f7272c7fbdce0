"""The states of runs and messages, and the ONE table of the moves between them.

The CHECK constraints of the ledger, the diagrams in the documentation and the
guards of every write come from this module.
"""

from enum import StrEnum
from typing import Final


class RunStatus(StrEnum):
    """Where a run stands; each line says who moves it on."""

    PLANNED = "planned"  # written down, nobody sends it yet: a worker moves it on
    RUNNING = "running"  # a worker drains it
    STOPPING = "stopping"  # a person asked to stop: the worker finishes what is in flight
    STOPPED = "stopped"  # nothing leaves until a person restarts it
    PAUSED = "paused"  # the server or the leak guard stopped it: a person restarts it
    WAITING = "waiting"  # only deferred messages are left and nobody waits: restart, or a schedule
    FINISHED = "finished"  # nothing is left to try: only `restart --failed` moves it
    CANCELLED = "cancelled"  # given up for good; its unsent invoices are free for another run


class MessageState(StrEnum):
    """Where a message stands; each line says who moves it on."""

    PENDING = "pending"  # still to be sent: a worker claims it
    CLAIMED = "claimed"  # a worker holds it; no dot has left
    SENDING = "sending"  # intent is committed, the final dot may have left: the answer decides
    SENT = "sent"  # the server said 250 to the end of DATA
    DEFERRED = "deferred"  # a 4xx: due again at its time
    REJECTED = "rejected"  # a 5xx for this message: a person tries again
    IN_DOUBT = "in_doubt"  # the dot may have left, no answer is known: a person resolves it
    FAILED = "failed"  # could not be composed: a person tries again
    SKIPPED = "skipped"  # a rule excluded it, with its reason code
    BOUNCED = "bounced"  # accepted by the server, returned later


class SlotState(StrEnum):
    """Where a slot of a schedule stands; each line says who moves it on."""

    TAKEN = "taken"  # a process plans its run; when it dies, the next `run-due` takes the slot over
    WAITING = "waiting"  # its run could not start: `run-due` tries again within the grace time
    STARTED = "started"  # it has its run, which is not over: `run-due` follows it
    ENDED = "ended"  # its run is over, well or not
    MISSED = "missed"  # it is not run any more, and why not is on record


class Codes(StrEnum):
    """What becomes of the customers' codes when personal data is purged."""

    KEEP = "keep"
    HASH = "hash"
    REMOVE = "remove"


R, M = RunStatus, MessageState

RUN_MOVES: Final[dict[tuple[RunStatus, RunStatus], str]] = {
    (R.PLANNED, R.RUNNING): "start, restart, worker",
    (R.RUNNING, R.STOPPING): "stop, SIGINT, SIGTERM",
    (R.STOPPING, R.STOPPED): "worker has drained, or is dead",
    (R.RUNNING, R.STOPPED): "worker is dead",
    (R.RUNNING, R.PAUSED): "server fault, leak guard",
    (R.RUNNING, R.WAITING): "only deferred left, nobody waits",
    (R.RUNNING, R.FINISHED): "nothing left to try",
    (R.STOPPED, R.RUNNING): "restart",
    (R.PAUSED, R.RUNNING): "restart",
    (R.WAITING, R.RUNNING): "restart; worker, when one is due",
    (R.FINISHED, R.RUNNING): "restart --failed, restart after resolve --resend",
    (R.STOPPED, R.PLANNED): "restart --distributed",
    (R.PAUSED, R.PLANNED): "restart --distributed",
    (R.WAITING, R.PLANNED): "restart --distributed",
    (R.FINISHED, R.PLANNED): "restart --distributed",
    (R.PLANNED, R.STOPPED): "stop",
    (R.WAITING, R.STOPPED): "stop",
    (R.PAUSED, R.STOPPED): "stop",
    (R.PLANNED, R.CANCELLED): "cancel",
    (R.STOPPED, R.CANCELLED): "cancel",
    (R.PAUSED, R.CANCELLED): "cancel",
    (R.WAITING, R.CANCELLED): "cancel",
}
"""Every allowed move of a run, with what makes it."""

MESSAGE_MOVES: Final[dict[tuple[MessageState, MessageState], str]] = {
    (M.PENDING, M.CLAIMED): "a worker takes it",
    (M.PENDING, M.FAILED): "cannot be composed",
    (M.PENDING, M.SKIPPED): "a rule excludes it now; cancel",
    (M.PENDING, M.IN_DOUBT): "cancel gives up the resend of one that was in doubt",
    (M.CLAIMED, M.SENDING): "intent, directly before the dot",
    (M.CLAIMED, M.PENDING): "released: stop, server fault, lease lost",
    (M.CLAIMED, M.DEFERRED): "4xx before the dot",
    (M.CLAIMED, M.REJECTED): "5xx before the dot",
    (M.CLAIMED, M.FAILED): "cannot be composed; leak guard",
    (M.CLAIMED, M.IN_DOUBT): "a resend's bytes cannot be made again, or it is refused",
    (M.SENDING, M.SENT): "2xx to the dot; journal",
    (M.SENDING, M.DEFERRED): "4xx to the dot; journal",
    (M.SENDING, M.REJECTED): "5xx to the dot; journal",
    (M.SENDING, M.IN_DOUBT): "no answer; worker is dead; a resend is refused",
    (M.SENDING, M.PENDING): "the dot was provably not written; journal",
    (M.DEFERRED, M.PENDING): "its time has come; restart",
    (M.DEFERRED, M.SKIPPED): "a rule excludes it now; cancel",
    (M.DEFERRED, M.REJECTED): "deadline passed",
    (M.DEFERRED, M.IN_DOUBT): "deadline passed or cancel, of a resend of one that was in doubt",
    (M.IN_DOUBT, M.SENT): "resolve --sent; journal, late answer",
    (M.IN_DOUBT, M.PENDING): "resolve --resend; journal: the dot was provably not written",
    (M.IN_DOUBT, M.DEFERRED): "journal, late answer",
    (M.IN_DOUBT, M.REJECTED): "journal, late answer",
    (M.REJECTED, M.PENDING): "restart --failed",
    (M.FAILED, M.PENDING): "restart --failed",
    (M.SKIPPED, M.PENDING): "restart --failed",
    (M.BOUNCED, M.PENDING): "restart --failed",
    (M.REJECTED, M.SKIPPED): "restart --failed, a rule excludes it now",
    (M.FAILED, M.SKIPPED): "restart --failed, a rule excludes it now",
    (M.SKIPPED, M.SKIPPED): "restart --failed, with a new reason",
    (M.SENT, M.BOUNCED): "a bounce came back",
}
"""Every allowed move of a message, with what makes it."""

LIVE: Final = frozenset({R.PLANNED, R.RUNNING, R.STOPPING})
"""A definition has at most one run in these (unique index)."""

UNFINISHED: Final = frozenset({R.PLANNED, R.RUNNING, R.STOPPING, R.STOPPED, R.PAUSED, R.WAITING})
"""Runs that may still send something."""

RESTARTABLE: Final = frozenset(a for a, b in RUN_MOVES if b is R.RUNNING)
"""Runs that `restart` moves to running."""

HOLDING: Final = frozenset(
    {M.PENDING, M.CLAIMED, M.SENDING, M.SENT, M.DEFERRED, M.IN_DOUBT, M.BOUNCED}
)
"""States whose rows hold the unique guard of (definition, invoice, generation)."""

UNSENT: Final = frozenset({M.PENDING, M.CLAIMED, M.DEFERRED})
"""States from which a message may still leave without a person's decision about it."""

NOT_SENT: Final = frozenset({M.SKIPPED, M.REJECTED, M.FAILED})
"""States that `restart --failed` looks at again (with bounced)."""


def sources_of(target: MessageState) -> frozenset[MessageState]:
    """Return the states from which a message may move to `target`."""
    return frozenset(a for a, b in MESSAGE_MOVES if b is target)


def run_sources_of(target: RunStatus) -> frozenset[RunStatus]:
    """Return the statuses from which a run may move to `target`."""
    return frozenset(a for a, b in RUN_MOVES if b is target)


def diagram(
    moves: dict[tuple[RunStatus, RunStatus], str] | dict[tuple[MessageState, MessageState], str],
) -> str:
    """Return a table of moves as a Mermaid state diagram, for the documentation."""
    lines = [f"    {a} --> {b}: {why}" for (a, b), why in moves.items()]
    return "\n".join(["stateDiagram-v2", *lines])


def diagrams() -> str:
    """Return the documentation's section on states."""
    parts = []
    for title, moves in (("Run", RUN_MOVES), ("Message", MESSAGE_MOVES)):
        parts.append(f"### {title}\n\n```mermaid\n{diagram(moves)}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(diagrams())
