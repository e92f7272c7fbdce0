"""The bytes that are composed, for the tests that look at nothing else."""

from typing import Any

from msgrun.compose import mime


def write_message(*parts: Any) -> bytes:
    """Return what `mime.write_message` writes."""
    return mime.write_message(*parts).data
