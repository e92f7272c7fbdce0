"""Which definition and which selection a command line means."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from msgrun.cli.opening import is_interactive, prompt
from msgrun.errors import UsageError

if TYPE_CHECKING:
    from msgrun.config import Config
    from msgrun.model import Selection
    from msgrun.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Asked:
    """The selection as it stands on the command line.

    Raises:
        UsageError: `bcc` or `redirect_to` is no mail address.
    """

    cluster: str | None
    children: bool
    period: str | None
    customers: Sequence[str]
    limit: int | None
    bcc: Sequence[str]
    redirect_to: str | None
    resend: bool

    def __post_init__(self) -> None:
        for address in self.bcc:
            check_address("--bcc", address)
        if self.redirect_to is not None:
            check_address("--redirect-to", self.redirect_to)

    def resolve(self, workspace: "Workspace", definition: str) -> "Selection":
        """Return the selection, the definition's usual cluster and period filled in.

        Raises:
            UsageError: there is no period, or one that is none.
            NotFoundError: no such definition, cluster or customer.
        """
        return workspace.selection(
            workspace.config.definition(definition),
            today=datetime.now().astimezone().date(),
            cluster=self.cluster,
            children=self.children,
            period=self.period,
            customers=self.customers,
            limit=self.limit,
            redirect_to=self.redirect_to,
            bcc=self.bcc,
            resend=self.resend,
        )


def check_address(option: str, address: str) -> None:
    """Refuse what is no mail address.

    Raises:
        UsageError: it is none.
    """
    from email_validator import EmailNotValidError, validate_email

    try:
        validate_email(address, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise UsageError(
            f"{option} '{address}' is no mail address: {error}", "give one like name@example.com"
        ) from error


def choose_definition(config: "Config", name: str | None) -> str:
    """Return the definition that is meant: the named one, the only one, or the one chosen now.

    Raises:
        NotFoundError: no such definition, or it is disabled.
        UsageError: there are several, or none, and nobody can be asked.
    """
    if name is not None:
        config.definition(name)
        return name
    enabled = [each for each, definition in config.definitions.items() if definition.enabled]
    if len(enabled) == 1:
        return enabled[0]
    if not enabled:
        raise UsageError(
            f"{config.path} has no enabled definition", "add a [definitions.NAME] table"
        )
    names = ", ".join(enabled)
    if is_interactive():
        return choose_definition(config, prompt(f"Which definition ({names})? ") or enabled[0])
    raise UsageError(f"which definition? There are {names}", f"for example: {enabled[0]}")
