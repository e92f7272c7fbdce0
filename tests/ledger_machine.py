"""Everything that can happen to a ledger, in any order, beside a model of what is true outside."""

from datetime import timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from sqlalchemy import update

from ledger_model import LedgerModel, pick, settlement_to
from ledger_office import CUSTOMERS, DEFINITIONS, INVOICES, OCTOBER, change
from ledger_snapshot import HELD, M, Move, R, take_snapshot
from msgrun.control import restart as restarting
from msgrun.control.stop import cancel
from msgrun.control.work import recover_dead, take_on
from msgrun.errors import AlreadyRunningError
from msgrun.ledger import doubt, messages, runs, workers
from msgrun.ledger.journal import Entry
from msgrun.model import Selection
from msgrun.planning.draft import draft_run
from msgrun.planning.reevaluate import review_run
from msgrun.states import HOLDING, LIVE, RESTARTABLE

NO_SUCH_PID = 2**22 + 1  # above every system's highest
RESTARTS: frozenset[Move] = frozenset(
    {(M.PENDING, M.SKIPPED), (M.DEFERRED, M.SKIPPED), (M.DEFERRED, M.PENDING)}
)
REVIVALS: frozenset[Move] = frozenset(
    (one, other)
    for one in (M.REJECTED, M.FAILED, M.SKIPPED, M.BOUNCED)
    for other in (M.PENDING, M.SKIPPED)
)
GIVEN_UP = (M.SKIPPED, M.IN_DOUBT)  # in doubt again: a resend that was not sent yet
CANCELLABLE = frozenset({R.PLANNED, R.STOPPED, R.PAUSED, R.WAITING})
PICK = st.integers(0, 30)
WORK = st.lists(
    st.tuples(
        st.sampled_from(
            ["claim", "intend", "write_dot", "hear_answer", "claim", "intend", "write_dot",
             "hear_answer", "intend", "write_dot", "withhold_dot", "end_before_dot", "heartbeat",
             "trespass"]
        ),
        st.integers(0, 3),
        PICK,
    ),
    min_size=6,
    max_size=20,
)  # fmt: skip
RARELY = st.sampled_from([False, False, False, False, True])


