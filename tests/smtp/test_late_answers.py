"""An answer that comes after nobody waits for it any more is never the next message's."""

import asyncio
import random
from contextlib import suppress
from typing import Final

import pytest

from campaign import Tally
from msgrun.model import Outcome, Verdict
from msgrun.transport.smtp import SmtpTransport
from smtp.letters import Asked, envelope, letter, settings
from smtp.server import ScriptedServer

PATIENCE: Final = 0.2
AT_ONCE: Final = 10
YES, NO = "250 2.0.0 Ok: queued as LATE", "550 5.7.1 LATE"
OTHER = {YES: "554 5.6.0 the next one's own", NO: "250 2.0.0 Ok: queued as OWN"}
VERDICTS = {YES: Verdict.ACCEPTED, NO: Verdict.REJECTED}


async def test_a_late_answer_is_not_the_next_messages(tally: Tally) -> None:
    await answer_late(10, tally)


@pytest.mark.campaign
@pytest.mark.timeout(300)
async def test_a_late_answer_is_never_the_next_messages(tally: Tally) -> None:
    await answer_late(200, tally)


async def answer_late(times: int, tally: Tally) -> None:
    """Let the server answer late so many times, half of them after a cancel."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> bool:
        async with room:
            return await play(number)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(number)) for number in range(times)]
    unanswered = sum(task.result() for task in tasks)
    # Some answers come in the last moment, which is their right; most do not.
    assert unanswered > times // 2
    tally.add(
        "late answer, after a time-out or a cancel",
        tried=times,
        messages=3 * times,
        doubts=unanswered,
        note="the next message has its own answer, on a connection of its own",
    )


async def play(number: int) -> bool:
    """Send three messages, the first into a late answer; return whether that was given up."""
    chance = random.Random(number)
    late = chance.choice([YES, NO])
    delay = PATIENCE * chance.uniform(0.8, 2)
    server = ScriptedServer({"dot": [f"after {delay} {late}", OTHER[late]]}, chance=chance)
    if chance.random() < 0.5:
        server.extensions = ("SIZE 10000000",)
    async with server.running():
        cancelling = number % 2 == 1
        patience = 5 if cancelling else PATIENCE
        transport = SmtpTransport(settings(server.port, dot_timeout=patience))
        sending = asyncio.create_task(transport.send(envelope(), letter(), Asked()))
        if cancelling:
            await server.until(lambda: server.messages != [])
            await asyncio.wait({sending}, timeout=PATIENCE * chance.random())
            sending.cancel()
        outcome: Outcome | None = None
        with suppress(asyncio.CancelledError):
            outcome = await sending
        await asyncio.sleep(chance.choice([0, 0, delay]))
        second = await transport.send(envelope(), letter("<two@acme.test>"), Asked())
        third = await transport.send(envelope(), letter("<three@acme.test>"), Asked())
        await transport.close()
    given_up = outcome is None or outcome.verdict is Verdict.IN_DOUBT
    if outcome is not None and not given_up:
        assert outcome.verdict is VERDICTS[late]
    assert str(second.reply) == OTHER[late], second
    assert second.verdict is VERDICTS[NO if late is YES else YES]
    assert (third.verdict, third.queue_id) == (Verdict.ACCEPTED, "TEST01")
    assert server.connections == 1 + given_up
    return given_up
