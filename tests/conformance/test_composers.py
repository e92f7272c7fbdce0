"""Composing on a thread and in a process of its own: the same bytes, the same errors."""

import asyncio
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from billing_world import World
from msgrun.control.work import take_on
from msgrun.delivery.composers import Composer, ProcessComposer, ThreadComposer
from msgrun.delivery.composing import Kitchen, Ready, Unsendable
from msgrun.errors import SourceError
from msgrun.ledger import messages, runs, workers
from msgrun.ledger.rows import Claim, RunRow
from msgrun.planning.draft import draft_run

DATE = datetime(2026, 11, 3, 12, tzinfo=UTC)


def planned(world: World) -> tuple[RunRow, Sequence[Claim]]:
    """Plan a run and claim its messages, without sending anything."""
    workspace = world.workspace
    frozen = world.frozen
    criteria = workspace.criteria(frozen, world.selection())
    with draft_run(workspace.database, workspace.source, frozen, criteria) as draft:
        run, token = draft.commit(
            "acme.test", lambda writing, run: (run, take_on(workspace, writing, run))
        )
    with workspace.database.write() as connection:
        claims = messages.claim(
            connection, workspace.database.tables, run_id=run.id, server="default", token=token,
            wanted=10, every=timedelta(0), now=workspace.database.now(connection),
            lease=workers.LEASE,
        )  # fmt: skip
    return run, claims


def kitchen_of(world: World, run: RunRow) -> Kitchen:
    workspace = world.workspace
    with workspace.database.read() as connection, connection.begin():
        frozen = runs.revisions(connection, workspace.database.tables, run.id)
    revisions = {number: workspace.revision(each, run.selection) for number, each in frozen.items()}
    return Kitchen(workspace.database, workspace.source, revisions)


async def composed(composer: Composer, claims: Sequence[Claim]) -> list[Ready | Unsendable]:
    try:
        return await composer.compose(claims)
    finally:
        composer.close()


async def test_a_process_makes_what_a_thread_makes(world: World) -> None:
    run, claims = planned(world)
    dated = [replace(claim, date=DATE) for claim in claims]
    here = await composed(ThreadComposer(kitchen_of(world, run)), dated)
    there = await composed(ProcessComposer(kitchen_of(world, run)), dated)
    assert there == here
    assert [each.claim for each in there] == dated
    assert all(isinstance(each, Ready) for each in there)


async def test_what_cannot_be_composed_says_the_same_from_a_process(world: World) -> None:
    run, claims = planned(world)
    world.remove("documents", invoice=claims[0].invoices[0])
    (first, *others) = await composed(ProcessComposer(kitchen_of(world, run)), claims)
    assert isinstance(first, Unsendable)
    assert first.error.finding == "MR401"
    assert first.error.hint
    assert all(isinstance(each, Ready) for each in others)


async def test_a_source_that_breaks_its_contract_is_told_from_a_process(world: World) -> None:
    run, claims = planned(world)
    world.change("customers", {"code": claims[0].customer}, meta="[")
    with pytest.raises(SourceError, match="MR006") as caught:
        await composed(ProcessComposer(kitchen_of(world, run)), claims)
    assert caught.value.hint


async def test_a_process_that_dies_is_done_without(world: World) -> None:
    run, claims = planned(world)
    composer = ProcessComposer(kitchen_of(world, run))
    try:
        await composer.compose(claims[:1])
        assert composer.pid is not None
        os.kill(composer.pid, signal.SIGKILL)
        made = await composer.compose(claims)
    finally:
        composer.close()
    assert [each.claim for each in made] == list(claims)
    assert all(isinstance(each, Ready) for each in made)


async def test_the_process_ends_with_its_composer(world: World) -> None:
    run, claims = planned(world)
    composer = ProcessComposer(kitchen_of(world, run))
    await composer.compose(claims[:1])
    pid = composer.pid
    assert pid is not None
    composer.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_one_that_is_closed_while_it_starts_leaves_no_process(world: World) -> None:
    run, _ = planned(world)
    composer = ProcessComposer(kitchen_of(world, run))
    beginning = asyncio.create_task(composer.begin())
    await asyncio.sleep(0)  # it has been told to start
    await asyncio.to_thread(composer.close)
    await beginning
    assert composer.pid is None


async def test_a_process_that_dies_between_two_questions_is_done_without(world: World) -> None:
    run, claims = planned(world)
    for _ in range(5):
        composer = ProcessComposer(kitchen_of(world, run))
        assert await composer.begin()
        assert composer.pid is not None
        os.kill(composer.pid, signal.SIGKILL)
        made = await asyncio.gather(*(composer.compose(claims) for _ in range(6)))
        composer.close()
        assert [[each.claim for each in batch] for batch in made] == [list(claims)] * 6
