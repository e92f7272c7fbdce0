"""What is true outside of a ledger, and what workers do to it; each step holds both together.

The model knows what the ledger cannot: which dots were written, what the server took, which
processes are dead, and what a person has allowed.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import update

from ledger_office import DEFINITIONS, NOW, fill
from ledger_snapshot import HELD, Key, M, Move, R, hold_always, hold_between, take_snapshot
from msgrun.ledger import messages, runs, settling, workers
from msgrun.ledger.messages import Intent
from msgrun.ledger.settling import Settlement
from msgrun.model import Outcome, Reply, Stage, Verdict
from msgrun.states import MessageState
from msgrun.workspace import Workspace

ANSWERS = {
    M.SENT: Outcome(Verdict.ACCEPTED, Stage.DOT, Reply(250, "2.0.0", "Ok")),
    M.DEFERRED: Outcome(Verdict.DEFERRED, Stage.DOT, Reply(451, "4.3.0", "Later")),
    M.REJECTED: Outcome(Verdict.REJECTED, Stage.DOT, Reply(554, "5.6.0", "No")),
    M.IN_DOUBT: Outcome(Verdict.IN_DOUBT, Stage.DOT, text="no answer"),
    M.FAILED: None,
}


@dataclass
class Worker:
    """A process as it sees itself; it learns nothing of a take-over until it is told.

    Attributes:
        held: claimed messages whose intent is not asked for yet.
        armed: intent committed, the dot not written.
        out: the dot is written; what the server makes of it.
    """

    token: int
    run: int
    lease_over: datetime
    alive: bool = True
    held: list[int] = field(default_factory=list)
    armed: list[int] = field(default_factory=list)
    out: dict[int, MessageState] = field(default_factory=dict)


class LedgerModel:
    """A ledger, its workers, and the truth beside it.

    Attributes:
        spent: messages that may not be tried again by themselves: intended, and no definite no.
        taken: how often the server took something.
        allowed: how often a person has allowed it once more.
        true_sent: messages that the server took, or that a person says it took.
        figures: what was done, for the campaign's tally.
    """

    def __init__(self, workspace: Workspace, figures: Counter[str]) -> None:
        super().__init__()
        self.workspace = workspace
        self.database = workspace.database
        self.tables = workspace.database.tables
        self.figures = figures
        self.frozen = {name: workspace.freeze(name) for name in DEFINITIONS}
        self.workers: dict[int, Worker] = {}
        self.spent: set[int] = set()
        self.taken: Counter[Key] = Counter()
        self.allowed: Counter[Key] = Counter()
        self.true_sent: set[int] = set()
        self.set_clock(NOW)
        fill(self.database)
        self.seen = take_snapshot(self.database)

    def set_clock(self, now: datetime) -> None:
        """Set the time, for workers and database alike."""
        self.now = now
        self.database.moment = now  # type: ignore[attr-defined]

    # What a worker believes may be out of date; then its writes change nothing.

    def claim(self, worker: Worker, what: int) -> None:
        wanted = 1 + what % 3
        pending = self.seen.of_run(worker.run, M.PENDING)
        with self.database.write() as connection:
            claims = messages.claim(
                connection, self.tables, run_id=worker.run, server="default", token=worker.token,
                wanted=wanted, every=timedelta(0), now=self.now, lease=workers.LEASE,
            )  # fmt: skip
        assert len(claims) == (min(wanted, len(pending)) if self._is_open(worker) else 0)
        worker.held += [claim.id for claim in claims]
        self.after({(M.PENDING, M.CLAIMED)})

    def intend(self, worker: Worker, _what: int) -> None:
        """Commit `sending`; refused after a stop, a take-over, or when the lease is over."""
        if not worker.held:
            return
        message = worker.held[0]
        row, may = self.seen.messages[message], self._may_intend(worker, message)
        assert self._intend(worker.token, message) == may
        if may:
            assert message not in self.spent, f"intended twice: {row}"
            self.spent.add(message)
            worker.armed.append(worker.held.pop(0))
        self.after({(M.CLAIMED, M.SENDING)} if may else set())
        assert not may or self.seen.state(message) is M.SENDING, "no dot without its commit"

    def _may_intend(self, worker: Worker, message: int) -> bool:
        row = self.seen.messages[message]
        return (
            (row["state"], row["token"]) == (M.CLAIMED, worker.token)
            and row["lease_until"] > self.now
            and self.seen.status(worker.run) is R.RUNNING
        )

    def write_dot(self, worker: Worker, what: int) -> None:
        """Write a dot if the lease still lasts by the worker's own clock; else give it back."""
        if not worker.armed:
            return
        if worker.lease_over <= self.now:
            self.withhold_dot(worker, what)
            return
        message = worker.armed.pop(0)
        assert self.seen.messages[message]["token"] == worker.token, "a dot by an old token"
        assert self.seen.state(message) is M.SENDING, "a dot without a commit before"
        worker.out[message] = (M.SENT, M.SENT, M.SENT, M.DEFERRED, M.REJECTED)[what % 5]
        self.figures["dots"] += 1
        if worker.out[message] is M.SENT:
            self.true_sent.add(message)
            self.taken.update(self.seen.keys(message))
            for key in self.seen.keys(message):
                assert self.taken[key] <= 1 + self.allowed[key], f"sent twice: {key}"

    def withhold_dot(self, worker: Worker, _what: int) -> None:
        """The connection is lost between commit and dot: the dot was provably not written."""
        if worker.armed:
            self._release(worker, worker.armed.pop(0))

    def hear_answer(self, worker: Worker, what: int) -> None:
        """The answer to a dot comes, maybe late, or never."""
        if worker.out:
            message, answer = worker.out.popitem()
            taken_over = not self._is_held_by(worker.token, message)
            self._settle(worker, message, M.IN_DOUBT if what % 4 == 0 else answer)
            if taken_over and what % 4:
                self._credit(worker, message, answer)

    def end_before_dot(self, worker: Worker, what: int) -> None:
        """A message is refused or cannot be composed, or a stop gives it back."""
        if not worker.held:
            return
        message, to = worker.held.pop(0), (M.DEFERRED, M.REJECTED, M.FAILED, M.PENDING)[what % 4]
        if to is M.PENDING:
            self._release(worker, message)
        else:
            self._settle(worker, message, to)

    def heartbeat(self, worker: Worker, _what: int) -> None:
        with self.database.write() as connection:
            known = workers.heartbeat(connection, self.tables, worker.token, self.now)
        assert known == self._is_open(worker)
        if known:
            worker.lease_over = self.now + workers.LEASE
        self.after()

    def trespass(self, worker: Worker, what: int) -> None:
        """Whatever a worker writes about a message that is not its own changes nothing."""
        token = worker.token
        foreign = [key for key in self.seen.messages if not self._is_held_by(token, key)]
        if foreign:
            key, to, before = pick(foreign, what), pick(sorted(ANSWERS), what), self.seen
            assert not self._intend(token, key)
            with self.database.write() as connection:
                messages.release(
                    connection, self.tables, token=token, now=self.now, message_ids=[key]
                )
            assert not self._write(settling.settle, token, key, to)
            self.after()
            assert self.seen == before, "an old token has written"

    def _left_for(self, worker: Worker) -> list[int]:
        working = self._is_open(worker) and self.seen.status(worker.run) is R.RUNNING
        return self._left_in(worker.run) if working else []

    def _left_in(self, run: int) -> list[int]:
        return self.seen.of_run(run, M.PENDING)

    def _sign_off(self, worker: Worker) -> None:
        """The last worker leaves the run where it belongs."""
        run, seen = worker.run, self.seen
        to = R.STOPPED if seen.status(run) is R.STOPPING else R.PAUSED
        if seen.status(run) is R.RUNNING and not seen.of_run(run, M.PENDING, *HELD):
            to = R.WAITING if seen.of_run(run, M.DEFERRED) else R.FINISHED
        with self.database.write() as connection:
            if workers.is_signed_off(connection, self.tables, worker.token):
                return
            workers.end(connection, self.tables, [worker.token], self.now)
            if seen.open_workers(run) == [worker.token]:
                assert runs.move_run(connection, self.tables, run, to, self.now)
        self.after()

    # The ledger against the model.

    def after(self, allowed: set[Move] | frozenset[Move] = frozenset(), *, new_rows: bool = False
              ) -> None:  # fmt: skip
        """Hold the ledger against what it was before, and against the model."""
        before, self.seen = self.seen, take_snapshot(self.database)
        self.figures["steps"] += 1
        newly = set(self._messages(M.IN_DOUBT)) - {
            key for key in before.messages if before.state(key) is M.IN_DOUBT
        }
        self.figures["doubts"] += len(newly)
        hold_between(before, self.seen, allowed, new_rows=new_rows)
        hold_always(self.seen)
        for message in self.spent:
            state = self.seen.state(message)
            assert state in {M.SENDING, M.IN_DOUBT, M.SENT, M.BOUNCED}, f"{state}: sent again"
        for message in self._messages(M.SENT, M.BOUNCED):
            assert message in self.true_sent, "called sent, but the server never took it"

    def _settle(self, worker: Worker, message: int, to: MessageState) -> None:
        """Record an answer; where the worker was taken over, it may settle the doubt alone."""
        before, token = self.seen, worker.token
        mine, becomes = self._is_held_by(token, message), self._becomes(message, to)
        assert self._write(settling.settle, token, message, to) == mine
        if mine:
            self._note_answer(message, becomes)
        self.after({(before.state(message), becomes)})
        assert mine or self.seen == before, "an old token has written"

    def _release(self, worker: Worker, message: int) -> None:
        before, mine = self.seen, self._is_held_by(worker.token, message)
        with self.database.write() as connection:
            messages.release(
                connection, self.tables, token=worker.token, now=self.now, message_ids=[message]
            )
        if mine:
            self.spent.discard(message)
        self.after({(before.state(message), M.PENDING)})
        assert mine or self.seen == before, "an old token has written"

    def _credit(self, worker: Worker, message: int, to: MessageState) -> None:
        """Let an answer come so late that only the doubt about its own try is settled by it."""
        fits = self._may_be_credited(worker.token, message)
        before, becomes = self.seen, self._becomes(message, to)
        credit = partial(settling.credit, sha256="ab")
        assert self._write(credit, worker.token, message, to) == fits
        if fits:
            self._note_answer(message, becomes)
        self.after({(before.state(message), becomes)})
        assert fits or self.seen == before, "an old answer has written"

    def _write(
        self, write: Callable[..., bool], token: int, message: int, to: MessageState
    ) -> bool:
        with self.database.write() as connection:
            return write(
                connection, self.tables, message_id=message, token=token,
                settlement=settlement_to(to), now=self.now,
            )  # fmt: skip

    def _note_answer(self, message: int, becomes: MessageState) -> None:
        if becomes in {M.DEFERRED, M.REJECTED, M.PENDING}:
            self.spent.discard(message)

    def _becomes(self, message: int, to: MessageState) -> MessageState:
        """Say where an answer takes a message: a refused resend leaves the first copy in doubt."""
        row = self.seen.messages[message]
        own_doubt = row["state"] == M.IN_DOUBT and row["doubted_at"] == row["updated_at"]
        earlier = row["doubted_at"] is not None and not own_doubt
        return M.IN_DOUBT if earlier and to in {M.REJECTED, M.FAILED} else to

    def _is_held_by(self, token: int, message: int) -> bool:
        row = self.seen.messages[message]
        return row["token"] == token and row["state"] in HELD

    def _may_be_credited(self, token: int, message: int) -> bool:
        row = self.seen.messages[message]
        return row["token"] == token and row["state"] in {M.SENDING, M.IN_DOUBT}

    def _intend(self, token: int, message: int) -> bool:
        with self.database.write() as connection:
            return messages.intend(
                connection, self.tables, run_id=self.seen.messages[message]["run_id"],
                token=token, intents=[Intent(message, self.now, "ab", 7, "{}")], now=self.now,
            )  # fmt: skip

    def _allow_again(self, message: int) -> None:
        self.spent.discard(message)
        self.true_sent.discard(message)
        self.allowed.update(self.seen.keys(message))

    def _sign_up(self, token: int, run: int) -> None:
        self.workers[token] = Worker(token, run, self.now + workers.LEASE)

    def _is_open(self, worker: Worker) -> bool:
        return self.seen.workers[worker.token]["ended_at"] is None

    def _is_worked_on(self, run: int) -> bool:
        """Tell whether a worker of a run must be left alone."""
        return any(
            self.workers[token].alive and self.seen.workers[token]["lease_until"] > self.now
            for token in self.seen.open_workers(run)
        )

    def _runs(self, *statuses: str) -> list[int]:
        return [each for each in self.seen.runs if self.seen.status(each) in statuses]

    def _messages(self, *states: MessageState) -> list[int]:
        return [each for each in self.seen.messages if self.seen.state(each) in states]

    def _force(self, key: int, **values: Any) -> None:
        """Move a message as a part of the program does that the ledger has no function for yet."""
        table = self.tables.message
        with self.database.write() as connection:
            connection.execute(update(table).where(table.c.id == key).values(**values))


def settlement_to(to: MessageState) -> Settlement:
    """Return what is recorded of a try that goes there."""
    reason = None if to in {M.SENT, M.PENDING} else "MR506"
    if to is M.DEFERRED:
        later = {"retry_in": timedelta(minutes=5), "give_up_in": timedelta(minutes=6)}
        return Settlement(to, ANSWERS.get(to), reason=reason, **later)
    return Settlement(to, ANSWERS.get(to), reason=reason)


def pick(rows: Sequence[Any], which: int) -> Any:
    """Return one of some rows, whatever number was drawn."""
    return rows[which % len(rows)]
