"""The name service as the doctor asks it: each name once a command, and not at all offline."""

from typing import Final

from msgrun.deliverability.names import reserved
from msgrun.deliverability.resolver import Answer, Resolver
from msgrun.doctor.deadline import Deadline
from msgrun.doctor.findings import Finding, Stage, Status, found

PATIENCE: Final = 60.0
"""Seconds that all look-ups of a command may take together, where no deadline is given."""


class Names:
    """Asks a name server.

    Args:
        nameserver: its address and port; None for the system's own.
        offline: whether to leave it alone.
        deadline: after which it is not asked any more.
    """

    def __init__(
        self,
        nameserver: tuple[str, int] | None,
        *,
        offline: bool,
        deadline: Deadline | None = None,
    ) -> None:
        self.offline = offline
        until = deadline or Deadline.after(PATIENCE)
        self.resolver = Resolver(nameserver, until.left)

    def left_out(self, domain: str) -> str:
        """Return why a domain is not looked up; "" when it may be."""
        if self.offline:
            return "--offline: the name service was not asked"
        return reserved(domain)


def undetermined(
    stage: Stage, what: str, answer: Answer | str, subject: str, *, decides: bool
) -> Finding:
    """Return MR091: the name service did not say.

    Args:
        what: a question, as the end of the sentence "it is not known …".
        decides: whether the check could have found an error.
    """
    return found(
        "MR091", stage, f"it is not known {what}", str(answer), status=Status.UNKNOWN,
        remedy="try again later; `--offline` leaves the name service out, `resolver` under "
        "[doctor] asks another one",
        subject=subject, cause=f"the name service did not say {what}", decides=decides,
    )  # fmt: skip