class LedgerMachine(LedgerModel, RuleBasedStateMachine):
    """The rules; after each of them the ledger is read and held against the model."""

    # Planning.

    @initialize()
    def begin(self) -> None:
        """Two runs are under way."""
        for name in DEFINITIONS:
            self._plan(name, Selection(period=OCTOBER))

    @rule(name=st.sampled_from(DEFINITIONS), resend=RARELY, aside=RARELY,
          limit=st.sampled_from([None, None, 2]), later=RARELY)  # fmt: skip
    def plan(self, name: str, resend: bool, aside: bool, limit: int | None, later: bool) -> None:
        if self._live(name) and not later:
            return  # it is refused, which takes long to show: now and then is enough
        other = "me@acme.test" if aside else None
        selection = Selection(period=OCTOBER, resend=resend, redirect_to=other, limit=limit)
        self._plan(name, selection, at_once=not later)

    def _plan(self, name: str, selection: Selection, *, at_once: bool = True) -> None:
        """Plan a run with the real planner; it never takes what is held, unless asked to resend."""
        criteria = self.workspace.criteria(self.frozen[name], selection)
        source = self.workspace.source
        with draft_run(self.database, source, self.frozen[name], criteria) as draft:
            if not draft.plan.messages:
                return
            if self._live(name):
                with pytest.raises(AlreadyRunningError):
                    draft.commit("acme.test", lambda _connection, _run: None)
                self.after()
                return
            run, token = draft.commit(
                "acme.test",
                lambda connection, run: (
                    run.id,
                    take_on(self.workspace, connection, run) if at_once else None,
                ),
            )
        if token is not None:
            self._sign_up(token, run)
        self._hold_guard(run, selection)
        self.after(new_rows=True)

    def _live(self, name: str) -> list[int]:
        live = self._runs(*LIVE)
        return [each for each in live if self.seen.runs[each]["definition"] == name]

    def _hold_guard(self, run: int, selection: Selection) -> None:
        planned = take_snapshot(self.database)
        if selection.resend or selection.redirect_to:
            return
        held = {
            (definition, invoice)
            for key in self.seen.messages
            if self.seen.state(key) in HOLDING
            for definition, invoice, _ in self.seen.keys(key)
        }
        taken = {key[:2] for each in planned.of_run(run, M.PENDING) for key in planned.keys(each)}
        assert not taken & held, f"taken although held: {taken & held}"

    # Workers.

    @rule(steps=WORK)
    def work(self, steps: list[tuple[str, int, int]]) -> None:
        """Let workers do what workers do, in turns."""
        for name, which, what in steps:
            alive = [each for each in self.workers.values() if each.alive]
            if alive:
                getattr(self, name)(pick(alive, which), what)

    @rule(steps=WORK)
    def work_on(self, steps: list[tuple[str, int, int]]) -> None:
        """The same: it is chosen twice as often as anything else."""
        self.work(steps)

    @rule(which=PICK, what=PICK, first=st.booleans())
    def go_home(self, which: int, what: int, first: bool) -> None:
        """A worker sends what is left, or gives back what it holds, and signs off."""
        alive = [each for each in self.workers.values() if each.alive]
        if not alive:
            return
        worker = pick(alive, which)
        if first:
            self.heartbeat(worker, what)
        while worker.armed or worker.out or worker.held or (first and self._left_for(worker)):
            what += 1
            if worker.armed:
                self.write_dot(worker, what)
            elif worker.out:
                self.hear_answer(worker, what)
            elif worker.held and first and self._may_intend(worker, worker.held[0]):
                self.intend(worker, what)
            elif worker.held:
                self._release(worker, worker.held.pop(0))
            else:
                self.claim(worker, what)
        worker.alive = False
        self._sign_off(worker)

    @rule(which=PICK, what=PICK, killed=st.booleans(), found=st.sampled_from([True, True, False]))
    def vanish(self, which: int, what: int, killed: bool, found: bool) -> None:
        """A process is killed, or freezes for longer than its lease, in the middle of its work.

        What a killed one knew is gone with it. A frozen one wakes and goes on as if nothing were.
        """
        alive = [each for each in self.workers.values() if each.alive]
        if not alive:
            return
        worker = pick(alive, which)
        for step in (self.claim, self.intend, self.write_dot)[: what % 4]:
            step(worker, what)
        if killed:
            worker.alive = False
            table = self.tables.worker
            with self.database.write() as connection:
                connection.execute(
                    update(table).where(table.c.id == worker.token).values(pid=NO_SUCH_PID)
                )
            self.after()
        else:
            self.set_clock(self.now + workers.LEASE)
        if found:
            self._take_over(worker.run)

    @rule(seconds=st.sampled_from([1, 7, 29, 30, 31, 320, 400]), which=PICK)
    def time_passes(self, seconds: int, which: int) -> None:
        """The clock goes on, and somebody looks whether deferred messages are due."""
        self.set_clock(self.now + timedelta(seconds=seconds))
        if self.seen.runs:
            with self.database.write() as connection:
                run = pick(list(self.seen.runs), which)
                messages.wake_deferred(connection, self.tables, run, self.now)
            self.after(
                {(M.DEFERRED, M.PENDING), (M.DEFERRED, M.REJECTED), (M.DEFERRED, M.IN_DOUBT)}
            )

    # What people ask for.

    @rule(which=PICK)
    def stop(self, which: int) -> None:
        """Stop a run whose workers have just claimed something, and do not know of it yet."""
        if not self.seen.runs:
            return
        run = pick(self._runs(R.RUNNING) or list(self.seen.runs), which)
        busy = [each for each in self.workers.values() if each.alive and each.run == run]
        for worker in busy:
            self.claim(worker, 0)
        with self.database.write() as connection:
            asked = runs.move_run(connection, self.tables, run, R.STOPPING, self.now)
            if not asked and self.seen.status(run) is not R.STOPPING:
                runs.move_run(connection, self.tables, run, R.STOPPED, self.now)
        self.after()
        for worker in busy:
            self.intend(worker, 0)

    @rule(which=PICK, what=st.sampled_from(["take over", "join", "cancel"]))
    def interfere(self, which: int, what: str) -> None:
        """Somebody does something to a run from elsewhere."""
        if not self.seen.runs:
            return
        run = pick(list(self.seen.runs), which)
        if what == "take over":
            self._take_over(run)
        elif what == "join" and self.seen.status(run) is R.RUNNING:
            with self.database.write() as connection:
                token = workers.register(connection, self.tables, run, self.now)
            self._sign_up(token, run)
            self.after()
        elif what == "cancel" and self.seen.status(run) in CANCELLABLE:
            cancel(self.workspace, str(run))
            self.after({(one, to) for one in (M.PENDING, M.DEFERRED) for to in GIVEN_UP})
            assert self.seen.status(run) is R.CANCELLED

    def _take_over(self, run: int) -> None:
        """A dead worker's claims are given back, its intents are in doubt; a live one's stay."""
        held, before = self.seen.of_run(run, *HELD), self.seen
        with self.database.write() as connection:
            row = runs.get_run(connection, self.tables, run)
            if self._is_worked_on(run):
                if not self.database.is_sqlite:  # there the kernel's lock tells
                    with pytest.raises(AlreadyRunningError):
                        recover_dead(self.workspace, connection, row, lock_is_ours=False)
                return
            recover_dead(self.workspace, connection, row, lock_is_ours=True)
        self.after({(M.CLAIMED, M.PENDING), (M.SENDING, M.IN_DOUBT)})
        assert self.seen.status(run) not in LIVE
        assert not self.seen.open_workers(run), "a dead worker may still claim"
        for key in held:
            now = M.PENDING if before.state(key) is M.CLAIMED else M.IN_DOUBT
            assert self.seen.state(key) is now

    @rule(which=PICK, failed=st.sampled_from([True, False, True]))
    def restart(self, which: int, failed: bool) -> None:
        """Restart a run, as `restart` or `restart --failed` writes it."""
        idle = [
            each
            for each in self._runs(*RESTARTABLE, R.PLANNED)
            if not self.seen.open_workers(each)
            and (failed or self.seen.status(each) is not R.FINISHED or self._left_in(each))
        ]
        if not idle:
            return
        with self.database.read() as connection, connection.begin():
            run = runs.get_run(connection, self.tables, pick(idle, which))
        stored = restarting._stored(self.workspace, run)
        waiting = {
            number: self.workspace.criteria(each, run.selection, own_run=run.id)
            for number, each in stored.items()
        }
        frozen, source, before = self.frozen[run.definition], self.workspace.source, self.seen
        today = self.workspace.criteria(frozen, run.selection, own_run=run.id) if failed else None
        with review_run(self.database, source, run, waiting, failed=today) as review:
            try:
                token = restarting._apply(
                    self.workspace, run, frozen, review, failed=failed, distributed=False
                )
            except AlreadyRunningError:
                self.after()
                assert self.seen == before, "a restart that failed has written"
                return
        self._sign_up(token, run.id)
        now = take_snapshot(self.database)
        for key in before.of_run(run.id, M.BOUNCED):
            if now.state(key) is M.PENDING:
                self._allow_again(key)
        self.after(RESTARTS | (REVIVALS if failed else set()), new_rows=True)

    @rule(which=PICK, again=st.booleans())
    def resolve(self, which: int, again: bool) -> None:
        """A person settles a message in doubt: it was sent, or it is to be sent again."""
        doubtful = [
            key
            for key in self._messages(M.IN_DOUBT)
            # `resolve` refuses that: a cancelled run sends nothing any more.
            if not (again and self.seen.status(self.seen.messages[key]["run_id"]) is R.CANCELLED)
        ]
        if not doubtful:
            return
        message = pick(doubtful, which)
        with self.database.write() as connection:
            assert doubt.settle_doubt(
                connection, self.tables, doubt.find(connection, self.tables, str(message)),
                resend=again, because="", now=self.now,
            )  # fmt: skip
        if again:
            self._allow_again(message)
        else:
            self.true_sent.add(message)
        self.after({(M.IN_DOUBT, M.PENDING if again else M.SENT)})

    @rule()
    def merge_journal(self) -> None:
        """What dead workers knew, and could not write, comes to the ledger; it counts once."""
        for worker in self.workers.values():
            known = {} if worker.alive else worker.out | dict.fromkeys(worker.armed, M.PENDING)
            for message, to in known.items():
                uid = self.seen.runs[worker.run]["uid"]
                entry = Entry(uid, message, worker.token, "ab", settlement_to(to), self.now)
                journal = self.workspace.journals.open(worker.token)
                journal.add(entry)
                journal.close(merged=False)
                fits = self._may_be_credited(worker.token, message)
                before, becomes = self.seen, self._becomes(message, to)
                assert self.workspace.journals.merge(self.database) == fits
                if fits:
                    self._note_answer(message, becomes)
                self.after({(before.state(message), becomes)})
                assert fits or self.seen == before
            if not worker.alive:
                worker.out, worker.armed = {}, []

    @rule(which=PICK)
    def bounce(self, which: int) -> None:
        sent = self._messages(M.SENT)
        if sent and which % 3 == 0:
            self._force(pick(sent, which), state=M.BOUNCED, reason="MR112")
            self.after({(M.SENT, M.BOUNCED)})

    @rule(invoice=st.sampled_from(INVOICES), customer=st.sampled_from(CUSTOMERS),
          what=st.sampled_from(["Approved", "Approved", "Open", "rebook", "no address", "address"])
          )  # fmt: skip
    def change_billing(self, invoice: str, customer: str, what: str) -> None:
        """The office changes an invoice, or a customer's address."""
        if what == "rebook":
            change(self.database, "invoices", invoice, customer=customer)
        elif "address" in what:
            change(
                self.database, "addresses", customer, key="other" if what[:2] == "no" else "invoice"
            )
        else:
            change(self.database, "invoices", invoice, status=what)
