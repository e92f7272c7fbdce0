"""How fast a worker is: what it shows of itself with each sign of life."""

from collections import deque
from typing import Final

from msgrun.clock import boot_seconds
from msgrun.events import Event, Listener, MessageSettled
from msgrun.states import MessageState

_MINUTE: Final = 60.0


class Pace:
    """Counts the accepted messages that pass on their way to a listener.

    Args:
        listener: told everything that this is told.
    """

    def __init__(self, listener: Listener) -> None:
        self.sent = 0
        self._listener = listener
        self._began = boot_seconds()
        self._lately: deque[float] = deque()

    def __call__(self, event: Event) -> None:
        """Hear an event, and pass it on."""
        if isinstance(event, MessageSettled) and event.state is MessageState.SENT:
            self.sent += 1
            self._lately.append(boot_seconds())
        self._listener(event)

    def per_minute(self) -> int:
        """Return how many were accepted in the last minute; before that, at the pace so far."""
        now = boot_seconds()
        while self._lately and self._lately[0] < now - _MINUTE:
            self._lately.popleft()
        over = min(max(now - self._began, 1.0), _MINUTE)
        return round(len(self._lately) * _MINUTE / over)
