"""What does a finished run leave behind, and what does it cost the database? A real run of each.

Usage: python benchmarks/footprint.py [--messages N] [--database sqlite|postgresql|both]
[--connections N] [--snapshot] [--eager] [--folder DIR].
"""

import argparse
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counting_sink import Sink, counting_sink
from many_customers import fill, write_config
from sqlalchemy import Connection, NullPool, create_engine, text
from surroundings import PostgreSQL, machine, postgresql, scratch_folder
from workers import old_snapshot

from msgrun.database import Database

DOCUMENT = b"%PDF-1.4\n%%EOF\n"
SPARE = 1.25  # customers for each message: rules leave some of them out
MEGABYTE = 1024 * 1024

_SIZES = """
SELECT c.relname, c.relkind, pg_relation_size(c.oid) + coalesce(pg_relation_size(
  nullif(c.reltoastrelid, 0)), 0) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'msgrun' AND (c.relname LIKE 'message%' OR c.relname LIKE 'attempt%')
AND c.relkind IN ('r', 'i') ORDER BY c.relkind DESC, 3 DESC
"""
_TUPLES = """
SELECT relname, n_tup_ins, n_tup_upd, n_tup_hot_upd, n_live_tup, n_dead_tup, autovacuum_count
FROM pg_stat_user_tables WHERE schemaname = 'msgrun' AND relname IN ('message', 'message_invoice')
ORDER BY relname
"""
_EAGER = (
    "ALTER TABLE msgrun.message SET (autovacuum_vacuum_scale_factor = 0.02)",
    "ALTER SYSTEM SET autovacuum_naptime = '2s'",
    "SELECT pg_reload_conf()",
)
_COMMITS = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
_LSN = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"
_TENTHS = """
WITH sent AS (SELECT sent_at, ntile(10) OVER (ORDER BY sent_at) AS tenth FROM {message}
WHERE state = 'sent') SELECT tenth, count(*), min(sent_at), max(sent_at) FROM sent
GROUP BY tenth ORDER BY tenth
"""


