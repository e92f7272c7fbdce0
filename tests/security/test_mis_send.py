"""Mass mis-send: a person sees first what leaves, a trial is small, a rehearsal reaches nobody."""

import email.parser
import email.policy
from collections.abc import Iterator
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path

import pytest
from sqlalchemy import select

from billing_world import World, address, code, make_world
from cli.program import Program
from cli.test_terminal import Terminal
from msgrun.compose import message as message_module
from msgrun.compose.message import Recipe
from msgrun.compose.mime import Head
from msgrun.database import Database
from msgrun.delivery import sender as sender_module
from msgrun.model import Envelope
from msgrun.planning.draft import Plan
from msgrun.preflight import Preflight
from security.servers import serving
from smtp.server import ScriptedServer

REAL = "customer.test"  # the domain of every address of the world's customers
REHEARSAL = "me@operator.test"

on_one_database = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with serving(ScriptedServer()) as running:
        yield running


@pytest.fixture
def world(database: Database, tmp_path: Path, server: ScriptedServer) -> World:
    made = make_world(database, tmp_path, server.port, customers=6, bcc=[f"archive@{REAL}"])
    for number in (1, 2, 3):
        made.change("addresses", {"customer": code(number)}, display_name=f"Desk at {number}")
    return made


def recipients(server: ScriptedServer) -> list[str]:
    return [each.removeprefix("RCPT TO:<").rstrip(">") for m in server.messages for each in m.rcpts]


def seen_by(server: ScriptedServer) -> str:
    """Return all that the server was told outside bodies: commands and header fields."""
    heads = [each.data.partition(b"\r\n\r\n")[0].decode() for each in server.messages]
    return "\n".join([*server.commands, *heads])


def parsed(data: bytes) -> EmailMessage:
    message = email.parser.BytesParser(policy=email.policy.default).parsebytes(data)
    assert isinstance(message, EmailMessage)
    return message


# Asked first.


@on_one_database
def test_the_question_comes_with_count_total_and_first_and_last(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    server: ScriptedServer,
) -> None:  # fmt: skip
    monkeypatch.chdir(world.folder)
    terminal = Terminal(Program(world.folder, capsys), "start")
    terminal.read_until("[y/N]")
    before = terminal.screen
    terminal.type("n\n")
    terminal.end()

    assert "Send 6 messages?" in before
    assert "EUR 60.00" in before
    assert f"C001 {address(1)}" in before
    assert f"C006 {address(6)}" in before
    assert server.messages == []
    assert world.count("run") == 0


@on_one_database
@pytest.mark.parametrize("arguments", [(), ("--limit", "2"), ("--redirect-to", REHEARSAL)])
def test_where_nobody_can_be_asked_nothing_is_sent_without_yes(
    world: World, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], server: ScriptedServer,
) -> None:  # fmt: skip
    monkeypatch.chdir(world.folder)

    done = Program(world.folder, capsys).outside("start", *arguments)

    assert done.code == 2
    assert "--yes" in done.err
    assert server.commands == []
    assert world.count("run") == 0


def test_what_is_confirmed_is_what_is_sent(world: World, server: ScriptedServer) -> None:
    plans: list[Plan] = []

    def confirm(plan: Plan, _checked: Preflight) -> bool:
        plans.append(plan)
        # Until the answer is given nothing has left, and nobody was named to the server.
        assert not any(command.startswith(("RCPT", "DATA")) for command in server.commands)
        return True

    world.start(confirm=confirm)

    (plan,) = plans
    assert plan.messages == len(server.messages) == 6
    assert [customer for customer, _ in plan.ends] == [code(1), code(6)]


# A trial.


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_a_limited_run_sends_so_many_and_leaves_the_rest_free(
    world: World, server: ScriptedServer, limit: int
) -> None:
    world.start(limit=limit)

    assert len(server.messages) == limit
    assert sorted(world.states().values()).count("MR127") == 6 - limit

    world.start()

    assert sorted(recipients(server)) == sorted(
        [*map(address, range(1, 7)), *[f"archive@{REAL}"] * 6]
    )  # each once


# A rehearsal.


