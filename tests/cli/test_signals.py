"""Stop, Ctrl-C, a closed terminal: what a person does to a run that works, and what cron does."""

import fcntl
import os
import pty
import signal
import subprocess
import termios
import time
from collections import Counter
from contextlib import suppress

import pytest

from billing_process import answer_of, launch
from billing_world import World, address
from campaign import Tally
from cli.program import Program
from freezing import freeze, freeze_at_failpoint, thaw
from gated_sink import BEFORE_354, BEFORE_RCPT_ANSWER, GatedSink, recipients_of, until
from ledger_rows import empty_ledger
from msgrun.errors import ExitCode
from msgrun.ledger import runs
from msgrun.states import RunStatus

Billing = tuple[World, Program]
CUSTOMERS = 12
MANY = 80
"""So many that a stop comes in time."""
BUSY = 4
"""So many connections each have a message at the gate."""

SIGNALS = [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)]


def read_until(process: "subprocess.Popen[str]", words: str) -> None:
    """Read what a command prints, until it has printed these words."""
    assert process.stdout is not None
    for line in process.stdout:
        if words in line:
            return
    raise AssertionError(f"it never said {words!r}")


def states(world: World) -> Counter[str]:
    """Return how many messages are in each state."""
    return Counter(message.state.value for message in world.messages())


def everybody_once(world: World, gated: GatedSink, customers: int = CUSTOMERS) -> None:
    """Check that the run is finished, and that each customer got one message."""
    assert [run.status for run in world.runs()] == [RunStatus.FINISHED]
    assert states(world) == {"sent": customers}
    assert Counter(recipients_of(gated.dots)) == Counter(map(address, range(1, customers + 1)))


# Stop.


@pytest.mark.parametrize("billing", [MANY], indirect=True)
def test_no_dot_leaves_once_stop_has_returned(
    billing: Billing, gated: GatedSink, tally: Tally
) -> None:
    stop_a_busy_run(billing, gated, tally, after=5)


@pytest.mark.campaign
@pytest.mark.timeout(300)
@pytest.mark.parametrize("billing", [MANY], indirect=True)
@pytest.mark.parametrize("after", range(25))
def test_no_dot_leaves_once_stop_has_returned_at_any_moment(
    billing: Billing, gated: GatedSink, tally: Tally, after: int
) -> None:
    stop_a_busy_run(billing, gated, tally, after=after)


_longest: list[float] = []


def stop_a_busy_run(billing: Billing, gated: GatedSink, tally: Tally, *, after: int) -> None:
    """Stop a run that is busy on four connections, then look what still arrives."""
    world, msgrun = billing
    gated.delay = 0.1
    gated.hold(after=MANY - 10)  # should the stop come late
    with msgrun.open("start", "--yes") as run:
        until(lambda: len(gated.dots) > after)
        stopped = msgrun.outside("stop")
        seen = gated.seen()
        _longest.append(time.time() - _asked_to_stop(world))
        told = world.runs()[0].status
        gated.let_go()
        run.communicate(timeout=60)
    assert (stopped.code, run.returncode) == (ExitCode.DONE, ExitCode.INCOMPLETE)
    assert gated.seen() == seen < MANY, "a dot left after stop had returned"
    assert states(world) == {"sent": seen, "pending": MANY - seen}
    assert told in {RunStatus.STOPPED, RunStatus.STOPPING}
    again = msgrun.outside("stop")
    assert (again.code, "stopped already" in again.out) == (ExitCode.DONE, True)
    gated.delay = 0
    assert msgrun.outside("restart", "--yes").code == ExitCode.DONE
    everybody_once(world, gated, MANY)
    tally.add(
        "stop from another process",
        tried=1,
        messages=MANY,
        note=f"no dot once it has returned, at most {max(_longest):.1f} s after it was asked",
    )


def _asked_to_stop(world: World) -> float:
    with world.database.read() as connection, connection.begin():
        events = runs.events(connection, world.database.tables, world.runs()[0].id)
    moment: float = next(each["at"] for each in events if each["kind"] == "stopping").timestamp()
    return moment


