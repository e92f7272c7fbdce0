"""What the SMTP transport puts on the wire, and when."""

import asyncio
import socket

import pytest

from msgrun.model import Envelope, Stage, Verdict
from msgrun.transport.smtp import SmtpTransport
from smtp.letters import BODY, Asked, envelope, letter, settings
from smtp.server import ScriptedServer

PLAIN = ("SIZE 10000000", "8BITMIME")


async def test_a_lone_recipient_is_introduced_in_one_write_with_data() -> None:
    server = ScriptedServer()
    async with server.running():
        transport = SmtpTransport(settings(server.port))
        await transport.send(envelope(), letter(), Asked())
        await transport.close()
    size = len(letter().data)
    introduction = (
        f"MAIL FROM:<billing@acme.test> SIZE={size}\r\nRCPT TO:<customer@example.test>\r\nDATA\r\n"
    )
    assert introduction.encode() in server.chunks


async def test_data_waits_for_the_answers_where_there_are_several_recipients() -> None:
    server = ScriptedServer()
    async with server.running():
        transport = SmtpTransport(settings(server.port))
        await transport.send(
            envelope("a@example.test", bcc=("archive@acme.test",)), letter(), Asked()
        )
        await transport.close()
    together = [chunk for chunk in server.chunks if chunk.startswith(b"MAIL")]
    assert together[0].count(b"RCPT") == 2
    assert b"DATA" not in together[0]
    assert b"DATA\r\n" in server.chunks


async def test_nothing_is_pipelined_where_it_is_not_offered() -> None:
    server = ScriptedServer(extensions=PLAIN)
    async with server.running():
        transport = SmtpTransport(settings(server.port))
        await transport.send(envelope(), letter(), Asked())
        await transport.close()
    commands = [chunk for chunk in server.chunks if chunk[:4] in {b"MAIL", b"RCPT", b"DATA"}]
    assert len(commands) == 3


@pytest.mark.parametrize(
    "body",
    [
        BODY,
        b"\r\n.\r\n",
        b"\r\n..\r\n.\r\n",
        b"\r\n" + b".\r\n" * 50_000,
        b"\r\n" + b"x" * 70 + b"\r\n.y\r\n" * 20_000,
    ],
    ids=["mixed", "one dot", "two dots", "many dots", "many chunks"],
)
async def test_the_server_gets_the_very_bytes(body: bytes) -> None:
    server = ScriptedServer()
    async with server.running():
        transport = SmtpTransport(settings(server.port))
        outcome = await transport.send(envelope(), letter(body=body), Asked())
        await transport.close()
    assert outcome.verdict is Verdict.ACCEPTED
    assert server.messages[0].data == letter(body=body).data


async def test_a_message_that_begins_with_a_dot_arrives_whole() -> None:
    server = ScriptedServer()
    odd = letter()
    object.__setattr__(odd, "data", b".first\r\n\r\nbody\r\n")
    async with server.running():
        transport = SmtpTransport(settings(server.port))
        await transport.send(envelope(), odd, Asked())
        await transport.close()
    assert server.messages[0].data == odd.data


async def test_a_connection_the_server_closed_meanwhile_is_replaced_unseen() -> None:
    server = ScriptedServer({"mail": ["250 ok", "421 4.4.2 idle too long & close"]})
    async with server.running():
        transport = SmtpTransport(settings(server.port))
        first = await transport.send(envelope(), letter(), Asked())
        second = await transport.send(envelope(), letter("<two@acme.test>"), Asked())
        await transport.close()
    assert (first.verdict, second.verdict) == (Verdict.ACCEPTED, Verdict.ACCEPTED)
    assert server.connections == 2


async def test_a_server_that_keeps_closing_is_a_fault_after_one_more_try() -> None:
    server = ScriptedServer({"mail": ["250 ok"] + ["421 4.3.2 closing & close"] * 9})
    async with server.running():
        transport = SmtpTransport(settings(server.port))
        await transport.send(envelope(), letter(), Asked())
        outcome = await transport.send(envelope(), letter("<two@acme.test>"), Asked())
        await transport.close()
    assert outcome.verdict is Verdict.SERVER_FAULT
    assert server.connections == 2


async def test_a_connection_carries_only_so_many_messages() -> None:
    server = ScriptedServer()
    async with server.running():
        transport = SmtpTransport(settings(server.port, messages_per_connection=2))
        for number in range(5):
            await transport.send(envelope(), letter(f"<{number}@acme.test>"), Asked())
        await transport.close()
    assert server.connections == 3
    assert server.goodbyes == 3
    assert len(server.messages) == 5


async def test_a_goodbye_that_is_not_answered_is_not_waited_for() -> None:
    server = ScriptedServer({"quit": "silent"})
    async with server.running():
        transport = SmtpTransport(settings(server.port, timeout=0.2))
        await transport.send(envelope(), letter(), Asked())
        async with asyncio.timeout(5):
            await transport.close()
    assert len(server.messages) == 1


