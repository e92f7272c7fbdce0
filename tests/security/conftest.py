"""A mail server, and the program in a folder of its own."""

import os
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest

from cli.program import Program
from msgrun.demo.sink import Sink, running_sink


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    """A mail server that takes everything."""
    with running_sink(tmp_path / "mail") as running:
        yield running


@pytest.fixture
def program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Program:
    """The program in a folder in which there is nothing yet."""
    folder = tmp_path / "billing"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.stdin", StringIO())  # no terminal, nothing to read
    for name in [name for name in os.environ if name.startswith("MSGRUN_")]:
        monkeypatch.delenv(name)
    return Program(folder, capsys)
