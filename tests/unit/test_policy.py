"""What an outcome does to its message, and when the server is given up for now."""

import random
from datetime import timedelta

import pytest

from msgrun.delivery.policy import (
    FIRST_RETRY,
    LONGEST_RETRY,
    PATIENCE,
    QUOTA_PAUSE,
    SAME_REFUSALS,
    Patience,
    Refusals,
    is_quota,
    retry_in,
    settlement_of,
)
from msgrun.model import Outcome, Reply, Stage, Verdict
from msgrun.states import MessageState


class Fixed(random.Random):
    """Chance that always falls the same way."""

    def __init__(self, value: float) -> None:
        super().__init__(0)
        self.value = value

    def random(self) -> float:
        return self.value


def outcome(verdict: Verdict, stage: Stage, reply: Reply | None = None) -> Outcome:
    return Outcome(verdict, stage, reply, text="in words", finding="MR405")


@pytest.mark.parametrize(
    ("said", "state", "reason", "counts"),
    [
        (outcome(Verdict.ACCEPTED, Stage.DOT, Reply(250, "", "Ok")), "sent", None, True),
        (outcome(Verdict.DEFERRED, Stage.RCPT, Reply(450, "", "Later")), "deferred", "MR505", True),
        (outcome(Verdict.REJECTED, Stage.RCPT, Reply(550, "", "No")), "rejected", "MR506", True),
        (outcome(Verdict.REJECTED, Stage.MAIL), "failed", "MR405", True),
        (outcome(Verdict.IN_DOUBT, Stage.DOT), "in_doubt", "MR507", True),
        (
            outcome(Verdict.SERVER_FAULT, Stage.DOT, Reply(454, "", "Throttled")),
            "deferred",
            "MR505",
            False,
        ),
    ],
)
def test_an_outcome_settles_its_message(
    said: Outcome, state: str, reason: str | None, counts: bool
) -> None:
    settled = settlement_of(said, 0, Fixed(0))
    assert settled is not None
    assert (settled.to, settled.reason, settled.counts) == (MessageState(state), reason, counts)
    assert (settled.retry_in is not None) == (state == "deferred")


@pytest.mark.parametrize("stage", [stage for stage in Stage if stage is not Stage.DOT])
def test_a_server_fault_before_the_dot_gives_the_message_back_unspent(stage: Stage) -> None:
    assert settlement_of(outcome(Verdict.SERVER_FAULT, stage), 0, Fixed(0)) is None


@pytest.mark.parametrize("attempts", [0, 1, 5, 1000])
def test_a_retry_is_due_after_five_minutes_at_the_earliest_and_four_hours_at_the_latest(
    attempts: int,
) -> None:
    assert retry_in(attempts, Fixed(0)) == FIRST_RETRY
    assert 2 * FIRST_RETRY <= retry_in(attempts, Fixed(1)) <= LONGEST_RETRY
    assert timedelta(minutes=5) == FIRST_RETRY
    assert timedelta(hours=4) == LONGEST_RETRY


@pytest.mark.parametrize(
    ("stage", "reply", "pause"),
    [
        (Stage.DOT, Reply(550, "5.4.5", "Daily user sending limit exceeded"), QUOTA_PAUSE),
        (Stage.DOT, Reply(454, "4.7.0", "Throttling failure"), FIRST_RETRY),
    ],
)
def test_a_message_that_met_the_quota_waits_for_the_next_day_and_loses_no_try(
    stage: Stage, reply: Reply, pause: timedelta
) -> None:
    said = outcome(Verdict.SERVER_FAULT, stage, reply)
    settled = settlement_of(said, 0, Fixed(0))
    assert settled is not None
    assert (settled.to, settled.retry_in, settled.counts) == ("deferred", pause, False)
    assert is_quota(said) == (pause is QUOTA_PAUSE)


def test_patience_ends_after_some_rounds_of_trouble_in_a_row() -> None:
    patience, clock = Patience(), 100.0
    for _ in range(PATIENCE - 1):
        wait = patience.trouble(clock, Fixed(0.5))
        assert wait is not None
        clock += wait
    assert patience.trouble(clock, Fixed(0.5)) is None


def test_connections_that_fail_together_are_one_round() -> None:
    patience = Patience()
    first = patience.trouble(100.0, Fixed(0.5))
    assert first is not None
    assert patience.trouble(100.1, Fixed(0.5)) == pytest.approx(first - 0.1)
    assert patience.rounds == 1


def test_one_message_that_goes_through_restores_patience() -> None:
    patience = Patience()
    patience.trouble(100.0, Fixed(0.5))
    patience.well()
    assert (patience.rounds, patience.hold_until) == (0, 0.0)


def refused(text: str = "policy", enhanced: str = "5.7.1") -> Outcome:
    return outcome(Verdict.REJECTED, Stage.RCPT, Reply(550, enhanced, text))


def test_the_same_refusal_of_five_recipients_in_a_row_pauses() -> None:
    refusals = Refusals()
    noted = [refusals.note(refused(), [f"c{number}@x.test"]) for number in range(SAME_REFUSALS)]
    assert noted == [False] * (SAME_REFUSALS - 1) + [True]


def test_the_same_refusal_that_names_each_recipient_is_the_same() -> None:
    refusals = Refusals()
    for number in range(SAME_REFUSALS):
        address = f"c{number}@x.test"
        said = refused(f"<{address}>: Relay access denied, id 4XY{number}")
        last = refusals.note(said, [address])
    assert last


def test_the_same_recipient_refused_again_is_no_streak() -> None:
    refusals = Refusals()
    assert not any(refusals.note(refused(), ["one@x.test"]) for _ in range(SAME_REFUSALS + 1))


def test_refusals_of_the_mailbox_itself_never_pause() -> None:
    refusals = Refusals()
    said = refused("no such user", "5.1.1")
    assert not any(refusals.note(said, [f"c{number}@x.test"]) for number in range(9))


@pytest.mark.parametrize(
    "between",
    [outcome(Verdict.ACCEPTED, Stage.DOT, Reply(250, "", "Ok")), refused("something else")],
)
def test_an_accepted_message_or_another_refusal_ends_the_streak(between: Outcome) -> None:
    refusals = Refusals()
    for number in range(SAME_REFUSALS - 1):
        assert not refusals.note(refused(), [f"c{number}@x.test"])
    assert not refusals.note(between, ["other@x.test"])
    assert not refusals.note(refused(), ["last@x.test"])
