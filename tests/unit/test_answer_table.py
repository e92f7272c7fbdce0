"""What a server's answer means, as promised: every row of `answer_table.toml`."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from msgrun.catalogue import CATALOGUE
from msgrun.model import Stage, Verdict
from msgrun.transport.answers import classify, make_reply

ROWS = tomllib.loads((Path(__file__).parent / "answer_table.toml").read_text(encoding="utf-8"))[
    "row"
]
REPLIES = [row for row in ROWS if "says" in row]
OTHERS = [row for row in ROWS if "says" not in row]
VERDICTS = {
    "message_reject": Verdict.REJECTED,
    "message_defer": Verdict.DEFERRED,
    "server_fault": Verdict.SERVER_FAULT,
    "quota_fault": Verdict.SERVER_FAULT,
}


def name(row: dict[str, Any]) -> str:
    return str(row["answer"])


@pytest.mark.parametrize("row", REPLIES, ids=name)
def test_a_reply_is_understood(row: dict[str, Any]) -> None:
    lines: list[str] = row["says"]
    meaning = classify(Stage(row["stage"]), make_reply(int(lines[0][:3]), [x[4:] for x in lines]))
    assert (meaning.fault_class, meaning.finding) == (row["class"], row["finding"])
    assert meaning.verdict is VERDICTS[row["class"]]
    assert [word for word in row["remedy"] if word.lower() not in meaning.remedy.lower()] == []


@pytest.mark.parametrize("row", OTHERS, ids=name)
def test_what_is_no_reply_has_its_remedy(row: dict[str, Any]) -> None:
    remedy = CATALOGUE[row["finding"]].remedy.lower()
    assert [word for word in row["remedy"] if word.lower() not in remedy] == []


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_each_finding_of_the_table_can_be_explained(row: dict[str, Any]) -> None:
    assert row["finding"] in CATALOGUE
