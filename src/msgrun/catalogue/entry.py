"""The form of one entry of the catalogue."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "info", "none"]
"""How much a finding weighs; "none" where the check itself could not answer."""


@dataclass(frozen=True, slots=True)
class CodeInfo:
    """What is known about one finding code, whoever it concerns.

    Attributes:
        code: "MR" and three digits; never renumbered.
        title: a few words, fit for one line of the doctor's output.
        severity: how much it weighs.
        explanation: what it means, how it comes about, and what happens to the message.
        remedy: what a person can do about it.
    """

    code: str
    title: str
    severity: Severity
    explanation: str
    remedy: str
