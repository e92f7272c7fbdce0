"""Where the doubt lies: what happens around the intent, the dot and its answer."""

import asyncio

import pytest

from msgrun.model import Stage, Verdict
from msgrun.transport.base import WithheldError
from msgrun.transport.smtp import SmtpTransport
from smtp.letters import Asked, envelope, letter, noticed, settings
from smtp.server import ScriptedServer

PLAIN = ("SIZE 10000000", "8BITMIME")


async def test_intent_is_asked_when_the_server_has_the_body_and_no_dot() -> None:
    server = ScriptedServer()
    whole = letter().data
    seen: list[tuple[bytes, int]] = []

    async def look() -> None:
        await server.until(lambda: server.body.endswith(b"the end\r\n"))
        seen.append((server.body, len(server.messages)))

    async with server.running():
        transport = SmtpTransport(settings(server.port))
        asked = Asked(meanwhile=look)
        outcome = await transport.send(envelope(), letter(), asked)
        await transport.close()
    body, complete = seen[0]
    assert outcome.verdict is Verdict.ACCEPTED
    assert asked.times == 1
    assert complete == 0
    assert body == whole.replace(b"\r\n.", b"\r\n..")


async def test_a_withheld_message_never_completes() -> None:
    server = ScriptedServer()
    async with server.running():
        transport = SmtpTransport(settings(server.port))
        with pytest.raises(WithheldError):
            await transport.send(envelope(), letter(), Asked(answer=False))
        await server.until(lambda: server.gone == 1)
        assert server.messages == []
        assert b"\r\n.\r\n" not in b"".join(server.chunks)
        outcome = await transport.send(envelope(), letter("<two@acme.test>"), Asked())
        await transport.close()
    assert outcome.verdict is Verdict.ACCEPTED
    assert [b"<two@acme.test>" in message.data for message in server.messages] == [True]


async def test_an_intent_that_fails_lets_no_dot_leave() -> None:
    server = ScriptedServer()

    async def fail() -> None:
        raise LookupError("the ledger is gone")

    async with server.running():
        transport = SmtpTransport(settings(server.port))
        with pytest.raises(LookupError):
            await transport.send(envelope(), letter(), Asked(meanwhile=fail))
        await server.until(lambda: server.gone == 1)
        await transport.close()
    assert server.messages == []


async def test_a_server_that_leaves_during_the_intent_is_no_doubt() -> None:
    server = ScriptedServer({"data": "early 421 4.3.2 closing & close"})

    async def until_gone() -> None:
        await server.until(lambda: server.gone == 1)
        await noticed(transport)

    async with server.running():
        transport = SmtpTransport(settings(server.port))
        asked = Asked(meanwhile=until_gone)
        outcome = await transport.send(envelope(), letter(), asked)
        await transport.close()
    assert outcome.verdict is Verdict.SERVER_FAULT
    assert outcome.stage is Stage.DATA
    assert server.messages == []


async def test_a_stream_closed_during_the_intent_means_the_dot_was_not_written() -> None:
    server = ScriptedServer({"data": "early close"})

    async def until_gone() -> None:
        await server.until(lambda: server.gone == 1)
        await noticed(transport)

    async with server.running():
        transport = SmtpTransport(settings(server.port))
        asked = Asked(meanwhile=until_gone)
        outcome = await transport.send(envelope(), letter(), asked)
        await transport.close()
    assert asked.times == 1
    assert outcome.verdict is Verdict.SERVER_FAULT
    assert outcome.stage is Stage.DATA


@pytest.mark.parametrize("manner", ["early", "deaf"])
async def test_an_answer_during_the_body_ends_it(manner: str) -> None:
    server = ScriptedServer({"data": f"{manner} 552 5.3.4 too big"})
    body = b"\r\n" + (b"x" * 76 + b"\r\n") * 400_000

    async with server.running():
        transport = SmtpTransport(settings(server.port))
        large = letter(body=body)
        server.extensions = ()
        asked = Asked()
        outcome = await transport.send(envelope(), large, asked)
        await transport.close()
    assert outcome.verdict is Verdict.REJECTED
    assert outcome.stage is Stage.DATA
    assert outcome.finding == "MR405"
    assert asked.times == 0
    assert server.messages == []
    assert len(b"".join(server.chunks)) < len(body)


