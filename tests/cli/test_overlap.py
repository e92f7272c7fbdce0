"""Cron starts again while the last run still works: exit 11, nothing written, one line."""

from collections import Counter

from billing_world import World, address, code
from cli.program import Program
from gated_sink import GatedSink, recipients_of, until
from ledger_rows import count_rows
from msgrun.control.restart import Proposal, restart
from msgrun.errors import ExitCode
from msgrun.states import RunStatus

Billing = tuple[World, Program]


def test_a_start_while_a_run_is_live_exits_11_and_writes_nothing(
    billing: Billing, gated: GatedSink
) -> None:
    world, msgrun = billing
    gated.hold()
    with msgrun.open("start", "--yes") as live:
        until(lambda: len(gated.dots) == 4)
        before = count_rows(world)

        for how in (("--yes",), ("--once",), ("--once", "--yes")):
            _refused(msgrun, *how)
        _refused_in_json(msgrun)

        assert count_rows(world) == before
        assert (gated.seen(), live.poll()) == (4, None)
        gated.let_go()
        live.communicate(timeout=60)
    assert live.returncode == ExitCode.DONE
    assert [run.status for run in world.runs()] == [RunStatus.FINISHED]
    assert Counter(recipients_of(gated.dots)) == dict.fromkeys(map(address, range(1, 13)), 1)


def _refused(msgrun: Program, *how: str) -> None:
    second = msgrun.outside("start", *how)
    assert (second.code, second.out) == (ExitCode.ALREADY_RUNNING, "")
    error, *hint = second.err.splitlines()
    assert error.startswith("error: ")
    assert [line[:6] for line in hint] == ["hint: "], "what is wrong, what to do, no more"


def _refused_in_json(msgrun: Program) -> None:
    second = msgrun.outside("start", "--once", "--json")
    assert second.code == ExitCode.ALREADY_RUNNING
    assert second.json.keys() == {"schema", "error"}
    assert second.json["error"]["code"] == "already_running"


def test_another_definition_runs_beside_a_live_one(billing: Billing, gated: GatedSink) -> None:
    world, msgrun = billing
    world.define_also("reminder")
    gated.hold()
    with msgrun.open("start", "monthly", "--yes") as monthly:
        until(lambda: len(gated.dots) == 4)
        with msgrun.open("start", "reminder", "--yes") as reminder:
            until(lambda: len(gated.dots) == 8, what="the second definition does not begin")
            assert [run.status for run in world.runs()] == [RunStatus.RUNNING] * 2
            gated.let_go()
            reminder.communicate(timeout=60)
        monthly.communicate(timeout=60)
    assert (monthly.returncode, reminder.returncode) == (ExitCode.DONE, ExitCode.DONE)
    assert [run.status for run in world.runs()] == [RunStatus.FINISHED] * 2
    assert Counter(recipients_of(gated.dots)) == dict.fromkeys(map(address, range(1, 13)), 2)


def test_a_restart_that_waits_for_an_answer_keeps_nobody_out(
    billing: Billing, gated: GatedSink
) -> None:
    world, msgrun = billing
    gated.refuse[address(1)] = "451 4.2.0 later"
    world.start()

    def meanwhile(_: Proposal) -> bool:
        assert msgrun.outside("start", "--yes", "--customer", code(2)).code == ExitCode.DONE
        return False

    assert restart(world.workspace, "1", failed=False, confirm=meanwhile, wait=False) is None
