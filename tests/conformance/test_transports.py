"""What every transport promises: SMTP against two servers, files, and the fake."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path
from typing import Any

import aiosmtpd.smtp
import pytest

from msgrun.model import Outcome, Reply, Stage, Verdict
from msgrun.transport.base import Transport, WithheldError
from msgrun.transport.file import FileTransport, file_name
from msgrun.transport.memory import MemoryTransport
from msgrun.transport.smtp import SmtpTransport
from smtp.letters import Asked, envelope, letter, settings
from smtp.server import ScriptedServer

pytestmark = pytest.mark.filterwarnings(
    # aiosmtpd names its events after what newer Pythons deprecate.
    r"ignore::DeprecationWarning:aiosmtpd\..*"
)


@dataclass
class Subject:
    """A transport, and the bytes of what arrived behind it."""

    transport: Transport
    arrived: Callable[[], list[bytes]]


@asynccontextmanager
async def scripted(_: Path) -> AsyncIterator[Subject]:
    server = ScriptedServer()
    async with server.running():
        transport = SmtpTransport(settings(server.port))
        yield Subject(transport, lambda: [message.data for message in server.messages])
        await transport.close()


class Inbox:
    """A handler of the independent server that keeps what it gets."""

    def __init__(self) -> None:
        self.contents: list[bytes] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        self.contents.append(envelope.content)
        return "250 2.0.0 Ok: queued as INDEPENDENT"


@asynccontextmanager
async def independent(_: Path) -> AsyncIterator[Subject]:
    inbox = Inbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: aiosmtpd.smtp.SMTP(inbox, hostname="test.example", enable_SMTPUTF8=True),
        "127.0.0.1",
        0,
    )
    transport = SmtpTransport(settings(server.sockets[0].getsockname()[1]))
    yield Subject(transport, lambda: inbox.contents)
    await transport.close()
    server.close()


@asynccontextmanager
async def files(directory: Path) -> AsyncIterator[Subject]:
    folder = directory / "out"
    transport = FileTransport(folder)
    yield Subject(
        transport, lambda: [path.read_bytes() for path in sorted(folder.glob("*.eml"), key=age)]
    )
    await transport.close()


def age(path: Path) -> int:
    return path.stat().st_mtime_ns


@asynccontextmanager
async def memory(_: Path) -> AsyncIterator[Subject]:
    transport = MemoryTransport()
    yield Subject(transport, lambda: [message.data for _, message in transport.delivered])
    await transport.close()


@pytest.fixture(params=[scripted, independent, files, memory], ids=lambda make: make.__name__)
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    async with request.param(tmp_path) as made:
        yield made


async def test_an_accepted_message_arrives_byte_for_byte(subject: Subject) -> None:
    outcome = await subject.transport.send(envelope(), letter(), Asked())
    assert outcome.verdict is Verdict.ACCEPTED
    assert outcome.queue_id
    assert subject.arrived() == [letter().data]


async def test_intent_is_asked_once_and_before_anything_arrived(subject: Subject) -> None:
    before: list[int] = []

    async def look() -> None:
        before.append(len(subject.arrived()))

    asked = Asked(meanwhile=look)
    await subject.transport.send(envelope(), letter(), asked)
    assert asked.times == 1
    assert before == [0]


async def test_a_withheld_message_does_not_arrive_and_the_next_one_does(subject: Subject) -> None:
    with pytest.raises(WithheldError):
        await subject.transport.send(envelope(), letter(), Asked(answer=False))
    outcome = await subject.transport.send(envelope(), letter("<two@acme.test>"), Asked())
    assert outcome.verdict is Verdict.ACCEPTED
    assert subject.arrived() == [letter("<two@acme.test>").data]


async def test_an_intent_that_raises_lets_nothing_arrive(subject: Subject) -> None:
    async def fail() -> None:
        raise OSError("the ledger's disk is gone")

    with pytest.raises(OSError, match="ledger"):
        await subject.transport.send(envelope(), letter(), Asked(meanwhile=fail))
    assert subject.arrived() == []


async def test_cancelled_in_the_intent_nothing_arrives(subject: Subject) -> None:
    waiting, forever = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        waiting.set()
        await forever.wait()

    sending = asyncio.create_task(
        subject.transport.send(envelope(), letter(), Asked(meanwhile=wait))
    )
    await waiting.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert subject.arrived() == []
    outcome = await subject.transport.send(envelope(), letter("<two@acme.test>"), Asked())
    assert outcome.verdict is Verdict.ACCEPTED
    assert subject.arrived() == [letter("<two@acme.test>").data]


async def test_many_messages_arrive_each_once(subject: Subject) -> None:
    sent = [letter(f"<{number}@acme.test>") for number in range(120)]
    for message in sent:
        outcome = await subject.transport.send(envelope(), message, Asked())
        assert outcome.verdict is Verdict.ACCEPTED
    assert sorted(subject.arrived()) == sorted(message.data for message in sent)


async def test_a_message_with_several_recipients_arrives(subject: Subject) -> None:
    to = envelope("a@example.test", "b@example.test", bcc=("archive@acme.test",))
    outcome = await subject.transport.send(to, letter(), Asked())
    assert (outcome.verdict, outcome.refused, outcome.refused_bcc) == (Verdict.ACCEPTED, (), ())
    assert len(subject.arrived()) == 1


async def test_a_non_ascii_address_is_taken(subject: Subject) -> None:
    text = "Subject: Grüße\r\n\r\nGrüße\r\n".encode()
    to = envelope("jørgen@example.test", smtputf8=True)
    outcome = await subject.transport.send(to, letter(body=text), Asked())
    assert outcome.verdict is Verdict.ACCEPTED
    assert subject.arrived() == [letter(body=text).data]


async def test_after_close_it_sends_again(subject: Subject) -> None:
    await subject.transport.close()
    await subject.transport.send(envelope(), letter(), Asked())
    await subject.transport.close()
    await subject.transport.close()
    outcome = await subject.transport.send(envelope(), letter("<two@acme.test>"), Asked())
    assert outcome.verdict is Verdict.ACCEPTED
    assert len(subject.arrived()) == 2


async def test_what_arrives_is_a_message_with_its_id(subject: Subject) -> None:
    await subject.transport.send(envelope(), letter("<x@acme.test>"), Asked())
    assert message_from_bytes(subject.arrived()[0])["Message-ID"] == "<x@acme.test>"


# What only one of them promises.


async def test_the_fake_plays_its_script_then_accepts() -> None:
    later = Outcome(Verdict.DEFERRED, Stage.RCPT, Reply(450, "4.7.1", "Greylisted"))
    doubt = Outcome(Verdict.IN_DOUBT, Stage.DOT, text="no answer")
    transport = MemoryTransport({"customer@example.test": [later, doubt]})
    asked = Asked()
    outcomes = [await transport.send(envelope(), letter(), asked) for _ in range(3)]
    assert [outcome.verdict for outcome in outcomes] == [
        Verdict.DEFERRED,
        Verdict.IN_DOUBT,
        Verdict.ACCEPTED,
    ]
    assert asked.times == 2  # never for an answer before the dot
    assert transport.delivered == [(envelope(), letter())]


@pytest.mark.parametrize("message_id", ["<../../evil@x>", "<a/b@x>", "<.hidden@x>", "<é@x>"])
async def test_a_message_id_never_leads_out_of_the_folder(message_id: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    await FileTransport(folder).send(envelope(), letter(message_id), Asked())
    (written,) = folder.iterdir()
    assert written.suffix == ".eml"
    assert not written.name.startswith(".")
    assert list(tmp_path.iterdir()) == [folder]


def test_different_message_ids_have_different_files() -> None:
    names = {file_name(text) for text in ("<a/b@x>", "<a_b@x>", "<a?b@x>", f"<{'a' * 300}@x>")}
    assert len(names) == 4
    assert all(len(name) < 200 for name in names)


async def test_a_folder_that_cannot_be_written_is_a_fault_without_intent(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file, not a folder")
    asked = Asked()
    outcome = await FileTransport(tmp_path / "out").send(envelope(), letter(), asked)
    assert (outcome.verdict, outcome.finding) == (Verdict.SERVER_FAULT, "MR004")
    assert asked.times == 0
