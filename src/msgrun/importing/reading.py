"""CSV and JSON Lines files as rows of cells, read line by line; each fault is noted, by line."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from msgrun.errors import ImportFileError
from msgrun.source.contract import CONTRACTS, meant

_SHOWN: Final = 20  # so many problems are named
_VALUE: Final = 60  # so many characters of a bad value are shown

Cells = dict[str, Any]
"""One row: values by column; None where it is empty."""


@dataclass
class Problems:
    """What is wrong with the files so far; only the first are kept in words."""

    count: int = 0
    named: list[str] = field(default_factory=list)

    def add(self, file: Path, line: int, reason: str, column: str = "", value: Any = None) -> None:
        """Note one problem of one line."""
        self.count += 1
        if self.count > _SHOWN:
            return
        where = f"column '{column}': " if column else ""
        shown = "" if value is None else f": {_shortened(value)}"
        self.named.append(f"{file.name}:{line}: {where}{reason}{shown}")

    def raise_any(self) -> None:
        """Raise when there is any.

        Raises:
            ImportFileError: with the first problems, and how many more there are.
        """
        if not self.count:
            return
        more = [f"and {self.count - _SHOWN} more"] if self.count > _SHOWN else []
        bad = "1 problem" if self.count == 1 else f"{self.count} problems"
        raise ImportFileError(
            "\n  ".join([f"nothing was imported, {bad}:", *self.named, *more]),
            "correct the file, then import it again",
        )


def read(
    file: Path, relation: str, columns: Sequence[str], problems: Problems
) -> Iterator[tuple[int, Cells]]:
    """Yield line number and cells of each row that can be read; note what cannot.

    Args:
        file: `.csv`, `.jsonl` or `.ndjson`.
        relation: what the rows are.
        columns: the columns that the relation has.
        problems: where faults are noted.

    Raises:
        ImportFileError: the file cannot be opened, or is of another kind.
    """
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise ImportFileError(
            f"{file.name}: of an unknown kind", "import takes .csv, .jsonl and .ndjson files"
        )
    try:
        with file.open("rb") as stream:
            yield from reader(stream, file, relation, columns, problems)
    except OSError as error:
        raise ImportFileError(
            f"cannot read {file}: {error.strerror}", "check the path, and the right to read it"
        ) from error


def _csv_rows(
    stream: BinaryIO, file: Path, relation: str, columns: Sequence[str], problems: Problems
) -> Iterator[tuple[int, Cells]]:
    lines = _lines(stream, file, problems)
    first = next(lines, "")
    delimiter = max(",;\t", key=first.count)
    rows = csv.reader(_chained(first, lines), delimiter=delimiter, strict=True)
    try:
        header = [name.strip().lower() for name in next(rows, [])]
        if not _header_fits(header, file, relation, columns, problems):
            return
        for row in rows:
            if not row:  # a blank line
                continue
            if len(row) != len(header):
                reason = f"{len(row)} cells where the header has {len(header)}"
                problems.add(file, rows.line_num, reason)
                continue
            cells = ((name, cell or None) for name, cell in zip(header, row, strict=True))
            yield rows.line_num, dict(cells)
    except csv.Error as error:
        problems.add(file, rows.line_num, f"not CSV: {error}")


def _header_fits(
    header: Sequence[str], file: Path, relation: str, columns: Sequence[str], problems: Problems
) -> bool:
    """Note what is wrong with a header; tell whether the rows under it can be read."""
    before = problems.count
    allowed = [name for name in columns if name != "content"]
    for name in header:
        if name == "content" and name in columns:
            reason = "documents with content come as JSON Lines (base64); CSV takes a path"
            problems.add(file, 1, reason, name)
        elif name not in allowed:
            problems.add(file, 1, f"unknown column{meant(name, allowed)}", name)
        elif header.count(name) > 1:
            problems.add(file, 1, "comes more than once in the header", name)
    contract = CONTRACTS[relation]
    one_of = tuple(name for name in contract.one_of if name in allowed)
    for names in [*((name,) for name in contract.required), *([one_of] if one_of else [])]:
        if not set(names) & set(header):
            problems.add(file, 1, "required column is missing", "' or '".join(names))
    return problems.count == before


def _json_rows(
    stream: BinaryIO, file: Path, relation: str, columns: Sequence[str], problems: Problems
) -> Iterator[tuple[int, Cells]]:
    for number, line in enumerate(_lines(stream, file, problems), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            problems.add(file, number, f"not JSON: {error}")
            continue
        if not isinstance(row, dict):
            problems.add(file, number, f"not a JSON object, as a row of {relation} is", value=row)
            continue
        unknown = [name for name in row if name not in columns]
        for name in unknown:
            problems.add(file, number, f"unknown column{meant(name, columns)}", name)
        if not unknown:
            yield number, {name: None if cell == "" else cell for name, cell in row.items()}


_Reader = Callable[[BinaryIO, Path, str, Sequence[str], Problems], Iterator[tuple[int, Cells]]]
_READERS: Final[Mapping[str, _Reader]] = {
    ".csv": _csv_rows,
    ".jsonl": _json_rows,
    ".ndjson": _json_rows,
}


def _lines(stream: BinaryIO, file: Path, problems: Problems) -> Iterator[str]:
    """Yield the lines of a UTF-8 file, without its byte order mark; end at bytes that are not."""
    for number, line in enumerate(stream, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            bad = line[error.start : error.start + 1]
            reason = f"not UTF-8 at byte {error.start + 1}; nothing after it was read"
            problems.add(file, number, reason, value=bad)
            return


def _chained(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _shortened(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= _VALUE else shown[:_VALUE] + "…"
