"""Every stage times every manner to fail (`chaos.toml`), with the answers cut to pieces."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence

import pytest

from campaign import Tally
from msgrun.model import Verdict
from smtp.cells import TABLE, Authority, Cell, exchange, setting
from smtp.server import USUAL, Answer

STAGES = (
    "banner",
    "ehlo",
    "starttls",
    "auth",
    "mail",
    "rcpt",
    "data",
    "body",
    "dot",
    "rset",
    "quit",
)
MANNERS = ("close", "reset", "421", "4xx", "5xx", "251", "garbage", "slow", "silent", "early")
GARBAGE = ("what?", "OK 250", "25", "999 no", "", "\x16\x03\x01\x02", "-250 x", "HTTP/1.1 200 OK")
FALSE = "250 2.0.0 Ok: queued as FALSE"
AT_ONCE = 10

CELLS = [
    Cell(stage, manner, expected)
    for stage, row in TABLE.items()
    for manner, expected in row.items()
]
each_cell = pytest.mark.parametrize("cell", CELLS, ids=lambda cell: f"{cell.stage}-{cell.manner}")


def test_every_stage_knows_every_manner() -> None:
    assert {stage: tuple(row) for stage, row in TABLE.items()} == dict.fromkeys(STAGES, MANNERS)


@each_cell
async def test_a_fault_has_its_verdict_and_harms_no_later_message(
    cell: Cell, authority_at: Authority, tally: Tally
) -> None:
    await repeat(cell, range(2), authority_at, tally)


@pytest.mark.campaign
@pytest.mark.timeout(300)
@each_cell
async def test_a_fault_has_its_verdict_every_time(
    cell: Cell, authority_at: Authority, tally: Tally
) -> None:
    await repeat(cell, range(2, 52), authority_at, tally)


async def repeat(
    cell: Cell, repetitions: Sequence[int], authority: Authority, tally: Tally
) -> None:
    """Play a cell again and again, some at once, and enter the figures."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(repetition: int) -> Verdict:
        async with room:
            return await play(cell, repetition, authority)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(repetition)) for repetition in repetitions]
    verdicts = Counter(task.result() for task in tasks)
    tally.add(
        "SMTP chaos: stage times manner",
        tried=len(repetitions),
        messages=2 * len(repetitions),
        doubts=verdicts[Verdict.IN_DOUBT],
        note="right class; no doubt before the dot; the next message unharmed",
    )


async def play(cell: Cell, repetition: int, authority: Authority) -> Verdict:
    """Let the server fail once, as it may come."""
    chance = random.Random(f"{cell.stage} {cell.manner} {repetition}")
    answers = script(cell, chance)
    server, changes = setting(cell, answers, chance, authority, pipelining=bool(repetition % 2))
    return (await exchange(cell, server, changes)).verdict


def script(cell: Cell, chance: random.Random) -> dict[str, Answer]:
    """Return what the server does, in the words of `smtp.server`."""
    usual = USUAL.get(cell.stage, "250 test.example")
    answer = {
        "close": "close",
        "reset": "reset",
        "421": "421 4.3.2 closing & close",
        "4xx": "451 4.3.0 not now",
        "5xx": "554 5.3.0 no",
        "251": "251 2.0.0 fine",
        "garbage": f"raw {chance.choice(GARBAGE)}",
        "slow": f"drip {usual} {'and so on' * 5}",
        "silent": "silent",
        "early": f"raw {usual}\r\n{FALSE}",
    }[cell.manner]
    if cell.stage == "body":
        special = {"silent": "stuck", "early": "354+552 5.3.4 too big"}
        return {"data": [special.get(cell.manner, f"early {answer}")]}
    if cell.stage == "rset":
        return {"rset": [answer], "rcpt": ["550 5.1.1 no such user"]}
    return {cell.stage: [answer]}
