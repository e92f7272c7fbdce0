"""What would ten hosts do? A simulation of workers, hosts, one database and one relay.

Usage: python benchmarks/simulate.py                      costs measured here, then the scenarios
       python benchmarks/simulate.py --costs FILE         costs of an earlier `costs.py --json FILE`
       python benchmarks/simulate.py --check              beside workers.py, on this machine
       python benchmarks/simulate.py --hosts 10 --rate 6000 --set flush=0.002   one scenario

It is deterministic: the same costs and options give the same figures.
"""

import argparse
import json
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

from simulated_costs import Cost, Costs, Result, Scenario
from simulated_run import simulate

ALLOWED = 0.25  # by how much a simulated rate may differ from the measured one


def told(name: str, scenario: Scenario, result: Result) -> Iterator[str]:
    """Yield a scenario's outcome for people."""
    hours = 10_000_000 / result.rate / 3600
    yield (
        f"{name}: {result.rate:,.0f} messages/s, ten million in {hours:,.1f} h; "
        f"{result.grouped:.1f} rows a commit; limit: {result.limit}"
    )
    parts = ", ".join(f"{part} {share:.0%}" for part, share in result.busy.items())
    yield f"    {parts}"


def scenarios(asked: argparse.Namespace) -> Iterator[tuple[str, Scenario]]:
    """Yield the one scenario that is asked for, or those of docs/scale.md."""
    if asked.hosts:
        yield _named(asked, asked.hosts, asked.rate), _scenario(asked, asked.hosts, asked.rate)
        return
    cores = len(os.sched_getaffinity(0))
    for workers in (1, 2, 4):
        yield f"this machine, {workers} workers", here(workers, 6000, 10, cores, 0.0)
    for rate in (600, 6_000, 60_000, 0):
        yield _named(asked, 10, rate), _scenario(asked, 10, rate)
    for hosts in (1, 2, 5, 20, 40):
        yield _named(asked, hosts, 0), _scenario(asked, hosts, 0)
    ten = _scenario(asked, 10, 0)
    name = _named(asked, 10, 0)
    yield f"{name}, 100 connections", replace(ten, connections=100)
    yield (
        f"{name}, 100 connections, 4 cores and processes",
        replace(ten, connections=100, processes=4, cores=4),
    )
    yield f"{name}, database 5 ms away", replace(ten, database_trip=0.005)
    yield f"{name}, relay answers in 200 ms", replace(ten, answer=0.2)
    limited = _scenario(asked, 10, 60_000)
    yield f"{_named(asked, 10, 60_000)}, database 5 ms away", replace(limited, database_trip=0.005)


def here(workers: int, messages: int, connections: int, cores: int, busy: float) -> Scenario:
    """Return the scenario of workers.py: everything on one machine, no network."""
    return Scenario(
        messages=messages,
        workers=workers,
        connections=connections,
        cores=cores,
        together=True,
        database_trip=0.0,
        relay_trip=0.0,
        answer=0.0,
        busy=busy,
    )


def _scenario(asked: argparse.Namespace, hosts: int, rate: int) -> Scenario:
    # Long enough that the first claims of all workers do not count.
    messages = min(asked.messages, max(2_000 * hosts, 40 * rate // 60))
    return Scenario(
        messages=messages,
        hosts=hosts,
        workers=asked.workers,
        connections=asked.connections,
        processes=asked.processes,
        cores=asked.cores,
        database_cores=asked.database_cores,
        database_trip=asked.database_trip / 1e3,
        relay_trip=asked.relay_trip / 1e3,
        answer=asked.answer / 1e3,
        per_minute=rate,
        seed=asked.seed,
    )


def _named(asked: argparse.Namespace, hosts: int, rate: int) -> str:
    return (
        f"{hosts} hosts of {asked.cores} cores, {asked.workers} workers each, "
        f"{f'{rate:,}/min' if rate else 'no rate'}"
    )


def check(asked: argparse.Namespace, costs: Costs | None) -> int:
    """Run workers.py here, and the simulation beside it; return 1 when they differ too much."""
    from costs import measure as measure_costs
    from costs import told as told_costs
    from workers import measure, yard_of

    cores = len(os.sched_getaffinity(0))
    worst = 0.0
    with yard_of(asked) as (yard, fresh):
        if costs is None:
            with fresh() as url:
                costs = measure_costs(yard, url)
        print(*told_costs(costs), sep="\n", flush=True)
        for workers in asked.check_workers:
            with fresh() as url:
                os.sync()
                figure = measure(yard, url, workers)
            scenario = here(workers, asked.messages, asked.connections, cores, figure.others)
            result = simulate(replace(scenario, size=asked.document * 3 // 2), costs)
            ratio = result.rate / figure.rate
            worst = max(worst, abs(math.log(ratio)))
            print(f"measured   {figure.line()}")
            print("simulated ", *told(f"{workers} workers", scenario, result), sep=" ")
            print(f"simulated / measured: {ratio:.2f}", flush=True)
    agreed = worst <= math.log(1 + ALLOWED)
    print(f"within {ALLOWED:.0%}: {'yes' if agreed else 'NO'}")
    return 0 if agreed else 1


def main() -> int:
    """Simulate what was asked for."""
    asked = _arguments()
    costs = None
    if asked.costs:
        costs = Costs.of(json.loads(asked.costs.read_text("utf-8")))
    if asked.check:
        return check(asked, costs)
    if costs is None:
        from costs import measure_here

        costs = measure_here(asked)
    for name, value in asked.set:
        costs = replace(costs, **{name: Cost(value)})
    for name, scenario in scenarios(asked):
        print(*told(name, scenario, simulate(scenario, costs)), sep="\n", flush=True)
    return 0


def _arguments() -> argparse.Namespace:
    def change(given: str) -> tuple[str, float]:
        name, _, value = given.partition("=")
        if name not in {each.name for each in fields(Costs)}:
            raise argparse.ArgumentTypeError(f"no cost is called {name}")
        return name, float(value)

    def numbers(given: str) -> list[int]:
        return [int(number) for number in given.split(",")]

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--costs", type=Path, help="a file of costs.py; without: measured now")
    parser.add_argument("--check", action="store_true", help="beside what workers.py measures")
    parser.add_argument("--check-workers", type=numbers, default=[1, 2, 4], metavar="N,N")
    parser.add_argument("--messages", type=int, default=None)
    parser.add_argument("--document", type=int, default=30_000, metavar="BYTES")
    parser.add_argument("--hosts", type=int, default=0, help="one scenario of so many hosts")
    parser.add_argument("--rate", type=int, default=0, help="of the relay, a minute; 0: none")
    parser.add_argument("--workers", type=int, default=1, help="on each host")
    parser.add_argument("--connections", type=int, default=None, help="of a worker")
    parser.add_argument("--processes", type=int, default=2, help="of a worker; all but one compose")
    parser.add_argument("--cores", type=int, default=2, help="of a host")
    parser.add_argument("--database-cores", type=int, default=8)
    parser.add_argument("--database-trip", type=float, default=0.5, metavar="MS")
    parser.add_argument("--relay-trip", type=float, default=5.0, metavar="MS")
    parser.add_argument("--answer", type=float, default=20.0, metavar="MS")
    parser.add_argument("--set", type=change, action="append", default=[], metavar="COST=SECONDS")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the scratch folder is made: on a disk")
    asked = parser.parse_args()
    asked.messages = asked.messages or (6000 if asked.check else 40_000)
    asked.connections = asked.connections or (10 if asked.check else 20)
    return asked


if __name__ == "__main__":
    sys.exit(main())
