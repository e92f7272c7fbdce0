"""Metrics: parsers of Prometheus and of OpenMetrics read them; names cannot break out."""

import io
from collections import Counter
from datetime import UTC, datetime

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from msgrun.ledger.figures import Figures, OfDefinition
from msgrun.states import RunStatus
from msgrun.ui.metrics import OTHERS, write_metrics

NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)
HOSTILE = 'a"} 1\nmsgrun_evil{x="\\'


def text_of(*configured: str, **definitions: OfDefinition) -> str:
    stream = io.StringIO()
    write_metrics(Figures(NOW, definitions, {}), configured, stream)
    return stream.getvalue()


def finished(number: int) -> OfDefinition:
    return OfDefinition(Counter({RunStatus.FINISHED: number}), in_doubt=number)


@pytest.mark.parametrize("parse", [prometheus, open_metrics])
def test_both_parsers_read_every_sample(parse) -> None:
    text = text_of("monthly", HOSTILE, monthly=finished(3))

    samples = [each for family in parse(text) for each in family.samples]

    assert len(samples) == sum(not line.startswith("#") for line in text.splitlines())
    assert {each.name for each in samples} & {"msgrun_evil"} == set()
    assert HOSTILE in {each.labels.get("definition") for each in samples}
    assert ("msgrun_runs", {"definition": "monthly", "status": "finished"}, 3.0) in [
        (each.name, each.labels, each.value) for each in samples
    ]


def test_every_metric_has_its_help_and_ends_with_a_known_unit_or_none() -> None:
    for family in open_metrics(text_of("monthly", monthly=finished(1))):
        assert family.documentation.endswith(".")
        assert family.type == "gauge"


def test_definitions_of_former_days_are_one_series() -> None:
    former = {f"old{each}": finished(1) for each in range(500)}

    text = text_of("monthly", **former)

    assert text.count(f'msgrun_invoices_in_doubt{{definition="{OTHERS}"}} 500') == 1
    assert len(text.splitlines()) < 100
