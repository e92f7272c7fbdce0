"""How long does it take to plan a run of very many invoices? As figures, and as ratios.

Usage: python benchmarks/planning.py [--invoices N,N] [--database sqlite|postgresql|both]
[--collate] [--mapped] [--folder DIR].
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from many_customers import fill, write_config
from sqlalchemy import text
from surroundings import PostgreSQL, machine, mail_sink, postgresql, scratch_folder

from msgrun.database import Database

PROMISED = {"plan": 10.0, "start": 20.0}  # seconds for a million invoices
MILLION = 1_000_000
GROWN = 1.25  # memory, of that with the fewest invoices
OF_CUSTOMERS = 1.1  # so many make one invoice in scope: each rule takes some out
SAMPLED = 400  # documents that are there: those of the messages composed for a try, and claimed

MAPPED = """\
[source]
customers = "SELECT code, name, cluster, suspended FROM {schema}customers"
addresses = "SELECT customer, key, address FROM {schema}addresses"
clusters = "SELECT name, parent FROM {schema}clusters"
invoices = "SELECT id, customer, number, status, date, period_end, currency, total \
FROM {schema}invoices"
documents = "SELECT invoice, transformation, filename, media_type, path FROM {schema}documents"
"""

# What the ledger cannot do without, from the invoices alone: no rule, no order, no addresses.
BARE = (
    (
        "INSERT INTO {run} (id, uid, definition, status, children, customers, bcc, resend, "
        "created_by, created_at) VALUES (1, 'bare', 'monthly', 'stopped', {true}, '[]', '[]', "
        "{false}, 'bench', '2026-11-03T08:00:00.000000Z')"
    ),
    (
        "CREATE TEMPORARY TABLE numbers AS SELECT row_number() OVER () AS n, id, customer "
        "FROM {invoices} LIMIT {rows}"
    ),
    (
        "INSERT INTO {message} (id, run_id, number, revision, customer, recipients, state, "
        "message_id, attempts, updated_at) SELECT n, 1, n, 1, customer, "
        """'[{{"address": "somebody@somewhere.test", "display_name": ""}}]', 'pending', """
        "'<0123456789abcdef.' || n || '@acme.test>', 0, '2026-11-03T08:00:00.000000Z' FROM numbers"
    ),
    (
        "INSERT INTO {message_invoice} (message_id, invoice, definition, generation) "
        "SELECT n, id, 'monthly', 1 FROM numbers"
    ),
)


@dataclass(frozen=True)
class Figure:
    """One command in a process of its own."""

    seconds: float
    cpu: float
    kilobytes: int


def main() -> int:
    """Measure, print, and tell whether the promises are kept."""
    options = _options()
    kept = True
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder(options.folder))
        for line in machine(folder):
            print(line)
        _, port = stack.enter_context(mail_sink(folder))
        databases = ["sqlite", "postgresql"] if options.database == "both" else [options.database]
        server = stack.enter_context(postgresql(folder)) if "postgresql" in databases else None
        for kind in databases:
            peaks: dict[str, list[int]] = {}
            for number in options.invoices:
                print(f"\n{kind}, {number:,} invoices", flush=True)
                place = folder / f"{kind}{number}"
                place.mkdir()
                base = _prepare(place, number, server if kind == "postgresql" else None, options)
                for name, figure in measure(place, port):
                    print(
                        f"  {name:<20} {figure.seconds:7.2f} s, own CPU {figure.cpu:6.2f} s, "
                        f"{figure.seconds / base:5.2f} x, peak {figure.kilobytes / 1024:4.0f} MB",
                        flush=True,
                    )
                    if name in PROMISED:
                        peaks.setdefault(name, []).append(figure.kilobytes)
                        limit = PROMISED[name] * number / MILLION
                        kept = kept and (number < MILLION or figure.seconds <= limit)
                shutil.rmtree(place)
            for name, sizes in peaks.items():
                grown = sizes[-1] / sizes[0]
                print(f"  memory of {name}: {grown:.2f} of that with {options.invoices[0]:,}")
                kept = kept and grown <= GROWN
    print("\nkept" if kept else f"\nnot kept: {PROMISED} seconds a million, memory {GROWN} x")
    return 0 if kept else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    numbers = [100_000, MILLION]
    parser.add_argument("--invoices", type=_numbers, default=numbers, metavar="N,N")
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--collate", action="store_true", help="one message for each customer")
    parser.add_argument("--mapped", action="store_true", help="SELECTs are the source")
    parser.add_argument("--folder", type=Path, metavar="DIR")
    return parser.parse_args()


def _numbers(given: str) -> list[int]:
    return [int(number) for number in given.split(",")]


def _prepare(
    place: Path, number: int, server: PostgreSQL | None, options: argparse.Namespace
) -> float:
    """Fill a database, write the workspace, and return what bare rows cost there."""
    url = f"sqlite:///{place}/msgrun.db" if server is None else server.make(f"n{number}")
    fill(Database(url), round(number * OF_CUSTOMERS), sent=False)
    write_config(place, url)
    config = place / "msgrun.toml"
    told = config.read_text("utf-8")
    if options.collate:
        told += "collate = true\n"
    if options.mapped:
        told += MAPPED.format(schema="msgrun_" if server is None else "msgrun.")
    config.write_text(told, "utf-8")
    for each in range(1, SAMPLED):
        (place / f"i{each}.pdf").write_bytes(b"%PDF-1.4\n")
    if server is None:
        copied = f"sqlite:///{place}/bare.db"
        shutil.copyfile(place / "msgrun.db", place / "bare.db")
    else:
        copied = server.make(f"bare{number}", f"n{number}")
    counted, inserted = bare(Database(copied), number)
    if server is not None:
        server.drop(f"bare{number}")
    print(f"  count(*) of 4 tables {counted:7.2f} s")
    print(f"  bare INSERT … SELECT {inserted:7.2f} s: the 1 of what follows")
    return inserted


def bare(database: Database, rows: int) -> tuple[float, float]:
    """Return how long the source takes to count, and as many bare rows of a run to commit."""
    tables = database.tables
    names = {name: getattr(tables, name).fullname for name in
             ("run", "message", "message_invoice", "invoices")}  # fmt: skip
    truth = (
        {"true": "1", "false": "0"} if database.is_sqlite else {"true": "true", "false": "false"}
    )
    began = time.perf_counter()
    with database.connect() as connection, connection.begin():
        for name in ("customers", "addresses", "invoices", "documents"):
            table = tables.relation(name).fullname
            connection.execute(text(f"SELECT count(*) FROM {table}")).scalar()  # noqa: S608
    counted = time.perf_counter() - began
    began = time.perf_counter()
    with database.write() as connection:
        raw = connection.connection.cursor()
        for statement in BARE:
            raw.execute(statement.format(rows=rows, **names, **truth))
    return counted, time.perf_counter() - began


def measure(place: Path, port: int) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of each command; the run is left behind with its first claims."""
    where = {"MSGRUN_SERVERS__DEFAULT__PORT": str(port)}
    dies = where | {"MSGRUN_FAILPOINT": "claim.written=kill"}
    killed = -signal.SIGKILL
    yield "plan", _run(place, where, "plan", "monthly")
    yield "start", _run(place, dies, "start", "monthly", "--yes", code=killed)
    yield "show", _run(place, where, "show")
    yield "restart --dry-run", _run(place, where, "restart", "--dry-run")
    yield "restart", _run(place, dies, "restart", "--yes", code=killed)
    yield "results --csv", _run(place, where, "results", "--csv", "all.csv")
    yield "cancel", _run(place, where, "cancel")
    yield "plan, cancelled run", _run(place, where, "plan", "monthly")


def _run(place: Path, environment: dict[str, str], *words: str, code: int = 0) -> Figure:
    began = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 - as just made
        [sys.executable, "-m", "msgrun", *words],
        cwd=place,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=(place / "stderr").open("w"),
    )
    _, status, used = os.wait4(process.pid, 0)
    took = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != code:
        told = (place / "stderr").read_text("utf-8")
        sys.exit(f"msgrun {' '.join(words)} ended with {process.returncode}: {told}")
    return Figure(took, used.ru_utime + used.ru_stime, used.ru_maxrss)


if __name__ == "__main__":
    sys.exit(main())
