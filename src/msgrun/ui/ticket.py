"""The doctor's report as a short plain text, to be pasted into a support case."""

from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import Final, TextIO

from rich.cells import cell_len, set_cell_size

from msgrun import __version__
from msgrun.doctor.findings import Case, Finding, Report, Status, stage_results
from msgrun.doctor.record import Record
from msgrun.doctor.verdict import speaker_of
from msgrun.ui.text import moment, plural, safe

COLUMNS: Final = 100
LINES: Final = 60
_EVIDENCE: Final = 8  # lines of one finding's evidence, the rest is counted
_PLAIN: Final = str.maketrans(
    {"›": ">", "→": "->", "·": "-", "–": "-", "—": "-", "…": "...", "✓": "ok", "✗": "x"}
)
_MARKS: Final = {
    Status.PASS: "[ ok ]",
    Status.FAIL: "[FAIL]",
    Status.WARN: "[warn]",
    Status.SKIPPED: "[skip]",
    Status.UNKNOWN: "[ ?? ]",
    Status.CRASHED: "[ ?? ]",
}
_INDENT: Final = 7


def write_ticket(report: Report, stream: TextIO, now: datetime, zone: tzinfo | None = None) -> None:
    """Write the report in at most 60 lines of at most 100 columns.

    Args:
        now: when the doctor was asked.
        zone: the local one; None for that of this machine.
    """
    for line in ticket_lines(report, now, zone):
        stream.write(f"{line}\n")


def ticket_lines(report: Report, now: datetime, zone: tzinfo | None = None) -> list[str]:
    """Return the lines of the ticket; what is too much is counted, never silently left out."""
    lines = list(_all_lines(report, now, zone))
    if len(lines) <= LINES:
        return lines
    left = len(lines) - LINES + 1
    again = f"msgrun doctor {report.customer} -v" if report.customer else "msgrun doctor -v"
    return [*lines[: LINES - 1], *_wrapped(f"... {plural(left, 'more line')}: {again}")][:LINES]


def _all_lines(report: Report, now: datetime, zone: tzinfo | None) -> Iterator[str]:
    who = " ".join(filter(None, (report.customer, report.name))) or "all definitions and servers"
    yield from _wrapped(f"msgrun {__version__} doctor: {who}")
    yield from _field("asked", _time(now, zone))
    yield from _field("verdict", report.verdict)
    if report.candidates:
        for each in report.candidates:
            yield from _wrapped(f"{each.code}  {each.name}", 2)
        return
    if not report.cases:
        yield from _findings(report.findings)
    for case in _first_the_speaker(report):
        yield ""
        yield from _case(case, zone, alone=len(report.cases) == 1)
    yield from _suppressed(report)
    if report.primary:
        yield ""
        yield f"What {report.primary} means: msgrun explain {report.primary}"


def _first_the_speaker(report: Report) -> list[Case]:
    if not report.cases:
        return []
    speaker = speaker_of(report.cases)
    return [speaker, *(case for case in report.cases if case is not speaker)]


def _case(case: Case, zone: tzinfo | None, *, alone: bool) -> Iterator[str]:
    about = [f"invoice {case.invoice}" if case.invoice else "", f"definition {case.definition}"]
    about += [f"period {case.period}" if case.period else ""]
    yield from _wrapped(", ".join(filter(None, about)))
    if not alone:
        yield from _field("verdict", case.verdict)
    yield from _record(case.record, zone)
    yield from _findings(case.findings)


def _record(record: Record, zone: tzinfo | None) -> Iterator[str]:
    """Yield what the ledger has, each time in UTC and in local time, the reply word for word."""
    if record.run is None:
        return
    yield from _field("run", f"{record.run}, {record.status}, started by {record.by}")
    yield from _field("planned", _time(record.created, zone))
    yield from _field("finished", _time(record.finished, zone))
    if record.message is None:
        return
    reason = f", {record.reason}" if record.reason else ""
    yield from _field("message", f"{record.message}, {record.state}{reason}")
    yield from _field("to", ", ".join(record.to))
    yield from _field("redirected", record.redirected)
    yield from _field("Message-ID", record.message_id)
    yield from _field("tries", str(record.attempts) if record.attempts else "")
    yield from _field("handed over", _time(record.handed_over, zone))
    yield from _field("accepted", _time(record.sent, zone))
    yield from _field("next try", _time(record.due, zone))
    step = f" (at {record.step.upper()})" if record.step else ""
    yield from _field("answer", f"{record.answer}{step}" if record.answer else "")
    yield from _field("queue id", record.queue_id)


def _findings(findings: tuple[Finding, ...]) -> Iterator[str]:
    """Yield what is wrong with its evidence and remedy, and the rest in a line a status."""
    told = [each for each in findings if each.code or each.drift]
    for finding in sorted(told, key=lambda each: each.status is not Status.FAIL):
        title = f" {finding.code} {finding.title}" if finding.code else ""
        yield from _wrapped(f"{_MARKS[finding.status]} {finding.stage}{title}", 0, _INDENT)
        shown = finding.evidence if finding.code else finding.drift
        for line in shown[:_EVIDENCE]:
            yield from _wrapped(line, _INDENT, _INDENT + 2)
        if len(shown) > _EVIDENCE:
            yield f"{' ' * _INDENT}... and {plural(len(shown) - _EVIDENCE, 'more line')}"
        if finding.remedy:
            yield from _wrapped(f"remedy: {finding.remedy}", _INDENT, _INDENT + 2)
    quiet = [each for each in stage_results(findings) if not each.code]
    for status in (Status.PASS, Status.SKIPPED):
        stages = [each.stage.value for each in quiet if each.status is status]
        if stages:
            yield from _wrapped(f"{_MARKS[status]} {', '.join(stages)}", 0, _INDENT)


def _suppressed(report: Report) -> Iterator[str]:
    if report.suppressed:
        yield ""
        yield f"{plural(len(report.suppressed), 'finding')} suppressed:"
    for each in report.suppressed:
        until = f" until {each.until}" if each.until else ""
        yield from _wrapped(f"{each.finding.code}{until}: {each.reason}", 2, _INDENT)


def _field(name: str, value: str) -> Iterator[str]:
    if value:
        yield from _wrapped(f"{name + ':':<13}{value}", 0, 13)


def _time(when: datetime | None, zone: tzinfo | None) -> str:
    if when is None:
        return ""
    local = when.astimezone(zone).replace(microsecond=0)
    return f"{moment(when)} ({local.isoformat()} local)"


def _wrapped(text: str, indent: int = 0, hanging: int | None = None) -> Iterator[str]:
    """Yield a text in lines that fit, broken between words where that can be."""
    room = COLUMNS - (indent if hanging is None else max(indent, hanging))
    margin = " " * indent
    line = ""
    for word in _words(safe(text.translate(_PLAIN)), room):
        if line and cell_len(line) + cell_len(word) > room:
            yield (margin + line).rstrip()
            margin, line = " " * (indent if hanging is None else hanging), word.lstrip()
        else:
            line += word
    yield (margin + line).rstrip()


def _words(text: str, room: int) -> Iterator[str]:
    """Yield the words, each with the blanks before it; one that fits no line comes in pieces."""
    start = 0
    while start < len(text):
        end = start
        while end < len(text) and text[end] == " ":
            end += 1
        while end < len(text) and text[end] != " ":
            end += 1
        word, start = text[start:end], end
        while cell_len(word) > room:
            piece = set_cell_size(word, room).rstrip(" ") or word[:1]
            yield piece
            word = word[len(piece) :]
        yield word
