"""The one table of moves."""

import pytest
from sqlalchemy import CheckConstraint

from msgrun import catalogue
from msgrun.schema import tables
from msgrun.states import (
    HOLDING,
    LIVE,
    MESSAGE_MOVES,
    NOT_SENT,
    RESTARTABLE,
    RUN_MOVES,
    UNFINISHED,
    UNSENT,
    MessageState,
    RunStatus,
    diagram,
    run_sources_of,
    sources_of,
)

M, R = MessageState, RunStatus


def test_every_message_state_is_reached_and_planned_rows_start_as_pending_or_skipped() -> None:
    reached = {target for _, target in MESSAGE_MOVES}
    assert reached == set(M)


def test_every_run_status_is_reached() -> None:
    assert {target for _, target in RUN_MOVES} == set(R)


def test_cancelled_is_the_only_status_that_nothing_leads_out_of() -> None:
    assert {source for source, _ in RUN_MOVES} == set(R) - {R.CANCELLED}


def test_sent_is_reached_only_past_the_point_of_no_return() -> None:
    assert sources_of(M.SENT) == {M.SENDING, M.IN_DOUBT}


def test_sending_is_reached_only_from_a_claim() -> None:
    assert sources_of(M.SENDING) == {M.CLAIMED}


def test_nothing_but_a_bounce_follows_sent() -> None:
    assert {target for source, target in MESSAGE_MOVES if source is M.SENT} == {M.BOUNCED}


def test_doubt_is_never_skipped_or_failed_away() -> None:
    assert {target for source, target in MESSAGE_MOVES if source is M.IN_DOUBT} == {
        M.SENT,
        M.PENDING,
        M.DEFERRED,
        M.REJECTED,
    }


def test_only_an_unsent_state_or_a_dot_moves_to_deferred_or_rejected() -> None:
    assert sources_of(M.DEFERRED) == {M.CLAIMED, M.SENDING, M.IN_DOUBT}
    assert sources_of(M.REJECTED) == {M.CLAIMED, M.SENDING, M.IN_DOUBT, M.DEFERRED}


def test_every_state_holds_the_guard_or_is_looked_at_again_by_restart_failed() -> None:
    assert set(M) == HOLDING | NOT_SENT
    assert not HOLDING & NOT_SENT
    assert UNSENT < HOLDING


def test_a_restart_takes_every_resting_run_but_a_cancelled_one() -> None:
    assert {R.PLANNED, R.STOPPED, R.PAUSED, R.WAITING, R.FINISHED} == RESTARTABLE


def test_live_runs_are_unfinished_and_a_stop_asks_only_a_running_one() -> None:
    assert LIVE < UNFINISHED
    assert run_sources_of(R.STOPPING) == {R.RUNNING}


def test_every_unfinished_run_that_nobody_drains_can_be_cancelled() -> None:
    assert run_sources_of(R.CANCELLED) == UNFINISHED - {R.RUNNING, R.STOPPING}


@pytest.mark.parametrize("state", [*M, *R])
def test_every_state_has_a_text_for_people(state: MessageState | RunStatus) -> None:
    assert catalogue.explain(state.value)


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
@pytest.mark.parametrize(("table", "values"), [("run", R), ("message", M)])
def test_the_check_constraints_name_exactly_the_states(
    dialect: str, table: str, values: type[MessageState] | type[RunStatus]
) -> None:
    made = getattr(tables(dialect), table)
    (check,) = [each for each in made.constraints if isinstance(each, CheckConstraint)]
    listed = {word for word in str(check.sqltext).split("'") if word.isidentifier()}
    assert listed == {value.value for value in values}


def test_the_diagram_has_a_line_for_every_move() -> None:
    lines = diagram(RUN_MOVES).splitlines()
    assert lines[0] == "stateDiagram-v2"
    assert len(lines) == 1 + len(RUN_MOVES)
    assert "    running --> stopping: stop, SIGINT, SIGTERM" in lines
