"""The security page names code and tests that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "SECURITY.md").read_text("utf-8")
ROWS = [
    [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| risk")
]
CHECKLIST = {
    "Header injection", "SMTP commands", "STARTTLS", "smuggling", "CVE-2023-27043", "sandbox",
    "documents folder", "protected", "Passwords", "escape sequences", "Formulas", "very many",
    "silently encoded",
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:30] for row in ROWS])
def test_every_test_and_module_of_the_table_is_there(row: list[str]) -> None:
    _, held, shown = row
    modules, tests = re.findall(r"`([\w/]+(?:\.py|/))`", held), re.findall(r"`([^`]+)`", shown)

    assert modules
    assert tests
    for module in modules:
        assert (ROOT / "src" / "msgrun" / module).exists(), module
    for test in tests:
        file, _, name = test.partition("::")
        text = (ROOT / "tests" / file).read_text("utf-8")
        assert re.search(rf"^(?:async )?def {name or 'test_'}", text, re.MULTILINE), test


def test_no_risk_of_the_checklist_is_left_out() -> None:
    risks = " ".join(row[0] for row in ROWS)

    assert [each for each in sorted(CHECKLIST) if each not in risks] == []


def test_every_file_of_the_security_tests_is_in_the_table() -> None:
    shown = " ".join(row[2] for row in ROWS)
    files = {f"security/{file.name}" for file in (ROOT / "tests" / "security").glob("test_*.py")}

    assert sorted(file for file in files if file not in shown) == []
