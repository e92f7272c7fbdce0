"""The SMTP transport: one connection, opened when needed and reopened when lost."""

from dataclasses import replace

from msgrun.failpoints import reach
from msgrun.model import ComposedMessage, Envelope, Outcome, Stage, Verdict
from msgrun.transport.base import Intent
from msgrun.transport.connection import Connection, open_connection
from msgrun.transport.server import ConnectionFault, ServerSettings

__all__ = ["Connection", "ConnectionFault", "ServerSettings", "SmtpTransport", "open_connection"]


class SmtpTransport:
    """Sends by SMTP; see `Transport`, whose promises these are. One send at a time.

    Args:
        settings: the server.
        redirect_to: every message goes to this address alone, whatever its envelope says.
    """

    def __init__(self, settings: ServerSettings, redirect_to: str | None = None) -> None:
        self._settings = settings
        self._redirect_to = redirect_to
        self._connection: Connection | None = None

    async def send(self, envelope: Envelope, message: ComposedMessage, intent: Intent) -> Outcome:
        """Try once to hand over `message`; see `Transport.send`.

        Raises:
            WithheldError: `intent` returned False.
        """
        if self._redirect_to is not None:
            # A second fence: no caller's mistake can reach a customer.
            envelope = replace(envelope, recipients=(self._redirect_to,), bcc=())
        outcome, reused = await self._try(envelope, message, intent)
        if reused and gone_idle(outcome):
            outcome, _ = await self._try(envelope, message, intent)
        return outcome

    async def close(self) -> None:
        """Say QUIT and close; bounded to a few seconds."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.session.quit()

    async def _try(
        self, envelope: Envelope, message: ComposedMessage, intent: Intent
    ) -> tuple[Outcome, bool]:
        """Return the outcome of one try, and whether its connection had been used before."""
        try:
            connection = await self._ready()
        except ConnectionFault as fault:
            return fault_outcome(fault), False
        reused = connection.transactions > 0
        connection.transactions += 1
        return await connection.session.send(envelope, message, intent), reused

    async def _ready(self) -> Connection:
        """Return a connection that may take one more message."""
        connection = self._connection
        if connection is not None:
            worn = connection.transactions >= self._settings.messages_per_connection
            if connection.session.usable and not worn:
                return connection
            await self.close()
        self._connection = await open_connection(self._settings)
        reach("connect.done")
        return self._connection


def fault_outcome(fault: ConnectionFault) -> Outcome:
    """Return what a connection that could not be opened means for the message: nothing."""
    return Outcome(
        Verdict.SERVER_FAULT, fault.stage, fault.reply, text=fault.text, finding=fault.finding
    )


def gone_idle(outcome: Outcome) -> bool:
    """Whether a reused connection turned out to be closed before it took anything.

    Servers close idle connections, and say so with 421 or nothing (RFC 5321, 3.8);
    that is no fault, and a new connection shows whether there is one.
    """
    closed = outcome.reply is None or outcome.reply.code == 421
    return (
        outcome.verdict is Verdict.SERVER_FAULT
        and outcome.stage is Stage.MAIL
        and outcome.finding == "MR603"
        and closed
    )
