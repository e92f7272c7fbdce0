"""A process killed at each named step: exactly the state that the step promises, and its end."""

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from nursery import Nursery
from oracle import hold_against_sink, in_doubt, no_journal_left

from billing_world import World, make_world
from campaign import Tally
from msgrun.database import Database
from msgrun.demo.sink import Sink, running_sink
from msgrun.failpoints import STEPS
from msgrun.states import MessageState, RunStatus

M, R = MessageState, RunStatus

CUSTOMERS: Final = 5


@dataclass(frozen=True)
class Left:
    """What five messages on one connection are when a process dies the first time at a step."""

    pending: int = 0
    claimed: int = 0
    sending: int = 0
    sent: int = 0
    arrived: int = 0
    run: RunStatus | None = R.RUNNING

    @property
    def states(self) -> Counter[MessageState]:
        """The ledger's states; nothing else may be in it."""
        counts = {
            M.PENDING: self.pending, M.CLAIMED: self.claimed, M.SENDING: self.sending,
            M.SENT: self.sent,
        }  # fmt: skip
        return Counter({state: count for state, count in counts.items() if count})


UNCLAIMED = Left(pending=5)
CLAIMED = Left(claimed=5)
ON_ITS_WAY = Left(claimed=4, sending=1)
ARRIVED = Left(claimed=4, sending=1, arrived=1)

AT_A_START: Final = {
    "plan.writing": Left(run=None),
    "plan.written": UNCLAIMED,
    "claim.writing": UNCLAIMED,
    "claim.written": CLAIMED,
    "compose.done": CLAIMED,
    "connect.done": CLAIMED,
    "envelope.accepted": CLAIMED,
    "data.accepted": CLAIMED,
    "body.written": CLAIMED,
    "intent.writing": CLAIMED,
    "intent.committed": ON_ITS_WAY,
    "dot.written": ARRIVED,
    "answer.received": ARRIVED,
    "record.writing": ARRIVED,
    "record.committed": Left(claimed=4, sent=1, arrived=1),
    "finish.writing": Left(sent=5, arrived=5),
    "finish.committed": Left(sent=5, arrived=5, run=R.FINISHED),
}
OR_THE_NEXT_ON_ITS_WAY: Final = {"record.committed": Left(claimed=3, sending=1, sent=1, arrived=1)}
"""The next message goes as far as its intent meanwhile, which may be in the same commit."""

AT_A_RESTART: Final = {
    "recover.writing": (R.RUNNING, Counter({M.CLAIMED: 4, M.SENDING: 1})),
    "recover.committed": (R.STOPPED, Counter({M.PENDING: 4, M.IN_DOUBT: 1})),
}
WHEN_RESOLVED: Final = {"resolve.writing": False, "resolve.committed": True}
"""Whether a person's decision has been taken when the process dies."""

WITHOUT_DATABASE: Final = {"journal.written"}
"""Needs a database that takes nothing: `test_database_loss` kills there."""

HOW_OFTEN: Final = {
    "plan.writing": 1, "plan.written": 1, "claim.writing": 2, "claim.written": 2,
    "compose.done": 2, "connect.done": 1, "finish.writing": 1, "finish.committed": 1,
    "intent.writing": 10, "record.writing": 10,  # a commit holds one for each connection
}  # fmt: skip
"""How often a run reaches a step at least; those of single messages, once for each."""

IN_BATCHES: Final = ("claim.writing", "claim.written", "compose.done")
"""Steps of many messages at once: only a longer run reaches them a second time."""


def test_every_named_step_is_killed_at() -> None:
    killed = {*AT_A_START, *AT_A_RESTART, *WHEN_RESOLVED, *WITHOUT_DATABASE}
    assert killed == set(STEPS)


@pytest.mark.parametrize("step", AT_A_START)
def test_a_start_killed_at_a_step_leaves_what_the_step_promises(
    database: Database, tmp_path: Path, nursery: Nursery, tally: Tally, step: str
) -> None:
    die_and_restart(database, tmp_path, nursery, tally, step)


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("step", AT_A_START)
def test_a_start_killed_at_a_step_somewhere_in_a_run_loses_nothing(
    database: Database, tmp_path: Path, nursery: Nursery, tally: Tally, step: str, seed: int
) -> None:
    die_somewhere(database, tmp_path, nursery, tally, step, random.Random(f"{step} {seed}"))


@pytest.mark.parametrize("step", AT_A_RESTART)
def test_a_restart_killed_while_it_takes_over_can_be_restarted(
    database: Database, tmp_path: Path, nursery: Nursery, tally: Tally, step: str
) -> None:
    die_while_taking_over(database, tmp_path, nursery, tally, step)


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("step", AT_A_RESTART)
def test_restarts_killed_while_they_take_over_can_be_restarted(
    database: Database, tmp_path: Path, nursery: Nursery, tally: Tally, step: str, seed: int
) -> None:
    chance = random.Random(seed)
    connections, number = chance.randint(1, 3), chance.randint(1, 2)
    die_while_taking_over(database, tmp_path, nursery, tally, step, connections, number)


@pytest.mark.parametrize("action", ["resolve-sent", "resolve-resend"])
@pytest.mark.parametrize("step", WHEN_RESOLVED)
def test_a_decision_killed_at_a_step_is_taken_or_not(
    database: Database, tmp_path: Path, nursery: Nursery, tally: Tally, step: str, action: str
) -> None:
    die_while_resolving(database, tmp_path, nursery, tally, step, action)


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("step", WHEN_RESOLVED)
def test_decisions_killed_at_a_step_are_taken_or_not(
    database: Database, tmp_path: Path, nursery: Nursery, tally: Tally, step: str, seed: int
) -> None:
    action = ["resolve-sent", "resolve-resend"][seed % 2]
    die_while_resolving(database, tmp_path, nursery, tally, step, action)


