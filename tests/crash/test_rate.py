"""The rate as the mail server sees it, over stops, kills, and several processes.

What is limited is when a try begins: a permit is one MAIL, spent even where no dot follows, and
it is MAIL that servers count and throttle on. So MAIL is what is measured; dots come
later by the body and the commit of the intent, never earlier.

The k-th permit after a start is due k intervals after the moment at which the run began, by the
ledger's own clock, or after the moment that the ledger keeps for the next permit. Delay in
process and network can only make a MAIL later than its permit. So nothing is allowed
for it, but for the host's clock: it is read at the begin, and may be slewed until MAIL.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select

from billing_process import launch
from billing_world import World, address, make_world
from campaign import Tally
from gated_sink import GatedSink, gated_sink, recipients_of, until
from msgrun.database import Database
from msgrun.ledger import runs
from msgrun.states import MessageState, RunStatus

RATE = 600
EVERY = 60 / RATE
CONNECTIONS = 16
"""So many that a worker holds permits for seconds to come when it is interrupted."""

SLEW = 0.005
"""Seconds by which the clock of the host may be corrected within a test: 500 ppm of ten."""


@dataclass(frozen=True)
class Life:
    """One process at work: since when, and from when on the ledger let it send."""

    began: float
    first_free: float

    def check(self, moments: Sequence[float]) -> None:
        """Check that none of its messages left before its permit was due."""
        due = max(self.began, self.first_free)
        early = [
            due + place * EVERY - moment
            for place, moment in enumerate(moments)
            if moment < due + place * EVERY - SLEW
        ]
        assert not early, f"{len(early)} messages left up to {max(early):.3f} s too early"


def next_free(world: World) -> float:
    """Return the moment before which the ledger gives no permit, as it has it now."""
    server = world.database.tables.server
    with world.database.read() as connection, connection.begin():
        moment = connection.execute(select(server.c.next_free_at)).scalar_one_or_none()
    return moment.timestamp() if moment else 0.0


def latest_begin(world: World) -> float:
    """Return when the newest run last began to work."""
    with world.database.read() as connection, connection.begin():
        events = runs.events(connection, world.database.tables, world.runs()[0].id)
    began: float = max(e["at"] for e in events if e["kind"] == RunStatus.RUNNING).timestamp()
    return began


def test_the_rate_holds_over_a_kill(
    sqlite_database: Database, tmp_path: Path, tally: Tally
) -> None:
    interrupted(sqlite_database, tmp_path, tally, signal.SIGKILL, customers=45, lives=2)


def test_the_rate_holds_over_a_stop(
    postgresql_database: Database, tmp_path: Path, tally: Tally
) -> None:
    interrupted(postgresql_database, tmp_path, tally, signal.SIGTERM, customers=45, lives=2)


@pytest.mark.campaign
@pytest.mark.timeout(600)
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_the_rate_holds_over_many_interruptions(
    database: Database, tmp_path: Path, tally: Tally, ending: signal.Signals
) -> None:
    interrupted(database, tmp_path, tally, ending, customers=300, lives=12)


def interrupted(
    database: Database,
    folder: Path,
    tally: Tally,
    ending: signal.Signals,
    *,
    customers: int,
    lives: int,
) -> None:
    """Send under a rate, interrupted again and again, and hold every arrival against it."""
    with gated_sink(folder / "mail") as sink:
        world = rated_world(database, folder, sink, customers)
        began: list[Life] = []
        for life in range(lives):
            sooner, free = len(sink.mails), next_free(world)
            if life == lives - 1:
                # Here, because a new interpreter takes longer than the permits that are left.
                assert world.restart()[0].summary.run.status is RunStatus.FINISHED
            else:
                process = launch(folder, "restart" if life else "start")
                until(lambda sooner=sooner: len(sink.mails) > sooner + 3)
                process.send_signal(ending)
                process.communicate(timeout=60)
                sink.seen()
            began.append(Life(latest_begin(world), free))
            began[-1].check([came.at for came in sink.mails[sooner:]])
    doubts = held(world, sink, customers)
    assert doubts <= (CONNECTIONS * (lives - 1) if ending is signal.SIGKILL else 0)
    assert began[-1].first_free > began[-1].began, "no permit was left over"
    tally.add(
        f"rate over {ending.name} and restart",
        tried=lives - 1,
        messages=customers,
        doubts=doubts,
        note=f"no MAIL before its permit at {RATE} a minute",
    )


def test_two_processes_share_one_servers_rate(
    database: Database, tmp_path: Path, tally: Tally
) -> None:
    share(database, tmp_path, tally, customers=15)


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_two_processes_share_one_servers_rate_for_a_minute(
    database: Database, tmp_path: Path, tally: Tally
) -> None:
    share(database, tmp_path, tally, customers=300)


def share(database: Database, folder: Path, tally: Tally, *, customers: int) -> None:
    """Send two definitions by two programs at once, through one server."""
    with gated_sink(folder / "mail") as sink:
        world = rated_world(database, folder, sink, customers)
        world.define_also("reminder")
        asked = time.time()
        programs = [
            subprocess.Popen(
                [sys.executable, "-m", "msgrun", "start", name, "--yes"], cwd=folder,
                env=os.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            )
            for name in ("monthly", "reminder")
        ]  # fmt: skip
        for program in programs:
            program.communicate(timeout=180)
            assert program.returncode == 0
    both = sorted(run.started_at for run in world.runs() if run.started_at)
    assert len(both) == 2
    moments = sorted(came.at for came in sink.mails)
    assert asked <= both[1].timestamp() < moments[-1], "they did not work side by side"
    Life(both[0].timestamp(), 0.0).check(moments)
    came = Counter(recipients_of(sink.mails))
    assert came == dict.fromkeys(map(address, range(1, customers + 1)), 2)
    tally.add(
        "rate shared by two processes",
        tried=1,
        messages=2 * customers,
        note=f"no MAIL before its permit at {RATE} a minute",
    )


def rated_world(database: Database, folder: Path, sink: GatedSink, customers: int) -> World:
    return make_world(
        database, folder, sink.port, customers=customers, connections=CONNECTIONS, rate=RATE
    )


def held(world: World, sink: GatedSink, customers: int) -> int:
    """Check that nobody got two and nothing is lost; return how many messages are in doubt."""
    arrived = Counter(entry.message_id for entry in sink.received)
    assert set(arrived.values()) == {1}
    states = Counter(message.state for message in world.messages())
    assert states[MessageState.SENT] + states[MessageState.IN_DOUBT] == customers
    assert states[MessageState.SENT] <= len(arrived)
    return states[MessageState.IN_DOUBT]
