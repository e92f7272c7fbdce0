"""What happens while a run is drained; printers listen, services speak."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from msgrun.states import MessageState, RunStatus


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A worker begins to drain a run. Figures are messages; the rate is per minute, 0 for none."""

    run_id: int
    definition: str
    to_send: int
    already_sent: int
    rate_per_minute: int
    server: str
    redirect_to: str | None


@dataclass(frozen=True, slots=True)
class MessageSettled:
    """A try came to an end. `invoices` are numbers as people see them, `answer` is plain text."""

    customer: str
    recipients: tuple[str, ...]
    invoices: tuple[str, ...]
    state: MessageState
    reason: str | None
    answer: str
    due_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ServerTrouble:
    """The server cannot be used; it is tried again after so many seconds."""

    text: str
    retry_in: float


@dataclass(frozen=True, slots=True)
class WaitingForDeferred:
    """Only deferred messages are left; the next one is due then."""

    until: datetime
    deferred: int


@dataclass(frozen=True, slots=True)
class WaitingForWorker:
    """A run was handed over, and no worker is at it."""

    run_id: int


@dataclass(frozen=True, slots=True)
class Stopping:
    """No new message starts; what is in flight finishes."""

    why: str


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The worker has left the run."""

    run_id: int
    status: RunStatus
    reason: str | None
    detail: str | None


Event = (
    RunStarted
    | MessageSettled
    | ServerTrouble
    | WaitingForDeferred
    | WaitingForWorker
    | Stopping
    | RunEnded
)
Listener = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Listen to nothing."""