def die_and_restart(
    database: Database, folder: Path, nursery: Nursery, tally: Tally, step: str, mutant: str = ""
) -> None:
    """Kill a run of five at a step; compare exactly; restart it, and compare its end."""
    left = AT_A_START[step]
    with running_sink(folder / "mail") as sink:
        world = make_world(database, folder, sink.port, customers=CUSTOMERS, connections=1)
        nursery.begin(folder, "start", failpoint=f"{step}=kill", mutant=mutant).dies()
        states = hold_against_sink(world, sink)
        if step in OR_THE_NEXT_ON_ITS_WAY and states != left.states:
            left = OR_THE_NEXT_ON_ITS_WAY[step]
        assert states == left.states
        assert len(sink.received) == left.arrived
        assert [run.status for run in world.runs()] == ([left.run] if left.run else [])
        again = "restart" if left.run else "start"
        answer = nursery.begin(folder, again, mutant=mutant).answer()
        settled = hold_against_sink(world, sink)
        arrived = len(sink.received)
    assert answer["status"] == R.FINISHED
    doubt = left.sending
    assert settled == Counter({M.SENT: CUSTOMERS - doubt}) + Counter({M.IN_DOUBT: doubt})
    never_left = left.sent + left.sending - left.arrived
    assert arrived == CUSTOMERS - never_left
    no_journal_left(world)
    note(tally, database, CUSTOMERS, doubt)


def die_somewhere(
    database: Database,
    folder: Path,
    nursery: Nursery,
    tally: Tally,
    step: str,
    chance: random.Random,
) -> None:
    """Kill a run the n-th time at a step, over one to three connections."""
    customers, connections = 200 if step in IN_BATCHES else 30, chance.randint(1, 3)
    number = chance.randint(1, HOW_OFTEN.get(step, customers))
    delay = 0 if step in IN_BATCHES else chance.choice([0, 0, 0.02])
    with running_sink(folder / "mail", delay=delay) as sink:
        world = make_world(
            database, folder, sink.port, customers=customers, connections=connections
        )
        nursery.begin(folder, "start", failpoint=f"{step}=kill@{number}").dies()
        doubt = in_doubt(hold_against_sink(world, sink))
        assert AT_A_START[step].sending <= doubt <= connections
        again = "restart" if world.runs() else "start"
        assert nursery.begin(folder, again).answer()["status"] == R.FINISHED
        settled = hold_against_sink(world, sink)
    assert settled == Counter({M.SENT: customers - doubt}) + Counter({M.IN_DOUBT: doubt})
    no_journal_left(world)
    note(tally, database, customers, doubt)


def die_while_taking_over(
    database: Database,
    folder: Path,
    nursery: Nursery,
    tally: Tally,
    step: str,
    connections: int = 1,
    number: int = 1,
) -> None:
    """Kill a start before its dot, then the restart while it recovers, then restart again."""
    with running_sink(folder / "mail") as sink:
        world = make_world(
            database, folder, sink.port, customers=CUSTOMERS, connections=connections
        )
        nursery.begin(folder, "start", failpoint="intent.committed=kill").dies()
        doubt = in_doubt(hold_against_sink(world, sink))
        assert 1 <= doubt <= connections
        nursery.begin(folder, "restart", failpoint=f"{step}=kill@{number}").dies()
        states = hold_against_sink(world, sink)
        assert in_doubt(states) == doubt
        if (connections, number) == (1, 1):
            assert (world.runs()[0].status, states) == AT_A_RESTART[step]
        assert nursery.begin(folder, "restart").answer()["status"] == R.FINISHED
        settled = hold_against_sink(world, sink)
    assert settled == {M.SENT: CUSTOMERS - doubt, M.IN_DOUBT: doubt}
    no_journal_left(world)
    note(tally, database, CUSTOMERS, doubt)


def die_while_resolving(
    database: Database,
    folder: Path,
    nursery: Nursery,
    tally: Tally,
    step: str,
    action: str,
) -> None:
    """Kill a person's decision at a step; take it again where it was not taken.

    With one connection the person knows whether the one message in doubt has arrived.
    """
    resend = action == "resolve-resend"
    with running_sink(folder / "mail") as sink:
        world = make_world(database, folder, sink.port, customers=CUSTOMERS, connections=1)
        doubt = leave_doubt(world, sink, nursery, arrives=not resend)
        nursery.begin(folder, action, failpoint=f"{step}=kill").dies()
        left = in_doubt(hold_against_sink(world, sink))
        assert left == (0 if WHEN_RESOLVED[step] else doubt)
        if left:
            assert nursery.begin(folder, action).answer() == {"resolved": doubt}
        assert nursery.begin(folder, "restart").answer()["status"] == R.FINISHED
        settled = hold_against_sink(world, sink)
    assert settled == {M.SENT: CUSTOMERS}
    assert len(sink.received) == CUSTOMERS
    no_journal_left(world)
    note(tally, database, CUSTOMERS, 0)


def leave_doubt(world: World, sink: Sink, nursery: Nursery, *, arrives: bool) -> int:
    """Leave a finished run with a message in doubt, or a few; return how many."""
    step = "answer.received" if arrives else "intent.committed"
    nursery.begin(world.folder, "start", failpoint=f"{step}=kill").dies()
    nursery.begin(world.folder, "restart").wait()
    return in_doubt(hold_against_sink(world, sink))


def note(tally: Tally, database: Database, messages: int, doubts: int) -> None:
    name = "SQLite" if database.is_sqlite else "PostgreSQL"
    tally.add(
        f"kill at each named step, {name}", tried=1, messages=messages, doubts=doubts,
        note="exactly the step's state",
    )  # fmt: skip
