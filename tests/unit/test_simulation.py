"""benchmarks/simulate.py: what is simulated obeys what can be reckoned by hand."""

import importlib
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from msgrun.ratelimit import interval
from msgrun.ratelimit import permits as real_permits

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = pytest.mark.skipif(
    not BENCHMARKS.is_dir(), reason="a source distribution has no benchmarks"
)


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The simulation, with costs of nothing; benchmarks/ is no package."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    made = importlib.import_module("simulated_costs")
    run = importlib.import_module("simulated_run")
    free = made.Costs(**{each.name: made.Cost(0.0) for each in fields(made.Costs)})
    quick = made.Scenario(
        messages=2_000, cores=8, database_trip=0.0, relay_trip=0.0, answer=0.0, connections=10
    )
    return SimpleNamespace(
        cost=made.Cost, free=free, quick=quick, simulate=run.simulate, permits=run.permits
    )


def rate(lab: SimpleNamespace, costs: object, **changes: object) -> float:
    found: float = lab.simulate(replace(lab.quick, **changes), costs).rate
    return found


def test_where_the_wire_is_the_limit_a_message_takes_as_long_as_the_wire(
    lab: SimpleNamespace,
) -> None:
    costs = replace(lab.free, wire=lab.cost(0.002))
    assert rate(lab, costs) == pytest.approx(500, rel=0.01)
    assert rate(lab, costs, hosts=3) == pytest.approx(1500, rel=0.02)
    assert lab.simulate(lab.quick, costs).limit == "event loops and writers"


def test_where_composing_is_the_limit_a_further_process_doubles_the_rate(
    lab: SimpleNamespace,
) -> None:
    costs = replace(lab.free, compose=lab.cost(0.004))
    assert rate(lab, costs) == pytest.approx(250, rel=0.03)
    assert rate(lab, costs, processes=3) == pytest.approx(500, rel=0.05)
    assert lab.simulate(lab.quick, costs).limit == "claiming and composing"


def test_workers_of_one_host_share_its_cores(lab: SimpleNamespace) -> None:
    costs = replace(lab.free, wire=lab.cost(0.002))
    assert rate(lab, costs, workers=4, cores=2) == pytest.approx(1000, rel=0.02)


@pytest.mark.parametrize("hosts", [1, 3, 10])
def test_however_many_workers_send_at_the_relays_rate(lab: SimpleNamespace, hosts: int) -> None:
    costs = replace(lab.free, wire=lab.cost(0.001), flush=lab.cost(0.001, 0.5))
    result = lab.simulate(replace(lab.quick, hosts=hosts, per_minute=6_000), costs)
    assert result.rate <= 100.5
    assert result.rate == pytest.approx(100, rel=0.01)
    assert result.limit == "relay's rate"


def test_no_message_leaves_before_its_permit_with_the_same_rule_as_the_program(
    lab: SimpleNamespace,
) -> None:
    began = datetime(2026, 11, 3, tzinfo=UTC)
    every = interval(600)
    real_free, free = None, 0.0
    for now, wanted in ((0.0, 3), (0.1, 48), (0.2, 48), (9.0, 48), (60.0, 1)):
        moments, real_free = real_permits(real_free, began + timedelta(seconds=now), every, wanted)
        simulated, free = lab.permits(free, now, every.total_seconds(), wanted)
        assert simulated == pytest.approx([(each - began).total_seconds() for each in moments])


def test_a_flush_of_the_databases_disk_serves_all_workers_that_wait(lab: SimpleNamespace) -> None:
    costs = replace(lab.free, flush=lab.cost(0.01))
    alone = rate(lab, costs, connections=1, messages=300)
    assert alone <= 100  # a connection's next message waits for the commit of its intent
    assert rate(lab, costs, connections=1, messages=1200, hosts=4) > 3 * alone


def test_the_relays_answers_are_waited_for_by_each_connection_alone(lab: SimpleNamespace) -> None:
    assert rate(lab, lab.free, connections=5, answer=0.05) == pytest.approx(100, rel=0.02)
    result = lab.simulate(replace(lab.quick, connections=5, answer=0.05), lab.free)
    assert result.limit.startswith("connections")


def test_the_same_seed_gives_the_same_figures(lab: SimpleNamespace) -> None:
    costs = replace(lab.free, wire=lab.cost(0.002, 0.5), flush=lab.cost(0.001, 0.5))
    assert rate(lab, costs) == rate(lab, costs)
    assert rate(lab, costs) != rate(lab, costs, seed=2)
