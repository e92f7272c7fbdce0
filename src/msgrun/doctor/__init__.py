"""The doctor: why did a customer not receive a message?"""

from msgrun.doctor.deadline import Deadline
from msgrun.doctor.diagnosis import diagnose
from msgrun.doctor.findings import (
    Case,
    Expired,
    Finding,
    Report,
    Stage,
    StageResult,
    Status,
    Suppressed,
)
from msgrun.doctor.masking import masked
from msgrun.doctor.unknown import unreadable_settings
from msgrun.doctor.verdict import FailOn, ending

__all__ = [
    "Case",
    "Deadline",
    "Expired",
    "FailOn",
    "Finding",
    "Report",
    "Stage",
    "StageResult",
    "Status",
    "Suppressed",
    "diagnose",
    "ending",
    "masked",
    "unreadable_settings",
]
