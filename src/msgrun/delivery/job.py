"""What a worker is handed: one run, its frozen definitions, and the way out."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from msgrun.database import Database
from msgrun.events import Listener, ignore
from msgrun.ledger.journal import Journal
from msgrun.ledger.rows import RunRow
from msgrun.source import Source
from msgrun.transport.base import TransportFactory
from msgrun.workspace import Revision


@dataclass(frozen=True, slots=True)
class Job:
    """All that draining a run needs; transport and chance are passed in.

    Attributes:
        token: fences the worker's claims (`ledger.workers.register`).
        journal: takes the answers that the database does not.
        server: name of the server's shared rate row.
        every: time between two permits; zero for no limit.
        deadline: how long a message is tried again, from its first deferral.
        wait: whether to wait for deferred messages here.
        processes: how many processes work on it, this one included; the others compose.
        leaves: whether it leaves the last messages to the colleagues that hold them; else it
            waits until they have gone.
    """

    database: Database
    source: Source
    run: RunRow
    token: int
    journal: Journal
    revisions: Mapping[int, Revision]
    transport: TransportFactory
    server: str
    connections: int
    every: timedelta
    deadline: timedelta
    wait: bool
    processes: int = 1
    leaves: bool = False
    listener: Listener = ignore
    randomness: random.Random = field(default_factory=random.SystemRandom)
