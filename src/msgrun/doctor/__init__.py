"""The doctor: why did a customer not receive a message?"""

from msgrun.doctor.diagnosis import diagnose
from msgrun.doctor.findings import Case, Finding, Report, Stage, StageResult, Status
from msgrun.doctor.names import Names
from msgrun.doctor.sample import read_sample, sample_report, with_sample
from msgrun.doctor.unknown import unreadable_settings

__all__ = [
    "Case",
    "Finding",
    "Names",
    "Report",
    "Stage",
    "StageResult",
    "Status",
    "diagnose",
    "read_sample",
    "sample_report",
    "unreadable_settings",
    "with_sample",
]
