"""`--timeout`: the whole command ends in time, and what it did not learn is unknown."""

import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from doctor_world import TODAY, World, one
from msgrun.config import load_config
from msgrun.database import Database
from msgrun.doctor import Deadline, Status, diagnose
from msgrun.transport import patience
from msgrun.workspace import Workspace
from silent_server import silent


@pytest.fixture
def world(sqlite_database: Database, tmp_path: Path) -> World:
    return World(sqlite_database, tmp_path)


DIALOGUES = {
    "before the banner": (),
    "after the banner": ("220 mail.test ESMTP",),
    "after EHLO": ("220 mail.test ESMTP", "250 mail.test"),
}


@pytest.mark.parametrize("said", DIALOGUES)
@pytest.mark.parametrize("customer", ["C1", None])
def test_a_server_that_falls_silent_is_unknown_within_a_second_of_the_deadline(
    world: World, said: str, customer: str | None
) -> None:
    with silent(*DIALOGUES[said]) as port:
        world.server |= {"port": port, "timeout": 30}
        before = time.monotonic()

        report = world.ask(customer, offline=False, deadline=Deadline.after(0.7))

        spent = time.monotonic() - before
    found = one(report, "MR091")
    assert (found.status, found.stage) == (Status.UNKNOWN, "smtp")
    assert "--timeout" in found.evidence[0]
    assert "--timeout" in found.remedy
    assert 0.5 < spent < 1.7


def test_after_the_deadline_no_further_server_is_asked(world: World) -> None:
    asked = []
    with silent() as first, socket.create_server(("127.0.0.1", 0)) as second:
        world.server |= {"port": first, "timeout": 30}
        name, port = second.getsockname()
        world.further["other"] = {**world.definition, "from_key": "second"}
        file = world.workspace.config.path
        file.write_text(
            file.read_text() + f'\n[servers.next]\nhost = "{name}"\nport = {port}\n'
            'security = "none"\n[senders.second]\naddress = "b@sender.test"\nserver = "next"\n'
        )
        second.settimeout(0.01)
        workspace = Workspace.of(load_config(file, environ={}))
        report = diagnose(workspace, None, today=TODAY, deadline=Deadline.after(0.3))
        with suppress(TimeoutError):
            asked.append(second.accept())

    unknown = [each for each in report.findings if each.code == "MR091"]
    assert [each.subject for each in unknown] == ["default", "next"]
    assert "not asked" in unknown[1].evidence[0]
    assert asked == []


def test_a_servers_own_patience_is_kept_where_there_is_time(world: World) -> None:
    with silent() as port:
        world.server |= {"port": port, "timeout": 0.2}

        report = world.ask(offline=False, deadline=Deadline.after(60))

    assert one(report, "MR605").status is Status.FAIL


def test_a_resolver_that_never_answers_does_not_keep_the_command(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    monkeypatch.setattr(patience.socket, "getaddrinfo", lambda *_, **__: over.wait(20) and [])
    world.server |= {"host": "mail.sender.test", "timeout": 30}
    before = time.monotonic()
    try:
        report = world.ask(offline=False, deadline=Deadline.after(0.3))
        spent = time.monotonic() - before
    finally:
        over.set()

    assert one(report, "MR091").status is Status.UNKNOWN
    assert spent < 1.3


def test_without_any_time_not_even_a_name_is_looked_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(patience.socket, "getaddrinfo", lambda *name, **_: asked.append(name) or [])

    report = world.ask(offline=False, deadline=Deadline.after(0))

    assert "not asked; --timeout is over" in one(report, "MR091").evidence[0]
    assert asked == []


def test_an_unknown_host_is_still_told_as_such(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(patience.socket, "getaddrinfo", unknown)
    world.server["host"] = "mail.sender.test"

    report = world.ask(offline=False)

    assert "Name or service not known" in " ".join(one(report, "MR602").evidence)
