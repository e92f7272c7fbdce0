"""The mail server's part: each server and sender is asked once, by the sender's own code."""

from dataclasses import dataclass
from typing import Final

from msgrun.doctor.deadline import Deadline
from msgrun.doctor.dialogue import Letter, address_of, converse, walk
from msgrun.doctor.findings import Finding, Stage, Status, crashed, found, skipped
from msgrun.doctor.names import Names
from msgrun.errors import ConfigError, PreflightError
from msgrun.ledger.rows import Frozen
from msgrun.transport.probe import ProbeReport
from msgrun.transport.server import ServerSettings
from msgrun.workspace import Workspace

PATIENCE: Final = 2
"""The whole dialogue may take so many times the server's `timeout`; then it is unknown."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known of a server.

    Attributes:
        report: None where it was not asked, or did not get that far.
    """

    findings: tuple[Finding, ...]
    report: ProbeReport | None = None


class Servers:
    """Asks mail servers up to RCPT; nothing is ever sent.

    Args:
        offline: whether to leave them alone.
        names: asks the name service; None for one of its own.
        deadline: after it no server is asked any more; None to ask all.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        offline: bool,
        names: Names | None = None,
        deadline: Deadline | None = None,
    ) -> None:
        self.offline = offline
        self.workspace = workspace
        nameserver = workspace.config.doctor.nameserver
        self.names = names or Names(nameserver, offline=offline, deadline=deadline)
        self._deadline = deadline
        self._seen: dict[tuple[str, str, str], Sight] = {}

    def of_letter(
        self, frozen: Frozen, recipient: str | None = None, size: int | None = None
    ) -> Sight:
        """Return what is known of the server that a definition's messages leave by.

        Args:
            recipient: the customer's address, asked about once for each server and sender.
            size: bytes of the message; only the first one counts.
        """
        try:
            sender = self.workspace.sender_of(frozen)
        except PreflightError:
            reason = "the definition's sender is not known"
            return Sight((skipped(Stage.SMTP, reason, frozen.name),))
        return self.named(sender.server, Letter(sender.address, recipient, size))

    def named(self, name: str, letter: Letter) -> Sight:
        """Return what is known of a server, asked about a letter."""
        key = (name, letter.sender or "", letter.recipient or "")
        if key not in self._seen:
            try:
                self._seen[key] = self._look(name, letter)
            except Exception as error:  # noqa: BLE001 - others ask for the same sight
                self._seen[key] = Sight((crashed(Stage.SMTP, error),))
        return self._seen[key]

    def _look(self, name: str, letter: Letter) -> Sight:
        server = self.workspace.config.servers.get(name)
        if server is None or not server.host or server.port is None:
            missing = "is not configured" if server is None else "has no host or no port"
            text = f"server '{name}' {missing}"
            remedy = f"set host and port under [servers.{name}]"
            return Sight((found("MR601", Stage.SMTP, text, remedy=remedy, subject=name),))
        try:
            settings = self.workspace.server_settings(name)
        except ConfigError as error:
            return Sight(
                (found("MR601", Stage.SMTP, error.message, remedy=error.hint, subject=name),)
            )
        if server.username and settings.password is None and settings.tokens is None:
            text = f"server '{name}' has the user name '{server.username}', but no password"
            remedy = f"set password_env, password_file, keyring or a token under [servers.{name}]"
            return Sight((found("MR601", Stage.SMTP, text, remedy=remedy, subject=name),))
        if self.offline:
            return Sight((skipped(Stage.SMTP, "--offline: the server was not asked", name),))
        return self._ask(settings, letter)

    def _ask(self, settings: ServerSettings, letter: Letter) -> Sight:
        patience = PATIENCE * settings.timeout

        def bounded(of: ServerSettings, about: Letter) -> ProbeReport:
            return walk(of, about, self._left(patience))

        limit = self._left(patience)
        try:
            return Sight(*converse(settings, letter, bounded))
        except TimeoutError:
            return Sight((_too_slow(settings, limit, whole=self._left(patience) < patience),))

    def _left(self, most: float) -> float:
        return most if self._deadline is None else self._deadline.left(most)


def _too_slow(settings: ServerSettings, limit: float, *, whole: bool) -> Finding:
    """Return MR091; `whole` where the time of the whole command was over first."""
    told = f"the dialogue was not over after {limit:.3g} s"
    remedy = "try again; `--offline` leaves the server out"
    cause = "the mail server is too slow to tell whether it works"
    if whole:
        told = f"{told}, the time of the whole command" if limit > 0 else "not asked"
        told += "; --timeout is over"
        remedy = "give more time with `--timeout SECONDS`; `--offline` leaves the server out"
        cause = "the time was over before the mail server had told whether it works"
    return found(
        "MR091", Stage.SMTP, f"{address_of(settings)}: {told}", status=Status.UNKNOWN,
        remedy=remedy, subject=settings.name, cause=cause,
    )  # fmt: skip
