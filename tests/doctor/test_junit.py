"""JUnit XML for build servers: every finding is in it, whatever the data hold."""

import os
import re
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.dom import minidom
from xml.sax import ContentHandler, parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor_world import TODAY, World
from msgrun.config import SuppressionConfig
from msgrun.database import Database
from msgrun.doctor import Case, FailOn, Finding, Report, Stage, Status
from msgrun.doctor.findings import found, passed, skipped
from msgrun.doctor.suppression import suppress
from msgrun.ui.junit import visible, write_junit

NOW = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)
KINDS = {"failure", "error", "skipped"}


@pytest.fixture
def world(sqlite_database: Database, tmp_path: Path) -> World:
    return World(sqlite_database, tmp_path)


class Reader(ContentHandler):
    """Reads the file event by event, as expat sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.tests: list[dict[str, Any]] = []
        self.suites: list[dict[str, str]] = []
        self.text = ""

    def startElement(self, name: str, attrs: Any) -> None:  # noqa: N802
        given = dict(attrs.items())
        if name == "testsuite":
            self.suites.append(given)
        elif name == "testcase":
            self.tests.append({**given, "kind": "pass", "text": "", "message": ""})
        elif name in KINDS:
            self.tests[-1] |= {"kind": name, "message": given.get("message", "")}

    def characters(self, content: str) -> None:
        self.text += content
        if self.tests:
            self.tests[-1]["text"] += content


def read(file: Path) -> Reader:
    reader = Reader()
    with file.open("rb") as stream:
        parse(stream, reader)
    return reader


def written(report: Report, folder: Path, fail_on: FailOn = FailOn.ERROR) -> Reader:
    write_junit(folder / "doctor.xml", report, NOW, fail_on)
    return read(folder / "doctor.xml")


def report_of(*findings: Finding) -> Report:
    return Report("C1", "Acme", "Not sent", "MR102", findings)


EACH = {
    Status.PASS: passed(Stage.CUSTOMER, "active"),
    Status.FAIL: found("MR102", Stage.CUSTOMER, "suspended"),
    Status.WARN: found("MR110", Stage.ADDRESS, "noreply@", status=Status.WARN),
    Status.SKIPPED: skipped(Stage.SMTP, "--offline"),
    Status.UNKNOWN: found("MR091", Stage.SMTP, "too slow", status=Status.UNKNOWN),
    Status.CRASHED: found("MR090", Stage.RUN, "ValueError: x", status=Status.CRASHED),
}
EXPECTED = {
    Status.PASS: "pass",
    Status.FAIL: "failure",
    Status.WARN: "pass",
    Status.SKIPPED: "skipped",
    Status.UNKNOWN: "error",
    Status.CRASHED: "error",
}


@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_its_outcome(tmp_path: Path, status: Status) -> None:
    (test,) = written(report_of(EACH[status]), tmp_path).tests

    assert test["kind"] == EXPECTED[status]
    assert " ".join(EACH[status].evidence) in test["message"] + test["text"]


def test_with_fail_on_warn_a_warning_is_a_failure(tmp_path: Path) -> None:
    (test,) = written(report_of(EACH[Status.WARN]), tmp_path, FailOn.WARN).tests

    assert test["kind"] == "failure"


def test_a_suite_for_each_case_and_a_test_for_each_finding(world: World, tmp_path: Path) -> None:
    world.sent(world.run())
    world.add_invoice("I2", "INV-2", status="Open")
    report = world.ask()

    seen = written(report, tmp_path)

    names = [suite["name"] for suite in seen.suites]
    assert names == ["C1 · INV-1 · monthly · 2026-10", "C1 · INV-2 · monthly · 2026-10"]
    for suite, case in zip(seen.suites, report.cases, strict=True):
        assert int(suite["tests"]) == len(case.findings)
        assert int(suite["failures"]) == sum(e.status is Status.FAIL for e in case.findings)
        assert suite["timestamp"] == "2026-11-25T08:00:00"
    assert "MR123" in next(test["name"] for test in seen.tests if test["kind"] == "failure")


def test_a_suppressed_finding_is_skipped_with_its_reason(world: World, tmp_path: Path) -> None:
    world.change("customers", suspended=True)
    rule = SuppressionConfig(code="MR102", reason="in court")

    seen = written(suppress(world.ask(), [rule], TODAY), tmp_path)

    (test,) = [test for test in seen.tests if "MR102" in test["name"]]
    assert (test["kind"], test["message"]) == ("skipped", "suppressed: in court")
    assert not any(test["kind"] == "failure" for test in seen.tests)


@given(st.text(alphabet=st.characters(), max_size=60))
def test_every_text_is_well_formed_and_nothing_of_it_is_lost(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    folder = tmp_path_factory.getbasetemp()
    finding = found("MR102", Stage.CUSTOMER, text or "x", remedy=text, subject=text)
    case = Case(text, "MR102", text, text, text, 1, text, (finding,))

    seen = written(Report(text, text, text, "MR102", (finding,), (case,)), folder)

    (test,) = seen.tests
    as_read = visible(text).replace("\r\n", "\n").replace("\r", "\n")  # XML 1.0, 2.11
    assert as_read in test["text"]
    assert test["text"].isprintable() or not re.search(r"[\x00-\x08\x0b-\x1f]", test["text"])
    minidom.parse(str(folder / "doctor.xml")).unlink()


@pytest.mark.parametrize("hostile", ["</testsuites>", "]]>", "<!DOCTYPE x [", "&#0;", "\"'<&>"])
def test_no_markup_of_the_data_is_markup(tmp_path: Path, hostile: str) -> None:
    seen = written(report_of(found("MR102", Stage.CUSTOMER, hostile)), tmp_path)

    assert hostile in seen.tests[0]["text"]


def test_control_characters_are_made_visible(tmp_path: Path) -> None:
    seen = written(report_of(found("MR102", Stage.CUSTOMER, "a\x1b[31m\x00b\ud800")), tmp_path)

    assert r"a\x1b[31m\x00b\ud800" in seen.tests[0]["text"]


def test_the_file_is_replaced_at_once_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "doctor.xml"
    file.write_text("before")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refuse)
        with pytest.raises(OSError, match="No space"):
            write_junit(file, report_of(EACH[Status.PASS]), NOW)

    assert file.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["doctor.xml"]


def test_the_file_has_the_rights_of_any_new_file(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        written(report_of(EACH[Status.PASS]), tmp_path)
    finally:
        os.umask(mask)

    assert stat.S_IMODE((tmp_path / "doctor.xml").stat().st_mode) == 0o640