def test_a_redirected_run_shows_the_server_no_real_address(
    world: World, server: ScriptedServer
) -> None:
    """Commands and header fields; body and documents are what is rehearsed, and stay."""
    world.start(redirect_to=REHEARSAL)

    assert len(server.messages) == 6
    assert set(recipients(server)) == {REHEARSAL}
    assert REAL not in seen_by(server)
    assert "Desk at" not in seen_by(server)
    for each in server.messages:
        message = parsed(each.data)
        assert [a.addr_spec for a in message["To"].addresses] == [REHEARSAL]
        assert message["Subject"].startswith("[redirected] ")
        assert message["X-Msgrun-Redirected-From"] in {code(n) for n in range(1, 7)}
        assert {"Cc", "Bcc", "Resent-To", "Delivered-To"}.isdisjoint(message.keys())
        body = message.get_body()
        assert body is not None
        assert str(message["X-Msgrun-Redirected-From"]) in body.get_content()  # whose it would be


def test_a_redirected_run_restarted_stays_redirected(world: World, server: ScriptedServer) -> None:
    server.answers = {"rcpt": "451 4.2.0 later"}
    world.start(redirect_to=REHEARSAL)
    assert server.messages == []
    server.behave()

    ending, _ = world.restart()

    assert ending.summary.counts.sent == 6
    assert set(recipients(server)) == {REHEARSAL}
    assert REAL not in seen_by(server)


def test_a_rehearsal_does_not_stand_in_for_the_real_run(
    world: World, server: ScriptedServer
) -> None:
    world.start(redirect_to=REHEARSAL)
    world.start()

    real = [each for each in recipients(server) if each != REHEARSAL]
    assert sorted(real) == sorted([*map(address, range(1, 7)), *[f"archive@{REAL}"] * 6])


def test_the_transport_is_a_second_fence(
    world: World, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if composing and the guard at the dot forgot about it, no customer would be reached."""
    really = message_module._envelope

    def forgetful(recipe: Recipe, head: Head) -> Envelope:
        envelope = really(replace(recipe, redirect_to=None), head)
        return replace(envelope, recipients=(address(1), address(2)))

    monkeypatch.setattr(message_module, "_envelope", forgetful)
    assert world.start(redirect_to=REHEARSAL).summary.run.reason == "MR512"
    assert server.messages == []
    monkeypatch.setattr(sender_module, "leak_in", lambda *_: "")

    world.start(redirect_to=REHEARSAL)

    assert len(server.messages) == 6
    assert set(recipients(server)) == {REHEARSAL}
    assert REAL not in "\n".join(server.commands)


def test_the_redirection_is_part_of_the_run_on_record(world: World, database: Database) -> None:
    ending = world.start(redirect_to=REHEARSAL)

    run = ending.summary.run
    assert run.selection.redirect_to == REHEARSAL
    with database.read() as connection, connection.begin():
        stored = connection.execute(select(database.tables.run)).mappings().one()
    assert REHEARSAL in repr(dict(stored))


@on_one_database
@pytest.mark.parametrize("to", ["me@bücher.example.com", "Me@BÜCHER.example.com"])
def test_a_rehearsal_to_an_international_domain_needs_no_smtputf8(
    database: Database, tmp_path: Path, to: str
) -> None:
    with serving(ScriptedServer(extensions=("PIPELINING",))) as plain:
        world = make_world(database, tmp_path, plain.port, customers=2)
        world.start(redirect_to=to)

    local = to.partition("@")[0]
    assert set(recipients(plain)) == {f"{local}@xn--bcher-kva.example.com"}


@on_one_database
@pytest.mark.parametrize(
    "to",
    ["", "me", "me@operator.test, you@x.test", "me@x.test\r\nRCPT TO:<x@y.test>", "a@b@c.test"],
)
def test_a_rehearsal_to_what_is_no_address_is_refused(
    world: World, to: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    server: ScriptedServer,
) -> None:  # fmt: skip
    monkeypatch.chdir(world.folder)

    done = Program(world.folder, capsys)("start", "--yes", "--redirect-to", to)

    assert done.code == 2
    assert server.commands == []
    assert world.count("run") == 0
