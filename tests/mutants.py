"""Faults planted in the program, one at a time: the campaign has to fail on each of them.

A test that has never failed proves nothing; these are its failures, kept.
"""

from collections.abc import Callable
from typing import Any


def replace(owner: Any, name: str, value: Any) -> None:
    """Put `value` in the place of an attribute that is there."""
    assert hasattr(owner, name), f"{owner} has no {name}: the mutant no longer fits"
    setattr(owner, name, value)


def synchronous_normal() -> None:
    """Commit without syncing what makes a commit durable on SQLite."""
    _synchronous("NORMAL")


def synchronous_full() -> None:
    """Commit on SQLite without syncing the directory from which the journal was removed."""
    _synchronous("FULL")


def synchronous_off() -> None:
    """Let SQLite sync nothing at all."""
    _synchronous("OFF")


def _synchronous(level: str) -> None:
    import sqlite3

    from msgrun import database

    def weaken(raw: sqlite3.Connection, record: Any) -> None:
        sound(raw, record)
        raw.execute(f"PRAGMA synchronous = {level}")

    sound = database._prepare_sqlite
    replace(database, "_prepare_sqlite", weaken)


MUTANTS: dict[str, Callable[[], None]] = {
    "synchronous-normal": synchronous_normal,
    "synchronous-full": synchronous_full,
    "synchronous-off": synchronous_off,
}


def plant(name: str) -> None:
    """Plant a mutant in this process, before it does anything."""
    MUTANTS[name]()
