"""A world of `worlds/`: what is planted in the healthy office, and what the doctor must say.

Each folder is named after a finding code and holds one or more files. A file has

    databases   the kinds it makes sense on; both by default
    [[plant]]   the steps in order, one kind each:
                  add, change or empty = RELATION, with the values beside it
                  invoice = ID (and number, customer, …): an approved one of October
                  definition, sender or server = {keys to set}
                  further = NAME, with the keys that differ from `monthly`; forget = NAME
                  unset = KEY of the definition
                  section = NAME of another table of msgrun.toml, with its keys
                  file = NAME with text; gone = NAME
                  run = NAME (and period, cluster, limit, …): a run that is running
                  move = NAME, to = [statuses] (and reason, detail)
                  settle = NAME, state = STATE, with the columns beside it
                  sent = NAME: everything was accepted, the run has finished
    builder     a function of builders.py: a context manager for what data cannot say
    [dialogue]  a scripted mail server is asked: its answers by stage, `extensions`
    [dns]       a name server is asked; all is well there (`domain_world.ZONE`) but for
                  zone = lines NAME TYPE RECORD, in place of that name's records of that type
                  gone = ["NAME TYPE"], records that are taken away
                  fails, silent = [names]: SERVFAIL, no answer ("*" for all)
    headers     NAME of a file beside it: a received message, given with `--headers`
    [ask]       customer (C1; false for none), definition, run, cluster, period, offline
    [expected]  primary (the code), status, stage, evidence and remedy (parts of them),
                exit, verdict (a part), refines, also (codes that necessarily accompany it),
                raises (for what is no report: the error's text)
"""

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import builders

from doctor_world import World
from domain_world import DomainWorld
from msgrun.database import Database
from msgrun.doctor import (
    Finding,
    Report,
    Status,
    read_sample,
    sample_report,
    unreadable_settings,
    with_sample,
)
from msgrun.errors import ConfigError
from msgrun.ledger.rows import RunRow
from msgrun.states import MessageState, RunStatus
from name_server import NameServer, name_server
from smtp.server import ScriptedServer, serving

WORLDS = Path(__file__).parent / "worlds"
OFFERED = ("PIPELINING", "SIZE 10000000", "8BITMIME", "SMTPUTF8")
_PATIENCE = 0.3  # seconds for a name server that is silent
NOTABLE = frozenset({Status.FAIL, Status.WARN, Status.UNKNOWN, Status.CRASHED})


@dataclass(frozen=True)
class Planted:
    """One file of `worlds/`."""

    code: str
    path: Path

    @cached_property
    def content(self) -> Mapping[str, Any]:
        """What the file says."""
        return tomllib.loads(self.path.read_text(encoding="utf-8"))

    @property
    def name(self) -> str:
        """Code and file, for the test's name."""
        return f"{self.code}-{self.path.stem}"

    @property
    def expected(self) -> Mapping[str, Any]:
        """What the doctor must say."""
        expected: Mapping[str, Any] = self.content["expected"]
        return expected

    @property
    def sample(self) -> Path | None:
        """The received message that the doctor is given."""
        name = self.content.get("headers")
        return None if name is None else self.path.parent / name

    @property
    def databases(self) -> list[str]:
        """The kinds of database it is planted in."""
        return list(self.content.get("databases", ["sqlite", "postgresql"]))


def all_worlds() -> list[Planted]:
    """Return every world, by code."""
    return [Planted(path.parent.name, path) for path in sorted(WORLDS.glob("*/*.toml"))]


@contextmanager
def opened(content: Mapping[str, Any], database: Database, folder: Path) -> Iterator[World]:
    """Open the healthy office of a world; its name server, if it has one, runs inside."""
    if "dns" not in content:
        yield World(database, folder)
        return
    with name_server() as server:
        world = DomainWorld(database, folder, server)
        world.patience = _PATIENCE
        publish(server, **content["dns"])
        yield world


def publish(
    server: NameServer,
    zone: str = "",
    gone: Sequence[str] = (),
    fails: Sequence[str] = (),
    silent: Sequence[str] = (),
) -> None:
    """Change what a name server says, as `[dns]` has it."""
    lines = [line for line in zone.splitlines() if line.strip()]
    for name, kind in dict.fromkeys(tuple(line.split(None, 2)[:2]) for line in lines):
        server.forget(name, kind, missing_ok=True)
    for each in gone:
        name, kind = each.split()
        server.forget(name, kind)
    server.zone(zone)
    server.failing.update(fails)
    server.silent.update(silent)


@contextmanager
def planted(world: World, content: Mapping[str, Any]) -> Iterator[None]:
    """Plant the faults of a world; what the world needs to run stays up inside."""
    with ExitStack() as stack:
        runs: dict[str, RunRow] = {}
        for step in content.get("plant", []):
            plant(world, dict(step), runs)
        if "dialogue" in content:
            answers = dict(content["dialogue"])
            extensions = answers.pop("extensions", OFFERED)
            server = ScriptedServer(answers, extensions)
            stack.enter_context(serving(server))
            world.server["port"] = server.port
        if "builder" in content:
            build = getattr(builders, content["builder"])
            stack.enter_context(build(world))
        yield


