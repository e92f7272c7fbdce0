"""`[schedules.NAME]`: definitions that are run by the calendar."""

from datetime import timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field

from msgrun.config.sections import PeriodText, Section, Span, Text, delta_of
from msgrun.suggest import did_you_mean
from msgrun.timetable import check_cron


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        if name == "UTC":  # known everywhere, even where no time zone data is installed
            return name
        wanted = f"must be an IANA time zone; {did_you_mean(name, sorted(available_timezones()))}"
        raise ValueError(wanted) from None
    return name


def _cron(text: str) -> str:
    if len(text.split()) != 5:
        raise ValueError('must have five fields (minute hour day month weekday), as in "0 7 1 * *"')
    try:
        check_cron(text)
    except ValueError as exc:
        wanted = 'must be a cron expression, as in "0 7 1 * *"'
        raise ValueError(f"{wanted}: {str(exc).lower()}") from None
    return text


News = Literal["failed", "paused", "missed", "finished"]
"""What may be told of a slot; see `msgrun.config.notify`."""


class ScheduleConfig(Section):
    """`[schedules.NAME]`: a definition run by cron; `missed` says what a missed slot does.

    Attributes:
        cluster: the selection, like `period`; else the definition's usual one. Words such as
            "previous-month" are seen from the slot's day in `timezone`, however late it runs.
        missed: "run" makes up for the latest missed slot; "skip" runs a slot on time or not at all.
        grace: how late a slot may still be started with `missed = "run"`, and how long after it a
            run that the server paused is taken up again; see `grace_delta`.
        distributed: leave the run to the workers of any host (PostgreSQL).
        notify: what is told of this schedule, in place of `on` of `[notify]`; [] for nothing.
    """

    definition: Text = Field(description="give the name of a definition")
    cron: Annotated[str, AfterValidator(_cron)] = Field(
        description='give five fields, as in cron = "0 7 1 * *"'
    )
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    cluster: Text | None = None
    period: PeriodText | None = None
    missed: Literal["run", "skip"] = "run"
    grace: Span = "24h"
    distributed: bool = False
    notify: tuple[News, ...] | None = None

    @property
    def grace_delta(self) -> timedelta:
        """How late a slot may be started or its paused run be taken up again."""
        return delta_of(self.grace)
