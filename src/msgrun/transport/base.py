"""The narrow door through which mail leaves. Every transport passes one conformance suite."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from msgrun.model import ComposedMessage, Envelope, Outcome

Intent = Callable[[], Awaitable[bool]]
"""Called once, when all but the final dot is on the wire.

Returns True when the intent to send is committed and the dot may be written now;
False when it must not be (stop was asked, the claim is lost).
"""


class WithheldError(Exception):
    """The intent was refused: the dot was not written and the connection is closed."""


class Transport(Protocol):
    """One connection's worth of sending; opened on first use, reused, reopened when lost."""

    async def send(self, envelope: Envelope, message: ComposedMessage, intent: Intent) -> Outcome:
        """Try once to hand over `message` to the recipients of `envelope`.

        `intent` is awaited directly before the point of no return, at most once.
        Every failure of the server or the network is an `Outcome`, never an exception;
        only an outcome reached after `intent` returned True may be `IN_DOUBT`.

        Raises:
            WithheldError: `intent` returned False.
        """
        ...

    async def close(self) -> None:
        """Say goodbye (bounded in time); later sends open a new connection."""
        ...


TransportFactory = Callable[[], Transport]
"""Makes one transport for each connection of a run."""
