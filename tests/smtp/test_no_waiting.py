"""A server that drips, freezes, or is cut off is waited for only so long."""

import asyncio
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pytest

from campaign import Tally
from msgrun.model import Outcome, Stage, Verdict
from msgrun.transport.smtp import SmtpTransport
from smtp.cells import IMPATIENT, TABLE, Authority, Cell, exchange, setting
from smtp.letters import Asked, envelope, letter, settings
from smtp.server import Answer

AT_ONCE: Final = 8
SLACK: Final = 4.0
"""Seconds that a busy machine may take beside the time-outs."""

BOUND: Final = 2 * IMPATIENT + SLACK
"""A connection that had gone idle is tried once more: twice the time-out at most."""

Play = Callable[[], Any]


# Slow drip: a byte now and then, for longer than anyone waits.


async def test_no_stage_waits_for_a_server_that_drips(
    authority_at: Authority, tally: Tally
) -> None:
    await drip(1, authority_at, tally)


@pytest.mark.campaign
@pytest.mark.timeout(300)
async def test_no_stage_ever_waits_for_a_server_that_drips(
    authority_at: Authority, tally: Tally
) -> None:
    await drip(2, authority_at, tally)


async def drip(rounds: int, authority: Authority, tally: Tally) -> None:
    """Let a server drip at every stage, in every form, so many times."""
    plays = [
        lambda stage=stage, form=form, number=number: drip_once(stage, form, number, authority)
        for number in range(rounds)
        for stage in (*TABLE, "handshake")
        for form in ("one endless line", "endless lines")
    ]
    verdicts = await all_of(plays)
    tally.add(
        "slow drip",
        tried=len(plays),
        messages=2 * len(plays),
        doubts=verdicts.count(Verdict.IN_DOUBT),
        note="ends within its time-out; the next message unharmed",
    )


async def drip_once(stage: str, form: str, number: int, authority: Authority) -> Verdict:
    """Drip one answer that would take minutes."""
    chance = random.Random(f"{stage} {form} {number}")
    code = {"banner": 220, "starttls": 220, "handshake": 220, "data": 354, "auth": 235}.get(stage)
    code = code or (221 if stage == "quit" else 250)
    answer = f"drip {code} {'x' * 9000}" if form == "one endless line" else f"endless {code}-"
    if stage == "handshake":
        answer = f"drip \x16\x03\x03\x08x{'x' * 9000}"  # the head of a TLS record of 2 kB
        cell = Cell("starttls", "slow", TABLE["starttls"]["slow"])
    else:
        cell = Cell(stage, "slow", TABLE[stage]["slow"])
    answers: dict[str, Answer] = {stage: [answer]}
    if stage == "body":
        answers = {"data": [f"early {answer}"]}
    elif stage == "rset":
        answers["rcpt"] = ["550 5.1.1 no such user"]
    return await timed(cell, answers, chance, authority)


# Half-open connections: nothing comes back, not even an acknowledgement.


async def test_no_stage_waits_for_a_server_that_is_cut_off(
    authority_at: Authority, tmp_path: Path, tally: Tally
) -> None:
    await cut_off(13, authority_at, tmp_path, tally)


@pytest.mark.campaign
@pytest.mark.timeout(300)
async def test_no_stage_ever_waits_for_a_server_that_is_cut_off(
    authority_at: Authority, tmp_path: Path, tally: Tally
) -> None:
    await cut_off(50, authority_at, tmp_path, tally)


async def cut_off(times: int, authority: Authority, folder: Path, tally: Tally) -> None:
    """Go through the ways to be cut off, until so many were tried."""
    if not sys.platform.startswith("linux"):
        pytest.skip("the packets of a connection are dropped by a filter of the Linux kernel")
    plays = list(islice(ways(authority, folder), times))
    verdicts = await all_of(plays)
    tally.add(
        "half-open TCP: packets dropped, buffers full, peer frozen",
        tried=times,
        messages=2 * times,
        doubts=verdicts.count(Verdict.IN_DOUBT),
        note="ends within its time-out; the next message unharmed",
    )


