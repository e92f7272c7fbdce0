"""Figures as metrics: text that node_exporter's collector and OpenMetrics parsers both read.

Gauges only, so that Prometheus' text format 0.0.4 and OpenMetrics 1.0 say the same. No series is
of a customer or an address, and their number is bounded by that of the definitions.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Final, TextIO

from msgrun import __version__
from msgrun.ledger.census import WorkerState
from msgrun.ledger.figures import Figures, OfDefinition
from msgrun.states import MessageState, RunStatus

OTHERS: Final = "_others"
"""The definitions that are not configured any more, together."""

_Labels = Mapping[str, str]
_Sample = tuple[_Labels, float]


def write_metrics(figures: Figures, configured: Collection[str], stream: TextIO) -> None:
    """Write one sample a line.

    Args:
        figures: of every definition that ever had a run.
        configured: the definitions of today; only these have series of their own.
        stream: takes the text.
    """
    shown = _shown(figures, configured)
    for name, help_, samples in _families(figures, shown):
        stream.write(f"# HELP {name} {help_}\n# TYPE {name} gauge\n")
        for labels, value in samples:
            told = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
            stream.write(f"{name}{'{' + told + '}' if told else ''} {_number(value)}\n")
    stream.write("# EOF\n")


def _shown(figures: Figures, configured: Collection[str]) -> dict[str, OfDefinition]:
    shown = {name: figures.definitions.get(name, OfDefinition()) for name in sorted(configured)}
    others = OfDefinition()
    for name, each in figures.definitions.items():
        if name not in shown:
            others.runs += each.runs
            others.in_doubt += each.in_doubt
    return {**shown, OTHERS: others} if others.runs else shown


def _families(
    figures: Figures, shown: Mapping[str, OfDefinition]
) -> Iterator[tuple[str, str, list[_Sample]]]:
    yield "msgrun_info", "The program that wrote this.", [({"version": __version__}, 1)]
    at = figures.at.timestamp()
    yield "msgrun_metrics_timestamp_seconds", "When this was written.", [({}, at)]
    yield (
        "msgrun_runs",
        "Runs by definition and status.",
        [
            ({"definition": name, "status": status.value}, each.runs[status])
            for name, each in shown.items()
            for status in RunStatus
        ],
    )
    yield (
        "msgrun_invoices_in_doubt",
        "Invoices whose final answer was never heard, in any run: a person settles them.",
        [({"definition": name}, each.in_doubt) for name, each in shown.items()],
    )
    last = {name: each for name, each in shown.items() if each.last is not None}
    yield (
        "msgrun_last_run_messages",
        "Messages of the definition's last run, by state.",
        [
            ({"definition": name, "state": state.value}, each.messages[state])
            for name, each in last.items()
            for state in MessageState
        ],
    )
    yield (
        "msgrun_last_run_duration_seconds",
        "From the last run's start to its end, or until now.",
        [
            (
                {"definition": name},
                ((run.finished_at or figures.at) - run.started_at).total_seconds(),
            )
            for name, each in last.items()
            if (run := each.last) is not None and run.started_at is not None
        ],
    )
    ended = {
        name: run.finished_at.timestamp()
        for name, each in shown.items()
        if (run := each.finished) is not None and run.finished_at is not None
    }
    yield (
        "msgrun_last_finished_run_timestamp_seconds",
        "When the last run that finished did so.",
        [({"definition": name}, when) for name, when in ended.items()],
    )
    yield (
        "msgrun_last_finished_run_age_seconds",
        "How long ago that was when this was written.",
        [({"definition": name}, max(at - when, 0)) for name, when in ended.items()],
    )
    yield (
        "msgrun_workers",
        "Processes that work on runs, or look for one, by what they do.",
        [
            ({"state": state.value}, figures.workers.get(state, 0))
            for state in WorkerState
            if state is not WorkerState.ENDED
        ],
    )


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.3f}"
