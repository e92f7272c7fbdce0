"""A run recorded with all it writes, syncs and sends, and what a loss of power leaves of it."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from disk_model import Disk
from system_calls import Call, Step, steps, strace

from billing_process import launch
from billing_world import World, make_world
from msgrun.config import load_config
from msgrun.database import Database
from msgrun.demo.sink import running_sink
from msgrun.states import MessageState
from msgrun.workspace import Workspace

_TERMINATOR = b"\r\n.\r\n"
_MESSAGE_ID = re.compile(rb"^Message-ID:\s*(<[^>]*>)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Dot:
    """The final dot of a message: from `moment` on it may have reached the server."""

    moment: int
    message_id: str


@dataclass(slots=True)
class Recording:
    """A run from its first step to its last."""

    folder: Path
    disk: Disk
    dots: list[Dot]
    last: int

    def any_moment(self, chance: Random) -> int:
        """Return a moment of the run; every second one is close behind a dot."""
        first, last = self.dots[0].moment, self.last
        if chance.random() < 0.5:
            return min(last, chance.choice(self.dots).moment + chance.randrange(4))
        # As many moments before the first dot as between two others.
        return chance.randint(first - (last - first) // len(self.dots), last)

    def dotted(self, moment: int) -> set[str]:
        """Return the messages whose dot may have left by then."""
        return {dot.message_id for dot in self.dots if dot.moment <= moment}


def record(
    database: Database,
    folder: Path,
    *,
    customers: int,
    connections: int,
    delay: float,
    mutant: str = "",
    journal: str = "",
) -> Recording:
    """Let a process send to every customer, and return all that it did."""
    log = folder / "strace.log"
    under = strace(log)
    with running_sink(folder / "mail", delay=delay) as sink:
        make_world(database, folder, sink.port, customers=customers, connections=connections)
        before = {path.name: path.read_bytes() for path in folder.iterdir() if _followed(path.name)}
        process = launch(folder, "start", mutant=mutant, journal=journal, under=under)
        process.communicate(timeout=100)
        arrived = sorted(entry.message_id for entry in sink.received)
    if process.returncode or len(arrived) != customers:
        raise RuntimeError(f"{process.returncode}: {len(arrived)} of {customers} have arrived")
    walked = steps(log.read_text("ascii").splitlines())
    disk = Disk(folder, before, _followed)
    for step in walked:
        disk.follow(step)
    dots = list(_dots(walked))
    if sorted(dot.message_id for dot in dots) != arrived:
        raise RuntimeError("the record shows other dots than the sink has seen")
    log.unlink()
    return Recording(folder, disk, dots, walked[-1][0].began)


def _followed(name: str) -> bool:
    """Tell whether a file is the database or one of those beside it that outlive a crash."""
    return name.startswith("msgrun.db") and not name.endswith(("-shm", ".journal"))


def _dots(walked: list[Step]) -> Iterator[Dot]:
    """Return the final dots that were sent, each with the Message-ID before it."""
    streams: dict[int, bytes] = {}
    for call, side in walked:
        if side == "begins" and call.name == "connect":
            streams[call.number(0)] = b""
        elif side == "begins" and call.name == "close":
            streams.pop(call.number(0), None)
        elif side == "begins" and not call.failed and _sends(call):
            descriptor = call.number(0)
            if descriptor in streams:
                streams[descriptor] += call.data
                while _TERMINATOR in streams[descriptor]:
                    message, _, streams[descriptor] = streams[descriptor].partition(_TERMINATOR)
                    yield Dot(call.began, _MESSAGE_ID.findall(message)[-1].decode())


def _sends(call: Call) -> bool:
    return call.name in {"sendto", "sendmsg", "write", "writev"}


def put(image: dict[str, bytes], folder: Path) -> Database:
    """Write an image of the database's files into a new folder; return the database."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in image.items():
        (folder / name).write_bytes(content)
    return Database(f"sqlite:///{folder / 'msgrun.db'}")


def world_after(recording: Recording, folder: Path, port: int) -> World:
    """Return the workspace as the loss of power has left it, with another mail server."""
    for name in ("documents", "monthly.txt"):
        original = recording.folder / name
        (shutil.copytree if original.is_dir() else shutil.copyfile)(original, folder / name)
    config = (recording.folder / "msgrun.toml").read_text()
    config = config.replace(str(recording.folder / "msgrun.db"), str(folder / "msgrun.db"))
    config = re.sub(r"^port = \d+$", f"port = {port}", config, flags=re.MULTILINE)
    (folder / "msgrun.toml").write_text(config)
    return World(folder, Workspace.of(load_config(folder / "msgrun.toml")))


AFTER_A_DOT = frozenset(
    {
        MessageState.SENDING,
        MessageState.SENT,
        MessageState.DEFERRED,
        MessageState.REJECTED,
        MessageState.IN_DOUBT,
    }
)
"""What the row of a message may say once its dot may have left: nothing that sends it again."""
