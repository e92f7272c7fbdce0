"""The slots of a cron expression in a time zone, daylight saving included.

cronsim computes them: small, typed, kept, and written for a service that watches other people's
cron jobs. It goes by Debian's cron: a slot in the hour that is left out comes directly after it,
one in the hour that comes twice comes once. Where minute or hour is a star (`*/10 * * * *`), time
is taken as it passes: both of the repeated hours count. Two edges are our own: asked from within
the repeated hour, cronsim may answer with a time that is past, or skip one that is; and two slots
of a hole fall on the same moment, which is one slot.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

_SHIFT: Final = timedelta(hours=2)
"""More than any clock is put forward or back at once."""

_ANY_TIME: Final = datetime(2024, 1, 1, tzinfo=UTC)


def zone_of(name: str) -> tzinfo:
    """Return a time zone; UTC is known even where no time zone data is installed."""
    return UTC if name == "UTC" else ZoneInfo(name)


def check_cron(cron: str) -> None:
    """Refuse what is no cron expression, or one that never comes.

    Raises:
        ValueError: what is wrong with it.
    """
    if next_slot(cron, UTC, _ANY_TIME) is None:
        raise ValueError("no such day comes within 50 years")


def last_slot(cron: str, zone: tzinfo, now: datetime) -> datetime | None:
    """Return the latest slot at or before `now`, in `zone`; None where none has come.

    Raises:
        ValueError: `cron` is no cron expression.
    """
    past = (each for each in _from(cron, zone, now, back=True) if each <= now)
    found = next(past, None)
    return found and found.astimezone(zone)


def next_slot(cron: str, zone: tzinfo, now: datetime) -> datetime | None:
    """Return the first slot after `now`, in `zone`; None where none comes.

    Raises:
        ValueError: `cron` is no cron expression.
    """
    found = next((each for each in _from(cron, zone, now) if each > now), None)
    return found and found.astimezone(zone)


def slots_between(cron: str, zone: tzinfo, after: datetime, until: datetime) -> list[datetime]:
    """Return every slot after `after`, up to and with `until`, the earliest first, in UTC.

    Raises:
        ValueError: `cron` is no cron expression.
    """
    found: list[datetime] = []
    for slot in _from(cron, zone, after):
        if slot > until:
            break
        if slot > (found[-1] if found else after):
            found.append(slot)
    return found


def _from(cron: str, zone: tzinfo, now: datetime, *, back: bool = False) -> Iterator[datetime]:
    """Yield slots from somewhat before `now` on, or back from somewhat after it, in UTC."""
    from cronsim import CronSim, CronSimError

    away = _SHIFT if back else -_SHIFT
    try:
        slots = CronSim(cron, (now + away).astimezone(zone), reverse=back)
        for slot in slots:
            yield slot.astimezone(UTC)  # two times of one zone are compared by their clock faces
    except CronSimError as error:
        raise ValueError(str(error)) from error
