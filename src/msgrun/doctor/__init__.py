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
from msgrun.doctor.names import Names
from msgrun.doctor.sample import read_sample, sample_report, with_sample
from msgrun.doctor.unknown import unreadable_settings
from msgrun.doctor.verdict import FailOn, ending

__all__ = [
    "Case",
    "Deadline",
    "Expired",
    "FailOn",
    "Finding",
    "Names",
    "Report",
    "Stage",
    "StageResult",
    "Status",
    "Suppressed",
    "diagnose",
    "ending",
    "masked",
    "read_sample",
    "sample_report",
    "unreadable_settings",
    "with_sample",
]
