"""What the doctor asks a server about a customer's message, and how often."""

from pathlib import Path

import pytest

from doctor_world import World
from msgrun.database import Database
from smtp.server import ScriptedServer, serving


@pytest.fixture
def world(sqlite_database: Database, tmp_path: Path) -> World:
    return World(sqlite_database, tmp_path)


def verbs(server: ScriptedServer) -> list[str]:
    return [command.split(" ")[0] for command in server.commands]


def test_the_customers_own_address_and_size_are_asked_about_and_nothing_is_sent(
    world: World,
) -> None:
    server = ScriptedServer()
    with serving(server):
        world.server["port"] = server.port
        world.ask(offline=False)

    assert verbs(server) == ["EHLO", "MAIL", "RCPT", "RSET", "QUIT"]
    assert server.commands[1].startswith("MAIL FROM:<billing@sender.test> SIZE=")
    assert server.commands[2] == "RCPT TO:<a@acme.test>"


def test_each_recipient_is_asked_about_once_however_many_cases_there_are(world: World) -> None:
    world.add_invoice("I2", "INV-2")
    world.further["twin"] = dict(world.definition)
    world.add("addresses", customer="C1", key="invoice", address="b@acme.test")
    server = ScriptedServer()
    with serving(server):
        world.server["port"] = server.port
        report = world.ask(offline=False)

    assert len(report.cases) == 4
    recipients = [command for command in server.commands if command.startswith("RCPT")]
    assert recipients == ["RCPT TO:<a@acme.test>", "RCPT TO:<b@acme.test>"]


def test_without_a_customer_no_recipient_is_asked_about(world: World) -> None:
    server = ScriptedServer()
    with serving(server):
        world.server["port"] = server.port
        world.ask(None, offline=False)

    assert verbs(server) == ["EHLO", "MAIL", "RSET", "QUIT"]


def test_offline_asks_nobody(world: World) -> None:
    server = ScriptedServer()
    with serving(server):
        world.server["port"] = server.port
        world.ask()

    assert server.connections == 0


def test_the_other_tls_mode_is_tried_without_login_and_sender(world: World) -> None:
    (world.folder / "secret").write_text("canary-4711")
    login = {"username": "billing", "password_file": "secret", "security": "tls"}
    server = ScriptedServer(extensions=("STARTTLS", "AUTH PLAIN"))
    with serving(server):
        world.server |= {"port": server.port, **login}
        report = world.ask(None, offline=False)

    assert "MR606" in {each.code for each in report.findings}
    assert {"AUTH", "MAIL", "RCPT"}.isdisjoint(verbs(server))
    assert "canary-4711" not in str(report)
