"""Files of customers, addresses, clusters, invoices and documents into msgrun's own tables."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Table, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from msgrun.database import Database
from msgrun.errors import ImportFileError
from msgrun.importing.reading import Cells, Problems, read
from msgrun.importing.rows import RowCheck
from msgrun.schema import RELATIONS
from msgrun.source.contract import CONTRACTS, meant

__all__ = ["ImportCount", "import_files"]

_BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class ImportCount:
    """What an import did to one relation; a row that was there counts as updated."""

    inserted: int
    updated: int
    deleted: int


def import_files(
    database: Database, files: Sequence[Path], *, replace: bool = False
) -> dict[str, ImportCount]:
    """Load files into msgrun's own tables, all or nothing.

    A row replaces the one with its key; a column that the file does not have stays as it is.

    Args:
        database: at this program's revision.
        files: CSV or JSON Lines; the name up to its first `-` or `.` is the relation.
        replace: empty the relations of these files first.

    Returns:
        What was done, by relation.

    Raises:
        ImportFileError: with file, line, column, value and reason of each bad row.
    """
    by_relation: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        by_relation[_relation_of(file)].append(file)
    problems = Problems()
    counts: dict[str, ImportCount] = {}
    with database.write() as connection:
        for name in (name for name in RELATIONS if name in by_relation):
            table = database.tables.relation(name)
            counts[name] = _load(connection, table, name, by_relation[name], problems, replace)
        problems.raise_any()
        if "clusters" in by_relation:
            _refuse_loop(connection, database.tables.clusters)
    return counts


def _relation_of(file: Path) -> str:
    stem = re.split(r"[-.]", file.name, maxsplit=1)[0].lower()
    if stem in RELATIONS:
        return stem
    raise ImportFileError(
        f"{file.name}: '{stem}' is no relation{meant(stem, RELATIONS)}",
        f"name the file after what it holds: {', '.join(RELATIONS)}",
    )


def _load(
    connection: Connection,
    table: Table,
    relation: str,
    files: Sequence[Path],
    problems: Problems,
    replace: bool,
) -> ImportCount:
    """Check every row of the files of one relation, and write them as long as none is bad."""
    deleted = _count(connection, table) if replace else 0
    if replace:
        connection.execute(delete(table))
    before = _count(connection, table)
    check = RowCheck(relation, problems)
    waiting: dict[tuple[str, ...], list[Cells]] = defaultdict(list)  # by the columns they have
    read_rows = 0
    for file in files:
        for line, cells in read(file, relation, table.c.keys(), problems):
            row = check(file, line, cells)
            if row is None or problems.count:
                continue
            read_rows += 1
            batch = waiting[tuple(row)]
            batch.append(row)
            if len(batch) == _BATCH:
                _upsert(connection, table, CONTRACTS[relation].key, batch)
                batch.clear()
    if not problems.count:
        for batch in waiting.values():
            if batch:
                _upsert(connection, table, CONTRACTS[relation].key, batch)
    inserted = _count(connection, table) - before
    return ImportCount(inserted, read_rows - inserted, deleted)


def _count(connection: Connection, table: Table) -> int:
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


def _upsert(
    connection: Connection, table: Table, key: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Write rows that have the same columns."""
    others = [name for name in rows[0] if name not in key]
    made = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)
    if others:
        values = {name: made.excluded[name] for name in others}
        made = made.on_conflict_do_update(index_elements=key, set_=values)
    else:
        made = made.on_conflict_do_nothing(index_elements=key)
    connection.execute(made, rows)


def _refuse_loop(connection: Connection, clusters: Table) -> None:
    """Refuse a tree in which a cluster is above itself."""
    tree = connection.execute(select(clusters.c.name, clusters.c.parent))
    parents: dict[str, str | None] = {row.name: row.parent for row in tree}
    safe: set[str] = set()
    for start in sorted(parents):
        path: dict[str, None] = {}  # ordered
        name: str | None = start
        while name is not None and name not in safe and name not in path:
            path[name] = None
            name = parents.get(name)
        if name is not None and name in path:
            nodes = list(path)
            loop = [*nodes[nodes.index(name) :], name]
            raise ImportFileError(
                f"nothing was imported: the clusters make a loop: {' → '.join(loop)}",
                "correct the parent of one of them",
            )
        safe.update(path)
