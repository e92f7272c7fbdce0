"""The doctor's report as JUnit XML, as build servers read it."""

import os
import re
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from msgrun.doctor.findings import Case, Finding, Report, Status, Suppressed
from msgrun.doctor.verdict import FailOn
from msgrun.ui.text import moment

_FORBIDDEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)
"""What XML 1.0, 2.2 does not take, or advises against."""

_KINDS: Final = {
    Status.FAIL: "failure",
    Status.CRASHED: "error",
    Status.UNKNOWN: "error",
    Status.SKIPPED: "skipped",
}


def write_junit(file: Path, report: Report, now: datetime, fail_on: FailOn = FailOn.ERROR) -> None:
    """Write a report: a suite for each case, a test case for each finding.

    The file is replaced at once, so that nobody reads half of it.

    Args:
        now: the time stamp of the suites.
        fail_on: with `warn` a warning is a failure, as it is for the exit code.

    Raises:
        OSError: the file cannot be written.
    """
    content = ET.tostring(document(report, now, fail_on), "utf-8", xml_declaration=True)
    handle, name = tempfile.mkstemp(prefix=f".{file.name[:100]}.", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)  # as any other new file
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def document(report: Report, now: datetime, fail_on: FailOn = FailOn.ERROR) -> ET.Element:
    """Return the report as `<testsuites>`."""
    root = ET.Element("testsuites", name="msgrun doctor")
    about = report.customer or "msgrun"
    suites: list[tuple[str, Case | Report]] = [
        (" · ".join(filter(None, (about, case.invoice, case.definition, case.period))), case)
        for case in report.cases
    ]
    for name, case in suites or [(about, report)]:
        _suite(root, name, about, case.findings, case.suppressed, moment(now), fail_on)
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    return root


def _suite(
    root: ET.Element,
    name: str,
    about: str,
    findings: Sequence[Finding],
    suppressed: Sequence[Suppressed],
    timestamp: str,
    fail_on: FailOn,
) -> None:
    suite = ET.SubElement(root, "testsuite", name=visible(name))
    for finding in findings:
        test = _test(suite, about, finding)
        kind = _KINDS.get(finding.status)
        if finding.status is Status.WARN and fail_on is FailOn.WARN:
            kind = "failure"
        _outcome(test, finding, kind or "system-out")
    for each in suppressed:
        test = _test(suite, about, each.finding)
        until = f" until {each.until}" if each.until else ""
        message = f"suppressed{until}: {each.reason}"
        child = ET.SubElement(test, "skipped", message=visible(message))
        child.text = visible(_told(each.finding))
    counts = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}
    for attribute, tag in counts.items():
        suite.set(attribute, str(len(list(suite.iter(tag)))))
    suite.set("timestamp", timestamp.removesuffix("Z"))  # the schema knows no zone
    suite.set("time", "0")


def _test(suite: ET.Element, about: str, finding: Finding) -> ET.Element:
    words = (f"{finding.stage}:", finding.code, finding.title)
    name = " ".join(filter(None, words)) + (f" ({finding.subject})" if finding.subject else "")
    classname = f"msgrun.doctor.{about}"
    return ET.SubElement(
        suite, "testcase", name=visible(name), classname=visible(classname), time="0"
    )


def _outcome(test: ET.Element, finding: Finding, kind: str) -> None:
    if kind == "system-out":
        if finding.evidence:
            ET.SubElement(test, kind).text = visible(_told(finding))
        return
    message = finding.title if finding.code else " ".join(finding.evidence)
    child = ET.SubElement(test, kind, message=visible(message))
    if kind != "skipped":
        child.set("type", finding.code or "msgrun")
        child.text = visible(_told(finding))


def _told(finding: Finding) -> str:
    remedy = f"remedy: {finding.remedy}" if finding.remedy else ""
    return "\n".join(filter(None, (*finding.evidence, remedy)))


def visible(text: str) -> str:
    """Return text with every character that XML 1.0 does not take written as an escape."""
    return _FORBIDDEN.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
