"""Whatever happens to a ledger, in whatever order: its promises hold after every step.

And each promise is needed: take one guard of the ledger away, and the same steps find it.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import bindparam, select

from campaign import Tally
from ledger_machine import LedgerMachine
from ledger_office import NOW, open_office
from msgrun.database import Database
from msgrun.ledger import messages, settling, workers
from msgrun.planning import amend, reevaluate
from msgrun.states import MessageState, RunStatus

RULES_A_LIFE = 50
M = MessageState


def test_the_promises_hold_after_every_step_on_sqlite(
    sqlite_database: Database, tmp_path: Path, tally: Tally
) -> None:
    note(tally, explore(sqlite_database, tmp_path, lives=6))


def test_the_promises_hold_after_every_step_on_postgresql(
    postgresql_database: Database, tmp_path: Path, tally: Tally
) -> None:
    note(tally, explore(postgresql_database, tmp_path, lives=3))


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_the_promises_hold_after_each_of_ten_thousand_steps(
    database: Database, tmp_path: Path, tally: Tally
) -> None:
    lives = 200 if database.is_sqlite else 50
    note(tally, explore(database, tmp_path, lives=lives, same=False))


def explore(database: Database, folder: Path, *, lives: int, same: bool = True) -> Counter[str]:
    """Let a ledger live so many lives of 50 rules each; return what was done.

    Args:
        same: whether the lives are the same every time.
    """
    workspace, figures = open_office(database, folder), Counter[str]()
    run_state_machine_as_test(
        lambda: LedgerMachine(workspace, figures),
        settings=settings(
            max_examples=lives,
            stateful_step_count=RULES_A_LIFE,
            derandomize=same,
            database=None,
            deadline=None,
            phases=[Phase.generate] if same else [Phase.generate, Phase.shrink],
            report_multiple_bugs=False,
            print_blob=not same,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return figures


def note(tally: Tally, figures: Counter[str]) -> None:
    """Write down what a machine has tried."""
    assert figures["dots"], "nothing was ever sent"
    tally.add(
        "state model",
        tried=figures["steps"],
        messages=figures["dots"],
        doubts=figures["doubts"],
        note="balance, guard, moves, tokens, intent before dot, after every step",
    )


# Guards taken away, one at a time.

Patch = pytest.MonkeyPatch


def tokens_do_not_fence(patch: Patch) -> None:
    """Let any worker settle any message."""

    def settle(connection: Any, tables: Any, *, message_id: int, token: int, **named: Any) -> bool:
        message = tables.message
        theirs = select(message.c.token).where(message.c.id == message_id)
        token = connection.execute(theirs).scalar_one()
        return sound(connection, tables, message_id=message_id, token=token, **named)

    sound = settling.settle
    patch.setattr(settling, "settle", settle)


def recovery_sends_again(patch: Patch) -> None:
    """Give back all that a dead worker held, also what it may have sent."""

    def recover(connection: Any, tables: Any, *, dead_tokens: Any, now: Any, **named: Any) -> Any:
        ids = list(connection.execute(select(tables.message.c.id)).scalars())
        for token in dead_tokens:
            messages.release(connection, tables, token=token, now=now, message_ids=ids)
        return sound(connection, tables, dead_tokens=dead_tokens, now=now, **named)

    sound = messages.recover
    patch.setattr(messages, "recover", recover)


def dead_workers_are_not_signed_off(patch: Patch) -> None:
    """Take over a worker's messages and let it claim others."""
    patch.setattr(workers, "end", lambda *_given: None)


def stop_is_ignored(patch: Patch) -> None:
    """Commit intents after a stop, too."""

    class Always:
        def where(self, *_conditions: Any) -> Any:
            return bindparam("this_run").is_not(None)

    patch.setattr(messages, "exists", Always)
    # Not the statement made before.
    patch.setattr(messages, "_intending", messages._intending.__wrapped__)


def lease_is_ignored(patch: Patch) -> None:
    """Commit intents when the lease is over, too."""
    sound = messages.intend
    patch.setattr(
        messages, "intend", lambda *given, **named: sound(*given, **(named | {"now": NOW}))
    )


def intent_is_not_kept(patch: Patch) -> None:
    """Say that the intent is committed, and lose it."""

    def intend(connection: Any, *given: Any, **named: Any) -> bool:
        with connection.begin_nested() as point:
            marked = sound(connection, *given, **named)
            point.rollback()
        return marked

    sound = messages.intend
    patch.setattr(messages, "intend", intend)


def guard_is_not_given_back(patch: Patch) -> None:
    """Let refused messages hold their invoices for ever."""
    patch.setattr(settling, "hold", lambda *_given, **_named: None)


def what_is_in_doubt_is_tried_again(patch: Patch) -> None:
    """Let `restart --failed` revive messages in doubt."""
    states = (*reevaluate.FAILED_STATES, M.IN_DOUBT)
    for module in (reevaluate, amend):
        patch.setattr(module, "FAILED_STATES", states)


GUARDS = [
    tokens_do_not_fence,
    recovery_sends_again,
    dead_workers_are_not_signed_off,
    stop_is_ignored,
    lease_is_ignored,
    intent_is_not_kept,
    guard_is_not_given_back,
    what_is_in_doubt_is_tried_again,
]


def lead_a_hard_life(database: Database, folder: Path) -> None:
    """Let happen, once, what each of the guards is there for."""
    life = LedgerMachine(open_office(database, folder), Counter())
    life.begin()
    one, other = life.workers.values()
    life.claim(one, 2)
    life.intend(one, 0)
    for message in range(8):
        life.trespass(other, message)
    life.write_dot(one, 0)
    life.hear_answer(one, 1)
    life.end_before_dot(one, 1)
    life.time_passes(30, 0)
    life.intend(one, 0)
    life.heartbeat(one, 0)
    life.intend(one, 0)
    life.vanish(0, 0, killed=True, found=True)
    assert life.seen.of_run(one.run, M.IN_DOUBT)
    life.restart(0, failed=True)
    assert life.seen.status(one.run) is RunStatus.RUNNING
    life.stop(0)


def test_a_ledger_keeps_its_promises_in_a_hard_life(database: Database, tmp_path: Path) -> None:
    lead_a_hard_life(database, tmp_path)


@pytest.mark.parametrize("take_away", GUARDS)
def test_without_one_of_its_guards_a_ledger_breaks_a_promise(
    sqlite_database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    take_away: Callable[[Patch], None],
) -> None:
    take_away(monkeypatch)
    with pytest.raises(AssertionError):
        lead_a_hard_life(sqlite_database, tmp_path)


@pytest.mark.campaign
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("take_away", GUARDS)
def test_random_lives_find_each_missing_guard(
    sqlite_database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    take_away: Callable[[Patch], None],
) -> None:
    take_away(monkeypatch)
    with pytest.raises(AssertionError):
        explore(sqlite_database, tmp_path, lives=300)
