"""`[doctor]`: what the doctor may ask, and which of its findings are known and accepted."""

from datetime import date
from typing import Annotated

from pydantic import Field

from msgrun.config.sections import Section, Text, Words


class SuppressionConfig(Section):
    """`[[doctor.suppress]]`: a finding that is known and does not count for now.

    Attributes:
        code: of the catalogue, e.g. "MR110".
        customer: a pattern of customer codes as in a shell ("CU4*"); "*" for all.
        reason: why it is accepted; shown with it.
        until: the last day on which it is suppressed; None for no end.
    """

    code: Annotated[str, Field(pattern=r"^MR[0-9]{3}$")] = Field(
        description='give a code of the catalogue, as in code = "MR110"'
    )
    customer: Text = "*"
    reason: Words = Field(description="say why it is accepted")
    until: date | None = None


class DoctorConfig(Section):
    """`[doctor]`.

    Attributes:
        resolver: the name server to ask, "HOST" or "HOST:PORT"; empty for the system's own.
        suppress: findings that do not count.
    """

    resolver: str = ""
    suppress: tuple[SuppressionConfig, ...] = ()
