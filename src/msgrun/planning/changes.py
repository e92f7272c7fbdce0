"""What today's rules change about the rows that a run already has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msgrun.model import Address


@dataclass(frozen=True, slots=True)
class Exclusion:
    """An invoice of a message that a rule excludes now."""

    message_id: int
    invoice: str
    customer: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unsent:
    """A message that could be sent now: the revision it goes by, and what it would hold."""

    customer: str
    revision: int
    invoices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AddressChange:
    """A message whose customer has other addresses now."""

    message_id: int
    customer: str
    revision: int
    before: tuple[Address, ...]
    after: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Reevaluation:
    """What the rules say now of a run's rows.

    Attributes:
        excluded: invoices of unsent messages that would no longer be sent.
        addresses: unsent messages that would go elsewhere.
        revived: messages (rejected, failed, skipped, bounced) that could be sent now, each with
            the customer it would go to.
        renamed: skipped rows with a new reason: message id to code.
    """

    excluded: Sequence[Exclusion]
    addresses: Sequence[AddressChange]
    revived: Mapping[int, str]
    renamed: Sequence[Exclusion]
