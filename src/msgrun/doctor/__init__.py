"""The doctor: why did a customer not receive a message?"""

from msgrun.doctor.diagnosis import diagnose
from msgrun.doctor.findings import Case, Finding, Report, Stage, StageResult, Status
from msgrun.doctor.unknown import unreadable_settings

__all__ = [
    "Case",
    "Finding",
    "Report",
    "Stage",
    "StageResult",
    "Status",
    "diagnose",
    "unreadable_settings",
]
