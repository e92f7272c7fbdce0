"""What a planned run looks like beside the last time: who is new, who is missing, what is far off.

`comparing` finds it out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from msgrun.planning.last_time import LastTime

FAR_TIMES: Final = 3
"""A customer's total, attachments or bytes are far off from so many times the last ones on, or
below the same part of them; or where the sign of the total has changed."""

FAR_SHARE: Final = 0.3
"""The run's own messages and totals are far off from this share of the last ones on."""

NAMED: Final = 5
"""So many customers of each kind are named."""


@dataclass(frozen=True, slots=True)
class Case:
    """One customer; before and now are words or figures, None where there is nothing to say."""

    customer: str
    before: str | None = None
    now: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Cases:
    """How many customers, exactly, and the first few by code."""

    count: int = 0
    examples: Sequence[Case] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of the whole run, last time and now."""

    before: Decimal
    now: Decimal

    @property
    def is_far(self) -> bool:
        """Whether it is more than `FAR_SHARE` off."""
        return abs(self.now - self.before) > abs(self.before) * Decimal(str(FAR_SHARE))


@dataclass(frozen=True, slots=True)
class Comparison:
    """A planned run beside the last time. What was not looked at is None.

    Attributes:
        last: what it is compared with.
        messages: those that customers got, and those that would go out.
        new: customers who get a message and got none.
        missing: customers who got one and get none, each with the reason.
        reasons: the same by reason; `MR122`: they have no invoice in this period.
        addresses: customers whose message goes to other addresses.
        totals: by currency.
        amounts: customers whose total in a currency is far off.
        gone: invoices of last time that the billing data no longer has: of their customers no
            amounts are compared, and no totals at all.
        attachments: customers with far more or fewer of them.
        sizes: customers whose messages are far larger or smaller; only a rehearsal knows.
    """

    last: LastTime
    messages: Figure
    new: Cases | None = None
    missing: Cases | None = None
    reasons: Mapping[str, int] = field(default_factory=dict)
    addresses: Cases | None = None
    totals: Mapping[str, Figure] | None = None
    amounts: Cases | None = None
    gone: int = 0
    attachments: Cases | None = None
    sizes: Cases | None = None