def test_stop_does_not_wait_for_answers_and_twice_is_no_error(
    billing: Billing, gated: GatedSink
) -> None:
    world, msgrun = billing
    gated.hold()
    with msgrun.open("start", "--yes") as run:
        until(lambda: len(gated.dots) == BUSY)
        for _ in range(2):
            stopped = msgrun.outside("stop")
            assert stopped.code == ExitCode.DONE
            assert (run.poll(), states(world)["sending"]) == (None, BUSY)
        gated.let_go()
        run.communicate(timeout=60)
    assert run.returncode == ExitCode.INCOMPLETE
    assert gated.seen() == BUSY
    assert states(world) == {"sent": BUSY, "pending": CUSTOMERS - BUSY}
    assert msgrun.outside("stop").code == ExitCode.DONE


@pytest.mark.parametrize("point", ["", "intent.committed=freeze@6"], ids=["any", "before its dot"])
def test_stop_of_a_frozen_run_returns_after_its_lease_and_nothing_leaves_when_it_wakes(
    billing: Billing, gated: GatedSink, tally: Tally, point: str
) -> None:
    world, _ = billing
    gated.delay = 0.1
    lease = 6  # longer than a new interpreter takes to come to its question

    def begin() -> "subprocess.Popen[str]":
        empty_ledger(world)
        gated.forget()
        return launch(world.folder, "start", failpoint=point, lease=lease)

    if point:
        frozen = freeze_at_failpoint(begin, world.database)
    else:
        frozen = begin()
        until(lambda: len(gated.dots) >= BUSY)
        freeze(frozen, world.database)
    stopping = launch(world.folder, "stop", lease=lease)
    answer_of(stopping)
    seen = gated.seen()
    assert stopping.returncode == ExitCode.DONE
    assert _leases_are_over(world), "it returned while the worker could still send"
    thaw(frozen)
    frozen.communicate(timeout=60)
    assert gated.seen() == seen, "a dot left after stop had returned"
    assert world.runs()[0].status is RunStatus.STOPPED
    left = states(world)
    assert left["sent"] <= seen < CUSTOMERS
    assert left["sent"] + left["in_doubt"] >= seen
    tally.add(
        "stop of a frozen worker", tried=1, messages=CUSTOMERS, doubts=left["in_doubt"],
        note="it returns once the lease is over; no dot after that",
    )  # fmt: skip


def _leases_are_over(world: World) -> bool:
    worker = world.database.tables.worker
    with world.database.read() as connection, connection.begin():
        rows = connection.execute(worker.select()).mappings().all()
        now = world.database.now(connection)
    return all(row["ended_at"] is not None or row["lease_until"] <= now for row in rows)


# SIGINT and SIGTERM.


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_starts_nothing_new_and_waits_for_what_is_in_flight(
    billing: Billing, gated: GatedSink, number: signal.Signals, code: int
) -> None:
    world, msgrun = billing
    gated.hold()
    with msgrun.open("start", "--yes") as run:
        until(lambda: len(gated.dots) == BUSY)
        run.send_signal(number)
        read_until(run, f"stopping: {number.name} received")
        assert run.poll() is None
        gated.let_go()
        run.communicate(timeout=60)
    assert run.returncode == code
    assert gated.seen() == BUSY
    assert states(world) == {"sent": BUSY, "pending": CUSTOMERS - BUSY}
    assert world.runs()[0].status is RunStatus.STOPPED


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_drops_what_is_before_its_dot_and_waits_for_the_rest(
    billing: Billing, gated: GatedSink, number: signal.Signals
) -> None:
    world, msgrun = billing
    gated.hold()
    gated.stalled |= {address(3): BEFORE_354, address(4): BEFORE_RCPT_ANSWER}
    with msgrun.open("start", "--yes") as run:
        until(lambda: (len(gated.dots), gated.stalls) == (2, 2))
        run.send_signal(number)
        read_until(run, "stopping: ")
        assert states(world)["claimed"] >= 2, "the first signal drops nothing"
        run.send_signal(number)
        until(lambda: states(world) == {"sending": 2, "pending": CUSTOMERS - 2})
        assert run.poll() is None
        gated.let_go()
        run.communicate(timeout=60)
    assert run.returncode == dict(SIGNALS)[number]
    assert gated.seen() == 2
    assert states(world) == {"sent": 2, "pending": CUSTOMERS - 2}
    gated.stalled.clear()
    assert msgrun.outside("restart", "--yes").code == ExitCode.DONE
    everybody_once(world, gated)