@dataclass(frozen=True)
class Yard:
    """What a run needs."""

    place: Path
    sink: Sink
    messages: int
    connections: int

    def run(self, *words: str) -> None:
        """Run msgrun as a person would.

        Raises:
            SystemExit: it fails.
        """
        command = [sys.executable, "-m", "msgrun", *words]
        done = subprocess.run(  # noqa: S603 - as just made
            command, cwd=self.place, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        if done.returncode:
            sys.exit(f"msgrun ended with {done.returncode}: {done.stderr.decode()[-2000:]}")


def send(yard: Yard) -> float:
    """Plan and send a run; return the seconds of all that.

    Raises:
        SystemExit: not every message has arrived.
    """
    before, began = yard.sink.messages(), time.perf_counter()
    yard.run("start", "--yes", "--limit", str(yard.messages))
    seconds = time.perf_counter() - began
    arrived = yard.sink.wait_for_messages(before + yard.messages) - before
    if arrived != yard.messages:
        sys.exit(f"{arrived} of {yard.messages} messages arrived: the figures say nothing")
    return seconds


def on_postgresql(yard: Yard, server: PostgreSQL, *, snapshot: bool, eager: bool) -> None:
    """Send a run and print what PostgreSQL says of it, before and after VACUUM.

    Args:
        snapshot: whether somebody holds an old snapshot open meanwhile.
        eager: whether autovacuum looks every few seconds, and comes after a few changes.
    """
    url = server.make("footprint")
    prepare(yard, url)
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with ExitStack() as stack:
        asking = stack.enter_context(engine.connect())
        for statement in _EAGER if eager else ():
            ask(asking, statement)
        if snapshot:
            stack.enter_context(old_snapshot(url))
        ask(asking, "CHECKPOINT")
        wal, commits = value(asking, _LSN), value(asking, _COMMITS)
        seconds = send(yard)
        wal = float(value(asking, _LSN)) - float(wal)
        time.sleep(1)  # sessions report what they did when they end, and at most once a second
        commits = value(asking, _COMMITS) - commits
        print(
            f"\npostgresql {server.version}: {yard.messages / seconds:.0f} messages/s with planning"
        )
        print(f"  WAL {wal / yard.messages:,.0f} bytes a message, planning with it")
        print(f"  {yard.messages / commits:.1f} messages a transaction, of all kinds")
        for name, made, changed, hot, live, dead, vacuums in ask(asking, _TUPLES):
            print(
                f"  {name}: {made / yard.messages:.2f} inserts, {changed / yard.messages:.2f} "
                f"updates ({hot / yard.messages:.2f} HOT) a message; {live:,} live, {dead:,} dead "
                f"rows; autovacuum came {vacuums} times"
            )
        print(*tenths(asking, "msgrun.message"), sep="\n")
        print(*sizes(yard, ask(asking, _SIZES), "after the run"), sep="\n")
    with engine.connect() as asking:
        ask(asking, "VACUUM (ANALYZE) msgrun.message")
        print(*sizes(yard, ask(asking, _SIZES), "after VACUUM"), sep="\n")
        ask(asking, "VACUUM (FULL, ANALYZE) msgrun.message")
        print(*sizes(yard, ask(asking, _SIZES), "after VACUUM FULL"), sep="\n")


def on_sqlite(yard: Yard) -> None:
    """Send a run and print what its file has grown by."""
    path = yard.place / "msgrun.db"
    url = f"sqlite:///{path}"
    prepare(yard, url)
    empty = path.stat().st_size
    seconds = send(yard)
    grown = path.stat().st_size - empty
    print(
        f"\nsqlite {sqlite3.sqlite_version}: {yard.messages / seconds:.0f} messages/s with planning"
    )
    print(f"  the file has grown by {per_million(yard, grown)}")
    with sqlite3.connect(path) as connection:
        rows = connection.execute(
            "SELECT name, CASE WHEN name LIKE '%message' OR name LIKE '%message_invoice' THEN 'r' "
            "ELSE 'i' END, sum(pgsize) FROM dbstat WHERE name LIKE '%message%' "
            "GROUP BY name ORDER BY 2 DESC, 3 DESC"
        )
        try:
            print(*sizes(yard, rows.fetchall(), "after the run"), sep="\n")
        except sqlite3.OperationalError:
            print("  this SQLite has no dbstat: the parts are not known")


def prepare(yard: Yard, url: str) -> None:
    """Make the data and the workspace."""
    (yard.place / "shared.pdf").write_bytes(DOCUMENT)
    fill(Database(url), round(yard.messages * SPARE), sent=False, shared_document="shared.pdf")
    write_config(yard.place, url, yard.sink.port, yard.connections)
    os.sync()


def ask(connection: Connection, question: str) -> list[Any]:
    """Return the rows that a question has, if it is one."""
    result = connection.execute(text(question))
    return list(result) if result.returns_rows else []


def value(connection: Connection, question: str) -> Any:
    """Return the one value that a question has."""
    return ask(connection, question)[0][0]


def tenths(connection: Connection, message: str) -> Iterator[str]:
    """Yield how fast the first tenth of a run went, and the last."""
    rates = [
        number / max((last - first).total_seconds(), 0.001)
        for _, number, first, last in ask(connection, _TENTHS.format(message=message))
    ]
    told = " ".join(f"{rate:.0f}" for rate in rates)
    yield f"  messages/s of each tenth of the run: {told}"


def sizes(yard: Yard, rows: list[Any], when: str) -> Iterator[str]:
    """Yield what tables and indexes take."""
    yield f"  {when}: {per_million(yard, sum(size for _, _, size in rows))}"
    for name, kind, size in rows:
        if size >= MEGABYTE / 10:
            kind_told = "table" if kind == "r" else "index"
            yield f"    {kind_told} {name:35} {size / yard.messages:8.0f} bytes a message"


def per_million(yard: Yard, size: float) -> str:
    """Return a size as it would be with a million messages."""
    whole = size / yard.messages * 1_000_000 / MEGABYTE
    return f"{size / yard.messages:,.0f} bytes a message, {whole:,.0f} MB a million"


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--snapshot", action="store_true", help="hold an old snapshot open")
    parser.add_argument("--eager", action="store_true", help="have autovacuum come often")
    parser.add_argument("--folder", type=Path, help="where the scratch folder is made: on a disk")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing is left behind
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder(asked.folder))
        print(*machine(folder), sep="\n")
        sink = stack.enter_context(counting_sink(folder, tls=False))
        print(f"run         {asked.messages:,} messages, {asked.connections} connections")
        if asked.database in ("sqlite", "both"):
            place = folder / "sqlite"
            place.mkdir()
            on_sqlite(Yard(place, sink, asked.messages, asked.connections))
        if asked.database in ("postgresql", "both"):
            place = folder / "workspace"
            place.mkdir()
            server = stack.enter_context(postgresql(folder))
            yard = Yard(place, sink, asked.messages, asked.connections)
            on_postgresql(yard, server, snapshot=asked.snapshot, eager=asked.eager)
    return 0


if __name__ == "__main__":
    sys.exit(main())
