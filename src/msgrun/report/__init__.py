"""A run reported to those who answer for it: what was sent, what was not and why, and the money."""

from msgrun.report.figures import (
    LISTED,
    Listed,
    Money,
    Provider,
    Reason,
    Report,
    read_report,
)
from msgrun.report.reading import Reported, read_messages
from msgrun.report.timeline import Timeline

__all__ = [
    "LISTED",
    "Listed",
    "Money",
    "Provider",
    "Reason",
    "Report",
    "Reported",
    "Timeline",
    "read_messages",
    "read_report",
]
