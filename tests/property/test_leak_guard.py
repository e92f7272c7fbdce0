"""No customer gets another's invoice: envelope, To, subject, texts and documents are one's own.

Thousands of messages over eight connections, their timing shuffled by a server with moods;
and planted faults that mix customers up, each of which the product's guard or this test catches.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

import mutants
from billing_world import code, make_world
from campaign import Tally
from leak_world import ACCOUNTANT, LeakWorld, make_leak_world
from moody_sink import Moods, MoodySink, running
from msgrun.control.stop import stop
from msgrun.control.work import Ending
from msgrun.database import Database
from msgrun.errors import ExitCode, PreflightError
from msgrun.states import MessageState, RunStatus

CONNECTIONS = 8
GONE = "550 5.1.1 No such user here"
CALM = Moods(seed=4, greylisted=0)
M = MessageState

CAUGHT_BEFORE_THE_RUN = ("attachment-by-position", "invoices-by-position")
CAUGHT_IN_THE_RUN = (
    "attachment-by-file-name",
    "contexts-by-position",
    "recipients-by-position",
    "composed-bytes-shared",
    "envelope-by-position",
)
CAUGHT_BY_THE_TEST = ("attachment-by-position-relabelled", "rendered-text-shared")


@pytest.mark.parametrize("collate", [True, False], ids=["collated", "single"])
def test_every_message_is_one_customers_in_all_its_parts_on_sqlite(
    sqlite_database: Database, tmp_path: Path, tally: Tally, collate: bool
) -> None:
    campaign(sqlite_database, tmp_path, tally, messages=250, collate=collate, seed=1)


def test_every_message_is_one_customers_in_all_its_parts_on_postgresql(
    postgresql_database: Database, tmp_path: Path, tally: Tally
) -> None:
    campaign(postgresql_database, tmp_path, tally, messages=150, collate=True, seed=2)


@pytest.mark.campaign
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("collate", [True, False], ids=["collated", "single"])
def test_ten_thousand_messages_are_one_customers_each(
    database: Database, tmp_path: Path, tally: Tally, collate: bool
) -> None:
    campaign(database, tmp_path, tally, messages=10_000, collate=collate, seed=3, cuts=15)


def campaign(
    database: Database,
    folder: Path,
    tally: Tally,
    *,
    messages: int,
    collate: bool,
    seed: int,
    cuts: int = 1,
) -> None:
    """Send a world's messages with stops and restarts in between, and read what arrived."""
    moods = Moods(seed, cuts=cuts, among=messages // 2)
    with running(MoodySink(moods)) as sink, ThreadPoolExecutor(1) as pool:
        leaky = _world(database, folder, sink, messages=messages, collate=collate, seed=seed)
        asked = _stop_on_the_way(leaky, sink, pool)
        endings = _send_all(leaky, asked)
        assert len(asked) == 2
        _hold(leaky, sink)
    doubts = endings[-1].summary.messages.in_doubt
    tally.add(
        "other customer's invoice",
        tried=1,
        messages=len(sink.kept),
        doubts=doubts,
        note=f"RCPT = To = subject = text = document, {CONNECTIONS} connections",
    )


def _world(
    database: Database, folder: Path, sink: MoodySink, *, messages: int, collate: bool, seed: int
) -> LeakWorld:
    leaky = make_leak_world(
        database, folder, sink.port, messages=messages, collate=collate,
        connections=CONNECTIONS, seed=seed,
    )  # fmt: skip
    everywhere = {each for own in leaky.holdings.values() for each in own.addresses}
    for number, address in enumerate(sorted(everywhere - {ACCOUNTANT})):
        if number % 40 == 7:
            sink.refuse[address] = GONE
    return leaky


def _stop_on_the_way(
    leaky: LeakWorld, sink: MoodySink, pool: ThreadPoolExecutor
) -> list[Future[Ending]]:
    """Have a person stop the run after a quarter of its messages, and again after half."""
    asked: list[Future[Ending]] = []

    def look(arrived: int) -> None:
        due = len(asked) < 2 and arrived >= leaky.messages * (len(asked) + 1) // 4
        if due and all(each.done() for each in asked):
            asked.append(pool.submit(stop, leaky.world.workspace, "last"))

    sink.on_kept = look
    return asked


def _send_all(leaky: LeakWorld, asked: list[Future[Ending]]) -> list[Ending]:
    """Start the run, and restart it, each stop being over, until nothing is left to try."""
    endings = [leaky.world.start()]
    while endings[-1].summary.run.status is not RunStatus.FINISHED:
        run = endings[-1].summary.run
        assert run.reason != "MR512", f"the guard was raised: {run.detail}"
        assert len(endings) < 15, f"it never finishes: {run}"
        for each in asked:
            each.result(30)
        endings.append(leaky.world.restart()[0])
    return endings


def _hold(leaky: LeakWorld, sink: MoodySink) -> None:
    arrived = leaky.read_all(sink.kept, sink.refuse)
    rows = leaky.world.messages()
    assert len(rows) == leaky.messages
    assert {row.state for row in rows} == {M.SENT, M.REJECTED, M.IN_DOUBT}, "each mood was met"
    for row in rows:
        if row.state is M.SENT:
            assert row.message_id in arrived, f"{row} never arrived"
        elif row.state is M.REJECTED:
            assert row.message_id not in arrived
    doubts = sum(row.state is M.IN_DOUBT for row in rows)
    assert doubts == sink.moods.cuts, "only an unanswered dot makes doubt"
    assert any(row.attempts > 1 for row in rows), "some were tried again"


# Planted faults.


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Plant a mutant for one test."""
    monkeypatch.setattr(mutants, "replace", monkeypatch.setattr)
    return mutants.plant


@pytest.mark.parametrize("mutant", CAUGHT_BEFORE_THE_RUN)
def test_the_guard_refuses_a_run_whose_first_messages_are_all_mixed_up(
    sqlite_database: Database, tmp_path: Path, plant: Callable[[str], None], mutant: str
) -> None:
    plant(mutant)
    with running(MoodySink(CALM)) as sink:
        leaky = _world(sqlite_database, tmp_path, sink, messages=60, collate=True, seed=4)
        with pytest.raises(PreflightError, match="MR512") as refusal:
            leaky.world.start()
    assert refusal.value.exit_code == ExitCode.DOCTOR_ERRORS
    assert (leaky.world.runs(), sink.kept) == ([], [])


@pytest.mark.parametrize("mutant", CAUGHT_IN_THE_RUN)
def test_the_guard_pauses_the_run_before_anything_leaks(
    sqlite_database: Database, tmp_path: Path, plant: Callable[[str], None], mutant: str
) -> None:
    plant(mutant)
    with running(MoodySink(CALM)) as sink:
        leaky = _world(sqlite_database, tmp_path, sink, messages=60, collate=True, seed=4)
        ending = leaky.world.start()
        leaky.read_all(sink.kept, sink.refuse)
    run = ending.summary.run
    assert (run.status, run.reason) == (RunStatus.PAUSED, "MR512"), f"{run}"
    assert ending.exit_code == ExitCode.PAUSED
    blocked = [row for row in leaky.world.messages() if row.reason == "MR512"]
    assert blocked
    assert {row.state for row in blocked} == {M.FAILED}
    assert len(sink.kept) < leaky.messages


def test_the_guard_tells_customers_apart_who_share_their_address(
    sqlite_database: Database, tmp_path: Path, plant: Callable[[str], None]
) -> None:
    plant("contexts-by-position")
    with running(MoodySink(CALM)) as sink:
        world = make_world(sqlite_database, tmp_path, sink.port, customers=12)
        for number in range(1, 13):
            world.change("addresses", {"customer": code(number)}, address=ACCOUNTANT)
        ending = world.start()
    assert (ending.summary.run.status, ending.summary.run.reason) == (RunStatus.PAUSED, "MR512")
    assert sink.kept == []


@pytest.mark.parametrize("mutant", CAUGHT_BY_THE_TEST)
def test_the_campaign_fails_on_a_mix_up_that_the_guard_does_not_see(
    sqlite_database: Database, tmp_path: Path, plant: Callable[[str], None], mutant: str
) -> None:
    plant(mutant)
    with pytest.raises(AssertionError, match=r"^leak: "):
        campaign(sqlite_database, tmp_path, Tally(), messages=60, collate=True, seed=5)