def ways(authority: Authority, folder: Path) -> Iterator[Play]:
    """Return one way after the other in which a server is cut off."""
    number = 0
    while True:
        number += 1
        for stage in TABLE:
            yield lambda stage=stage, number=number: vanish(stage, number, authority)
        yield never_connected
        yield lambda number=number: frozen(number, folder)


async def vanish(stage: str, number: int, authority: Authority) -> Verdict:
    """Drop every packet from a stage on; at `body`, let every buffer fill up as well."""
    chance = random.Random(f"{stage} {number}")
    cell = Cell(stage, "silent", TABLE[stage]["silent"])
    answers: dict[str, Answer] = {stage: ["vanish"]}
    if stage == "body":
        answers = {"data": [chance.choice(["early vanish", "stuck"])]}
    elif stage == "rset":
        answers["rcpt"] = ["550 5.1.1 no such user"]
    return await timed(cell, answers, chance, authority)


async def never_connected() -> Verdict:
    """Connect to a socket whose queue is full, so that the kernel drops the first packet."""
    with socket.socket() as listening, socket.socket() as only:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        only.connect(listening.getsockname())
        port = listening.getsockname()[1]
        transport, asked = SmtpTransport(settings(port, timeout=IMPATIENT)), Asked()
        async with asyncio.timeout(BOUND):
            outcome = await transport.send(envelope(), letter(), asked)
    assert (outcome.verdict, outcome.stage, outcome.finding) == (
        Verdict.SERVER_FAULT,
        Stage.CONNECT,
        "MR603",
    )
    assert asked.times == 0
    return outcome.verdict


async def frozen(number: int, folder: Path) -> Verdict:
    """Stop the server's process in the middle of a dialogue, and later let it go on."""
    moment = ("banner", "mail", "dot")[number % 3]
    with sink_process(folder / f"frozen-{number}") as (process, port):
        transport = SmtpTransport(settings(port, timeout=IMPATIENT, dot_timeout=IMPATIENT))
        if moment == "mail":
            before = await transport.send(envelope(), letter("<zero@acme.test>"), Asked())
            assert before.verdict is Verdict.ACCEPTED

        async def freeze() -> None:
            process.send_signal(signal.SIGSTOP)

        asked = Asked(meanwhile=freeze if moment == "dot" else None)
        if moment != "dot":
            await freeze()
        async with asyncio.timeout(BOUND):
            outcome = await transport.send(envelope(), letter(), asked)
        process.send_signal(signal.SIGCONT)
        later = await patiently(transport, letter("<two@acme.test>").message_id)
        await transport.close()
    if moment == "dot":
        assert (outcome.verdict, outcome.finding) == (Verdict.IN_DOUBT, "MR507")
    else:
        assert (outcome.verdict, outcome.stage) == (Verdict.SERVER_FAULT, Stage.BANNER)
        assert asked.times == 0
    assert later.verdict is Verdict.ACCEPTED, later
    return outcome.verdict


async def patiently(transport: SmtpTransport, message_id: str) -> Outcome:
    """Send, and try again while the server that was frozen needs longer than the time-out."""
    deadline = time.monotonic() + 10
    while True:
        outcome = await transport.send(envelope(), letter(message_id), Asked())
        if outcome.verdict is not Verdict.SERVER_FAULT or time.monotonic() > deadline:
            return outcome


@contextmanager
def sink_process(folder: Path) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """Run a mail server in a process of its own."""
    command = [sys.executable, "-u", "-m", "msgrun.demo.sink", "--port", "0"]
    with subprocess.Popen(
        [*command, "--directory", str(folder)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().split(";")[0].rsplit(":", 1)[1])
            yield process, port
        finally:
            process.kill()


# What both have in common.


async def timed(
    cell: Cell, answers: Mapping[str, Answer], chance: random.Random, authority: Authority
) -> Verdict:
    """Play a cell; it must end within the time-outs."""
    server, changes = setting(cell, answers, chance, authority, pipelining=chance.random() < 0.5)
    server.chance, server.pace = None, 0.01
    return (await exchange(cell, server, changes, within=BOUND)).verdict


async def all_of(plays: Sequence[Play]) -> list[Verdict]:
    """Play all, some at once."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(play: Play) -> Verdict:
        async with room:
            verdict: Verdict = await play()
            return verdict

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(play)) for play in plays]
    return [task.result() for task in tasks]
