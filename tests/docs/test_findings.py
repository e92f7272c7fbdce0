"""The page of findings says what the catalogue says, and covers all of it."""

import subprocess
import sys
from pathlib import Path

import pytest

from msgrun.catalogue import CATALOGUE, RESERVED, CodeInfo
from msgrun.catalogue.__main__ import page

PAGE = Path(__file__).parents[2] / "docs" / "findings.md"


def test_the_page_is_up_to_date() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "msgrun.catalogue"],
        capture_output=True, encoding="utf-8", timeout=60, check=True,
    ).stdout  # fmt: skip

    assert PAGE.read_text("utf-8") == made, "run: python -m msgrun.catalogue > docs/findings.md"
    assert made == page()


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.code)
def test_every_code_has_its_row_and_its_texts_on_the_page(entry: CodeInfo) -> None:
    shown = PAGE.read_text("utf-8")

    assert f"| [{entry.code}](#{entry.code.lower()}) | {entry.title} | {entry.severity} |" in shown
    section = shown.split(f"### {entry.code}\n")[1].split("\n### ")[0]
    assert entry.explanation in section
    assert entry.remedy in section


def test_the_page_names_no_code_twice_and_no_retired_one() -> None:
    shown = PAGE.read_text("utf-8")

    assert shown.count("\n### MR") == len(CATALOGUE)
    assert not any(f"### {code}" in shown for code in RESERVED)