async def test_a_redirect_replaces_every_recipient() -> None:
    server = ScriptedServer()
    async with server.running():
        transport = SmtpTransport(settings(server.port), redirect_to="me@acme.test")
        to = envelope("a@example.test", "b@example.test", bcc=("archive@acme.test",))
        await transport.send(to, letter(), Asked())
        await transport.close()
    assert server.messages[0].rcpts == ["RCPT TO:<me@acme.test>"]
    assert "example.test" not in " ".join(server.commands)


async def test_a_message_over_the_advertised_size_is_not_begun() -> None:
    server = ScriptedServer(extensions=("PIPELINING", "SIZE 20"))
    async with server.running():
        transport = SmtpTransport(settings(server.port))
        outcome = await transport.send(envelope(), letter(), Asked())
        await transport.close()
    assert (outcome.verdict, outcome.stage) == (Verdict.REJECTED, Stage.MAIL)
    assert outcome.finding == "MR405"
    assert not any(command.startswith("MAIL") for command in server.commands)


async def test_size_zero_means_no_limit() -> None:
    server = ScriptedServer(extensions=("SIZE 0",))
    async with server.running():
        transport = SmtpTransport(settings(server.port))
        outcome = await transport.send(envelope(), letter(), Asked())
        await transport.close()
    assert outcome.verdict is Verdict.ACCEPTED


async def test_a_non_ascii_address_goes_with_smtputf8() -> None:
    server = ScriptedServer()
    text = "Subject: Grüße\r\n\r\nGrüße\r\n".encode()
    async with server.running():
        transport = SmtpTransport(settings(server.port))
        to = envelope("jørgen@example.test", smtputf8=True)
        outcome = await transport.send(to, letter(body=text), Asked())
        await transport.close()
    assert outcome.verdict is Verdict.ACCEPTED
    assert server.messages[0].mail.endswith(" BODY=8BITMIME SMTPUTF8")
    assert server.messages[0].rcpts == ["RCPT TO:<jørgen@example.test>"]


async def test_a_non_ascii_address_is_rejected_where_smtputf8_is_not_offered() -> None:
    server = ScriptedServer(extensions=PLAIN)
    async with server.running():
        transport = SmtpTransport(settings(server.port))
        to = envelope("jørgen@example.test", smtputf8=True)
        outcome = await transport.send(to, letter(), Asked())
        await transport.close()
    assert outcome.verdict is Verdict.REJECTED
    assert (outcome.finding, outcome.reply) == ("MR109", None)
    assert not any(command.startswith("MAIL") for command in server.commands)


@pytest.mark.parametrize(
    "to",
    [
        envelope("a@example.test>\r\nRCPT TO:<b@example.test"),
        envelope("a@example.test b@example.test"),
        envelope(""),
        envelope("a@example.test", bcc=("x\n@example.test",)),
        envelope(sender="billing@acme.test>\r\nDATA\r\n"),
    ],
)
async def test_an_address_can_not_smuggle_a_command(to: Envelope) -> None:
    server = ScriptedServer()
    async with server.running():
        transport = SmtpTransport(settings(server.port))
        outcome = await transport.send(to, letter(), Asked())
        await transport.close()
    assert outcome.verdict is Verdict.REJECTED
    assert outcome.finding in {"MR107", "MR203"}
    assert not any(command.startswith(("MAIL", "RCPT", "DATA")) for command in server.commands)


@pytest.mark.parametrize(
    "body", [b"\r\na\n.\nb\r\n", b"\r\na\r.\r\n", b"\r\nno end", b"\r\na\n.\r\nMAIL FROM:<x>\r\n"]
)
async def test_a_line_end_that_is_not_crlf_never_leaves(body: bytes) -> None:
    server = ScriptedServer()
    async with server.running():
        transport = SmtpTransport(settings(server.port))
        outcome = await transport.send(envelope(), letter(body=body), Asked())
        await transport.close()
    assert outcome.verdict is Verdict.REJECTED
    assert server.messages == []


async def test_nobody_listening_is_a_fault_with_its_address() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        transport = SmtpTransport(settings(port))
        asked = Asked()
        outcome = await transport.send(envelope(), letter(), asked)
    assert (outcome.verdict, outcome.stage) == (Verdict.SERVER_FAULT, Stage.CONNECT)
    assert outcome.finding == "MR603"
    assert f"127.0.0.1 port {port}" in outcome.text
    assert asked.times == 0


async def test_a_host_that_does_not_resolve_is_a_fault() -> None:
    transport = SmtpTransport(settings(25, host="a" * 64 + ".test"))  # a label may have 63
    outcome = await transport.send(envelope(), letter(), Asked())
    assert (outcome.verdict, outcome.stage) == (Verdict.SERVER_FAULT, Stage.RESOLVE)
    assert outcome.finding == "MR602"