def test_a_second_signal_ends_at_once_when_no_dot_has_left(
    billing: Billing, gated: GatedSink
) -> None:
    world, msgrun = billing
    gated.stalled |= {address(number): BEFORE_354 for number in range(1, CUSTOMERS + 1)}
    with msgrun.open("start", "--yes") as run:
        until(lambda: gated.stalls == BUSY)
        run.send_signal(signal.SIGINT)
        read_until(run, "stopping: ")
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=20)  # the server's time-out is 60 s
    assert run.returncode == ExitCode.INTERRUPTED, "the first signal decides"
    assert (gated.seen(), states(world)) == (0, {"pending": CUSTOMERS})


def test_a_signal_ends_the_wait_for_a_deferred_message(billing: Billing, gated: GatedSink) -> None:
    world, msgrun = billing
    gated.refuse[address(5)] = "451 4.2.0 later"
    with msgrun.open("start", "--yes", "--wait") as run:
        read_until(run, "waiting until ")
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=20)
    assert run.returncode == ExitCode.TERMINATED
    assert world.runs()[0].status is RunStatus.STOPPED
    assert states(world) == {"sent": CUSTOMERS - 1, "deferred": 1}


# What ends other programs.


def test_a_hangup_does_not_end_a_run(billing: Billing, gated: GatedSink) -> None:
    world, msgrun = billing
    gated.hold()
    with msgrun.open("start", "--yes") as run:
        until(lambda: len(gated.dots) == BUSY)
        run.send_signal(signal.SIGHUP)
        gated.let_go()
        run.communicate(timeout=60)
    assert run.returncode == ExitCode.DONE
    everybody_once(world, gated)


def test_a_closed_terminal_does_not_end_a_run(billing: Billing, gated: GatedSink) -> None:
    """The terminal is the process's own, so that closing it also sends it SIGHUP."""
    world, msgrun = billing
    gated.hold()
    ours, theirs = pty.openpty()

    def take_terminal() -> None:
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    with msgrun.open(
        "start", "--yes", stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=take_terminal,
    ) as run:  # fmt: skip
        os.close(theirs)
        until(lambda: len(gated.dots) == BUSY)
        os.close(ours)
        gated.let_go()
        assert run.wait(timeout=60) == ExitCode.DONE
    everybody_once(world, gated)


@pytest.mark.parametrize("also_errors", [False, True], ids=["stdout", "stdout and stderr"])
def test_a_reader_that_leaves_does_not_end_a_run(
    billing: Billing, gated: GatedSink, also_errors: bool
) -> None:
    """Like `msgrun start --yes | head -1`, also with `2>&1`."""
    world, msgrun = billing
    gated.hold()
    gated.refuse[address(CUSTOMERS)] = "451 4.2.0 later"  # something more to say
    streams = {"stderr": subprocess.STDOUT} if also_errors else {}
    with msgrun.open("start", "--yes", **streams) as run:
        assert run.stdout is not None
        assert run.stdout.readline()
        until(lambda: len(gated.dots) == BUSY)
        run.stdout.close()
        gated.let_go()
        assert run.wait(timeout=60) == ExitCode.INCOMPLETE
        told = "" if also_errors or run.stderr is None else run.stderr.read()
    assert told == ""
    assert world.runs()[0].status is RunStatus.WAITING
    assert states(world) == {"sent": CUSTOMERS - 1, "deferred": 1}
    assert gated.seen() == CUSTOMERS - 1


def test_a_reader_that_does_not_read_holds_up_no_run(billing: Billing, gated: GatedSink) -> None:
    """Like `msgrun start --yes | less`, left alone at its first page."""
    world, msgrun = billing
    gated.hold()
    gated.refuse[address(CUSTOMERS - 1)] = "550 5.1.1 no such user"  # something more to say
    ours, theirs = os.pipe()
    with msgrun.open("start", "--yes", stdout=theirs) as run:
        until(lambda: len(gated.dots) == BUSY)
        _fill(theirs)
        gated.let_go()
        try:
            until(lambda: world.runs()[0].status is RunStatus.FINISHED, seconds=10)
        finally:
            os.close(theirs)
            os.close(ours)
            run.communicate(timeout=60)


def _fill(pipe: int) -> None:
    """Leave no room in a pipe, by a handle of our own that does not wait."""
    handle = os.open(f"/proc/self/fd/{pipe}", os.O_WRONLY | os.O_NONBLOCK)
    try:
        for size in (4096, 1):
            with suppress(BlockingIOError):
                while True:
                    os.write(handle, b" " * size)
    finally:
        os.close(handle)
