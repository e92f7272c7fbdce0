"""The program in workspaces of its own, with a mail server on loopback."""

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from io import StringIO
from pathlib import Path

import pytest

from billing_world import World, make_world
from cli.program import DATA, REFUSED, Program, make_folder
from gated_sink import GatedSink, gated_sink
from msgrun.database import Database
from msgrun.demo.sink import Sink, running_sink


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    """A mail server that refuses some recipients."""
    with running_sink(tmp_path / "mail", refuse=REFUSED) as running:
        yield running


@pytest.fixture
def bare(
    tmp_path: Path,
    sink: Sink,
    sqlite_template: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Program:
    """The program in a workspace into which nothing was imported."""
    folder = tmp_path / "billing"
    folder.mkdir()
    make_folder(folder, sink.port, sqlite_template)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.stdin", StringIO())  # no terminal, nothing to read
    for name in [name for name in os.environ if name.startswith("MSGRUN_")]:
        monkeypatch.delenv(name)
    return Program(folder, capsys)


@pytest.fixture
def msgrun(bare: Program) -> Program:
    """The program in a workspace with five customers, one invoice each."""
    assert bare("import", *(f"{relation}.csv" for relation in DATA)).code == 0
    return bare


@pytest.fixture
def many(msgrun: Program) -> Callable[[int], Sequence[str]]:
    """Replace the invoices by so many of customer CU1; return their ids."""

    def replace(number: int) -> Sequence[str]:
        ids = [f"n{each:03}" for each in range(1, number + 1)]
        rows = "".join(f"{each},CU1,N-{each},Approved,2026-10-03\n" for each in ids)
        file = msgrun.write("invoices-many.csv", f"id,customer,number,status,date\n{rows}")
        assert msgrun("import", "--replace", file).code == 0
        return ids

    return replace


@pytest.fixture
def unused_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture
def gated(tmp_path: Path) -> Iterator[GatedSink]:
    """A mail server that withholds its answers until it is told."""
    with gated_sink(tmp_path / "mail") as running:
        yield running


@pytest.fixture
def billing(
    request: pytest.FixtureRequest,
    database: Database,
    tmp_path: Path,
    gated: GatedSink,
    capsys: pytest.CaptureFixture[str],
) -> tuple[World, Program]:
    """Some customers (else 12) on each kind of database, four connections, and the program."""
    customers = getattr(request, "param", 12)
    world = make_world(database, tmp_path, gated.port, customers=customers, connections=4)
    # No test here waits for a time-out.
    world.reconfigure("dot_timeout = 10", "dot_timeout = 120")
    world.reconfigure("\ntimeout = 5", "\ntimeout = 60")
    return world, Program(tmp_path, capsys)