async def test_an_answer_during_the_intent_stops_the_dot() -> None:
    server = ScriptedServer({"data": "early 451 4.3.0 later"})

    async def until_answered() -> None:
        await noticed(transport)

    async with server.running():
        transport = SmtpTransport(settings(server.port))
        outcome = await transport.send(envelope(), letter(), Asked(meanwhile=until_answered))
        await transport.close()
    assert outcome.verdict is Verdict.DEFERRED
    assert outcome.stage is Stage.DATA
    assert server.messages == []


@pytest.mark.parametrize("stage", ["mail", "dot"])
async def test_cancelled_while_waiting_the_connection_is_gone(stage: str) -> None:
    server = ScriptedServer({stage: ["silent"]})
    async with server.running():
        transport = SmtpTransport(settings(server.port))
        sending = asyncio.create_task(transport.send(envelope(), letter(), Asked()))
        if stage == "dot":
            await server.until(lambda: server.messages != [])
        else:
            await server.until(lambda: any(c.startswith("MAIL") for c in server.commands))
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await server.until(lambda: server.gone == 1)
        outcome = await transport.send(envelope(), letter("<two@acme.test>"), Asked())
        await transport.close()
    assert outcome.verdict is Verdict.ACCEPTED
    assert server.connections == 2


async def test_cancelled_while_saying_goodbye_the_connection_is_gone() -> None:
    server = ScriptedServer({"quit": "silent"})
    async with server.running():
        transport = SmtpTransport(settings(server.port))
        await transport.send(envelope(), letter(), Asked())
        closing = asyncio.create_task(transport.close())
        await server.until(lambda: "QUIT" in server.commands)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        await server.until(lambda: server.gone == 1)


async def test_a_left_over_answer_is_never_credited_to_the_next_message() -> None:
    server = ScriptedServer({"dot": ["raw 250 Ok: queued as ONE\r\n250 Ok: queued as FALSE"]})
    async with server.running():
        transport = SmtpTransport(settings(server.port))
        first = await transport.send(envelope(), letter(), Asked())
        server.answers = {"rcpt": "550 5.1.1 no such user"}
        second = await transport.send(envelope(), letter("<two@acme.test>"), Asked())
        await transport.close()
    assert (first.verdict, first.queue_id) == (Verdict.ACCEPTED, "ONE")
    assert second.verdict is Verdict.REJECTED
    assert server.connections == 2


async def test_a_later_message_on_the_same_connection_is_not_in_doubt_before_its_dot() -> None:
    server = ScriptedServer({"rcpt": ["250 ok", "close"]})
    async with server.running():
        transport = SmtpTransport(settings(server.port))
        await transport.send(envelope(), letter(), Asked())
        outcome = await transport.send(envelope(), letter("<two@acme.test>"), Asked())
        await transport.close()
    assert (outcome.verdict, outcome.stage) == (Verdict.SERVER_FAULT, Stage.RCPT)


async def test_nothing_is_said_into_a_data_that_should_not_have_begun() -> None:
    server = ScriptedServer({"rcpt": "550 5.1.1 no", "data": "354 go ahead"})
    async with server.running():
        transport = SmtpTransport(settings(server.port))
        outcome = await transport.send(envelope(), letter(), Asked())
        await server.until(lambda: server.gone == 1)
        await transport.close()
    assert outcome.verdict is Verdict.REJECTED
    assert server.chunks[-1].endswith(b"DATA\r\n")


async def test_a_stray_answer_inside_a_transaction_never_makes_an_acceptance() -> None:
    server = ScriptedServer({"rcpt": "raw 250 ok\r\n250 Ok: queued as FALSE"}, PLAIN)
    async with server.running():
        transport = SmtpTransport(settings(server.port))
        asked = Asked()
        outcome = await transport.send(envelope(), letter(), asked)
        await transport.close()
    assert outcome.verdict is Verdict.SERVER_FAULT
    assert asked.times == 0
    assert server.messages == []
