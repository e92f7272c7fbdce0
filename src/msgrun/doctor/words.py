"""Times and commands as the doctor writes them."""

import shlex
from datetime import UTC, datetime

from msgrun.doctor.context import Context


def instant(moment: datetime | None) -> str:
    """Return a moment as RFC 3339 in UTC, to the second."""
    if moment is None:
        return "never"
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def start_command(context: Context, customer: str | None = None) -> str:
    """Return the exact `msgrun start …` for what is looked at."""
    selection = context.selection
    words = ["msgrun", "start", context.name]
    if selection is not None and selection.cluster is not None:
        words += ["--cluster", selection.cluster]
        if not selection.children:
            words.append("--no-children")
    if selection is not None:
        words += ["--period", context.period or "all"]
    if customer is not None:
        words += ["--customer", customer]
    return shlex.join(words)
