"""Files that msgrun makes: other users of the machine need not read who is billed what."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.program import Program
from msgrun.database import Database
from msgrun.transport.file import FileTransport
from smtp.letters import Asked, envelope, letter


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def others_may(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode) & 0o077


def test_a_ledger_that_msgrun_makes_is_its_owners_alone(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'msgrun.db'}")

    database.upgrade()

    assert [file.name for file in tmp_path.iterdir() if others_may(file)] == []


def test_a_database_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    billing = tmp_path / "billing.db"
    billing.touch()
    billing.chmod(0o664)

    Database(f"sqlite:///{billing}").upgrade()

    assert stat.S_IMODE(billing.stat().st_mode) == 0o664


async def test_a_rehearsed_message_is_its_owners_alone(tmp_path: Path) -> None:
    await FileTransport(tmp_path).send(envelope(), letter(), Asked())

    (written,) = tmp_path.iterdir()
    assert others_may(written) == 0


def test_init_writes_no_password_and_nothing_that_can_be_run(program: Program) -> None:
    assert program("init", "made").code == 0

    for file in (program.folder / "made").rglob("*"):
        if file.is_file():
            assert not file.stat().st_mode & 0o111
            assert b"password = " not in file.read_bytes()
