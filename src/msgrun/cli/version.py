"""`msgrun --version`: the versions of what matters when something goes wrong."""

import platform
import sqlite3
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from msgrun import __version__

_PACKAGES: Final = ("SQLAlchemy", "psycopg", "aiosmtplib", "Jinja2", "pydantic", "procrastinate")


def version_lines() -> Iterator[str]:
    """Yield msgrun's own version, then what it runs on; what is not installed is left out."""
    yield f"msgrun {__version__}"
    yield f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    yield f"SQLite {sqlite3.sqlite_version}"
    for name in _PACKAGES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