def plant(world: World, step: dict[str, Any], runs: dict[str, RunRow]) -> None:
    """Take one step.

    Args:
        runs: the runs made so far by name; a new one is added.
    """
    kind = next(iter(step))
    _STEPS[kind](world, step.pop(kind), step, runs)


Values = dict[str, Any]
Runs = dict[str, RunRow]
Step = Callable[[World, Any, Values, Runs], object]


def _run(world: World, name: str, values: Values, runs: Runs) -> None:
    if "customers" in values:
        values["customers"] = tuple(values["customers"])
    runs[name] = world.run(**values)


def _move(world: World, name: str, values: Values, runs: Runs) -> None:
    statuses = [RunStatus(word) for word in values.pop("to")]
    world.move(runs[name], *statuses, **values)


def _settle(world: World, name: str, values: Values, runs: Runs) -> None:
    world.settle(runs[name], MessageState(values.pop("state")), **values)


def _change(world: World, relation: str, values: Values, _: Runs) -> None:
    # TOML knows no NULL.
    world.change(relation, **{k: None if v == "NULL" else v for k, v in values.items()})


def _write(world: World, name: str, values: Values, _: Runs) -> None:
    (world.folder / name).write_text(values["text"], encoding="utf-8")


_STEPS: Mapping[str, Step] = {
    "add": lambda world, relation, values, _: world.add(relation, **values),
    "change": _change,
    "empty": lambda world, relation, _values, _: world.empty(relation),
    "invoice": lambda world, key, values, _: world.add_invoice(
        key, values.pop("number", None), **values
    ),
    "definition": lambda world, keys, _values, _: world.definition.update(keys),
    "unset": lambda world, key, _values, _: world.definition.pop(key),
    "sender": lambda world, keys, _values, _: world.sender.update(keys),
    "server": lambda world, keys, _values, _: world.server.update(keys),
    "section": lambda world, name, values, _: world.sections.update({name: values}),
    "further": lambda world, name, values, _: world.further.update(
        {name: {**world.definition, **values}}
    ),
    "file": _write,
    "gone": lambda world, name, _values, _: (world.folder / name).unlink(),
    "forget": lambda world, name, _values, _: world.further.pop(name),
    "run": _run,
    "move": _move,
    "settle": _settle,
    "sent": lambda world, name, _values, runs: world.sent(runs[name]),
}


def ask(world: World, content: Mapping[str, Any], sample: Path | None = None) -> Report:
    """Ask the doctor as the world's file says.

    Args:
        sample: a received message that it is given.
    """
    asked = {"customer": "C1", "offline": True} | dict(content.get("ask", {}))
    if "dialogue" in content:
        asked["offline"] = False
    customer = asked.pop("customer") or None
    try:
        if sample is None:
            return world.ask(customer, **asked)
        assert isinstance(world, DomainWorld), "a sample is judged by a name server"
        received = read_sample(sample)
        if customer is None:
            return sample_report(received, world.names)
        return with_sample(world.ask(customer, **asked), received, world.names)
    except ConfigError as error:  # as the command does
        return unreadable_settings(error, customer)


def codes_of(report: Report) -> set[str]:
    """Return the codes of all that is not in order."""
    return {each.code for each in report.findings if each.status in NOTABLE}


def check(report: Report, code: str, expected: Mapping[str, Any]) -> None:
    """Hold a report against what is expected of it, and against anything beside it."""
    told = "\n".join(f"{each.status} {each.code}: {each.evidence}" for each in report.findings)
    found = [each for each in report.findings if each.code == code]
    assert found, f"{code} was not found:\n{told}"
    status = Status(expected.get("status", "fail"))
    finding = next((each for each in found if each.status is status), found[0])
    assert finding.status is status, told
    assert finding.stage == expected["stage"], told
    _holds(finding, expected)
    also = set(expected.get("also", []))
    wanted = also | ({code} if status in NOTABLE else set())
    assert codes_of(report) == wanted, told
    assert report.primary == expected.get("primary", code), told
    assert report.exit_code == expected.get("exit", 4), told
    assert expected.get("verdict", "") in report.verdict, report.verdict


def _holds(finding: Finding, expected: Mapping[str, Any]) -> None:
    evidence = " | ".join(finding.evidence)
    assert expected.get("evidence"), "a world says what the evidence must hold"
    for part in expected["evidence"]:
        assert part in evidence, f"{part!r} is not in {evidence!r}"
    for part in expected.get("remedy", []):
        assert part in finding.remedy, f"{part!r} is not in {finding.remedy!r}"
    assert finding.remedy or finding.status is Status.PASS, "each finding says what to do"
    assert finding.refines == expected.get("refines")
