"""Power lost at any moment: whatever the disk holds then, no message is sent again by itself.

A run is recorded with strace; `disk_model` says what a disk may hold of it at any moment.
"""

from collections import Counter
from pathlib import Path
from random import Random

import pytest
from power_loss import AFTER_A_DOT, Recording, put, record, world_after
from sqlalchemy import select, text

from campaign import Tally
from msgrun.database import Database
from msgrun.demo.sink import running_sink
from msgrun.errors import MsgrunError
from msgrun.states import MessageState, RunStatus

ROW = "power loss"
JOURNALS = ("truncate", "wal")


@pytest.mark.parametrize("journal", JOURNALS)
def test_every_dot_has_its_row_when_power_is_lost(
    sqlite_database: Database, tmp_path: Path, tally: Tally, journal: str
) -> None:
    campaign(
        sqlite_database, tmp_path, tally, customers=20, images=24, restarts=1, seed=1,
        journal=journal,
    )  # fmt: skip


@pytest.mark.campaign
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("journal", JOURNALS)
def test_every_dot_has_its_row_in_many_images(
    sqlite_database: Database, tmp_path: Path, tally: Tally, journal: str, seed: int
) -> None:
    campaign(
        sqlite_database, tmp_path, tally, customers=30, images=190, restarts=10, seed=seed,
        journal=journal,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("journal", "mutant"),
    [
        ("truncate", "synchronous-off"),
        ("truncate", "synchronous-normal"),
        ("wal", "synchronous-off"),
        ("wal", "synchronous-normal"),
    ],
)
def test_a_commit_that_is_not_synced_is_found_out(
    sqlite_database: Database, tmp_path: Path, journal: str, mutant: str
) -> None:
    with pytest.raises(AssertionError, match="power lost at"):
        campaign(
            sqlite_database, tmp_path, Tally(), customers=10, images=50, restarts=0, seed=3,
            journal=journal, mutant=mutant,
        )  # fmt: skip


def campaign(
    database: Database,
    folder: Path,
    tally: Tally,
    *,
    customers: int,
    images: int,
    restarts: int,
    seed: int,
    journal: str,
    mutant: str = "",
) -> None:
    """Record a run, lose power in it again and again, and ask each image what it would send."""
    chance = Random(seed)
    connections = chance.choice([2, 3])
    recording = record(
        database,
        folder,
        customers=customers,
        connections=connections,
        delay=chance.choice([0, 0.01, 0.03]),
        journal=journal,
        mutant=mutant,
    )
    doubts = 0
    for _ in range(images):
        moment = recording.any_moment(chance)
        image = put(recording.disk.image(moment, chance), folder / "image")
        states = hold_against_dots(image, recording, moment)
        assert states[MessageState.SENDING] <= connections, f"power lost at {moment}"
        doubts += states[MessageState.SENDING]
    for _ in range(restarts):
        moment = chance.randint(recording.dots[0].moment, recording.last)
        put(recording.disk.image(moment, chance), folder / "image")
        restart_sends_the_rest(recording, moment, folder / "image", connections)
    tally.add(
        ROW,
        tried=images + restarts,
        messages=(images + restarts) * customers,
        doubts=doubts,
        note="every dot has its row",
    )


def hold_against_dots(image: Database, recording: Recording, moment: int) -> Counter[MessageState]:
    """Compare what an image says with the dots that may have left; return its states."""
    lost = f"power lost at {moment}"
    try:
        with image.read() as connection, connection.begin():
            sound = connection.execute(text("PRAGMA integrity_check")).scalars().all()
            message = image.tables.message
            rows = connection.execute(select(message.c.message_id, message.c.state)).all()
            states = {message_id: MessageState(state) for message_id, state in rows}
    except (MsgrunError, ValueError) as error:
        raise AssertionError(f"{lost}: the database cannot be read: {error}") from error
    assert sound == ["ok"], f"{lost}: {sound}"
    for message_id in recording.dotted(moment):
        assert states.get(message_id) in AFTER_A_DOT, f"{lost}: {message_id} would be sent again"
    return Counter(states.values())


def restart_sends_the_rest(
    recording: Recording, moment: int, folder: Path, connections: int
) -> None:
    """Restart from an image: what had no dot arrives, what had one does not arrive again."""
    with running_sink(folder / "mail") as sink:
        world = world_after(recording, folder, sink.port)
        world.restart()
        assert world.runs()[0].status is RunStatus.FINISHED
        states = Counter(message.state for message in world.messages())
        arrived = Counter(entry.message_id for entry in sink.received)
    dotted = recording.dotted(moment)
    assert not dotted & set(arrived), f"power lost at {moment}: sent twice"
    assert set(arrived.values()) <= {1}
    # Without a dot and not sent: the intent was on disk, and nobody can know about its dot.
    unsent = {dot.message_id for dot in recording.dots} - dotted - set(arrived)
    assert len(unsent) <= states[MessageState.IN_DOUBT] <= connections
    assert set(states) <= {MessageState.SENT, MessageState.IN_DOUBT}
