"""The Chinook sample store: the file as it is published, or one of the same layout and size."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import NullPool, create_engine

EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "chinook"
CUSTOMERS, INVOICES = 59, 412
NON_ASCII: Final = "stanisław.wójcik@wp.pl"

_PUBLISHED: Final = Path(
    os.environ.get("CHINOOK_SQLITE")
    or Path(__file__).parents[3] / "shared" / "data" / "chinook.sqlite"
)
_LAYOUT: Final = """
CREATE TABLE Customer (
    CustomerId INTEGER NOT NULL PRIMARY KEY,
    FirstName NVARCHAR(40) NOT NULL, LastName NVARCHAR(20) NOT NULL, Company NVARCHAR(80),
    Address NVARCHAR(70), City NVARCHAR(40), State NVARCHAR(40), Country NVARCHAR(40),
    PostalCode NVARCHAR(10), Phone NVARCHAR(24), Fax NVARCHAR(24),
    Email NVARCHAR(60) NOT NULL, SupportRepId INTEGER
);
CREATE TABLE Invoice (
    InvoiceId INTEGER NOT NULL PRIMARY KEY,
    CustomerId INTEGER NOT NULL REFERENCES Customer (CustomerId), InvoiceDate DATETIME NOT NULL,
    BillingAddress NVARCHAR(70), BillingCity NVARCHAR(40), BillingState NVARCHAR(40),
    BillingCountry NVARCHAR(40), BillingPostalCode NVARCHAR(10), Total NUMERIC(10,2) NOT NULL
);
"""
_CUSTOMER: Final = (
    "INSERT INTO Customer (CustomerId, FirstName, LastName, Country, Email) VALUES (?, ?, ?, ?, ?)"
)
_INVOICE: Final = (
    "INSERT INTO Invoice (InvoiceId, CustomerId, InvoiceDate, Total) VALUES (?, ?, ?, ?)"
)


@dataclass(frozen=True, slots=True)
class Example:
    """A copy of examples/chinook, adapted to the servers of a test.

    Attributes:
        config: the configuration to run with.
        store: the file chinook.sqlite; what PostgreSQL has was copied from it.
    """

    config: Path
    store: Path

    def msgrun(self, *arguments: str) -> str:
        """Run a command in the example's folder, see it succeed, and return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "msgrun", "--config", self.config.name, *arguments],
            cwd=self.config.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, (
            f"{arguments}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done.stdout


@dataclass(frozen=True, slots=True)
class Sent:
    """What one start of the example left behind.

    Attributes:
        example: the example, its ledger with one run.
        shown: the document that `start` ended with.
        digest: SHA-256 of chinook.sqlite before.
        messages: what lies in the mailbox.
    """

    example: Example
    shown: Mapping[str, Any]
    digest: str
    messages: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Owed:
    """One invoice with what its message must say and whom it must reach."""

    customer: str
    name: str
    address: str
    total: str


def place_sqlite(folder: Path) -> Path:
    """Put the store into `folder` as chinook.sqlite: the published file, else a generated one."""
    path = folder / "chinook.sqlite"
    if _PUBLISHED.exists():
        shutil.copyfile(_PUBLISHED, path)
    else:
        _generate(path)
    return path


def copy_to_postgresql(path: Path, url: str) -> None:
    """Copy the example's two tables from the SQLite file, with PostgreSQL's own types."""
    engine = create_engine(url, poolclass=NullPool)
    layout = (EXAMPLE / "postgresql.sql").read_text(encoding="utf-8")
    with engine.begin() as target, closing(sqlite3.connect(path)) as source:
        target.exec_driver_sql(layout)
        for table in ("Customer", "Invoice"):
            cursor = source.execute(f"SELECT * FROM {table} ORDER BY 1")
            names = [column[0] for column in cursor.description]
            columns = ", ".join(f'"{name}"' for name in names)
            marks = ", ".join(["%s"] * len(names))
            insert = f'INSERT INTO "{table}" ({columns}) VALUES ({marks})'
            target.exec_driver_sql(insert, cursor.fetchall())
    engine.dispose()


def owed(path: Path) -> Mapping[str, Owed]:
    """Return what the store's own tables say of each invoice, by the number that msgrun gives."""
    with closing(sqlite3.connect(path)) as store:
        rows = store.execute(
            "SELECT InvoiceId, c.CustomerId, FirstName, LastName, Email, Total"
            " FROM Invoice i JOIN Customer c ON c.CustomerId = i.CustomerId"
        ).fetchall()
    return {
        f"CH-{invoice}": Owed(str(code), f"{first} {last}", email, f"{total:.2f}")
        for invoice, code, first, last, email, total in rows
    }


def _generate(path: Path) -> None:
    countries = ("Poland", "Germany", "Brazil", "Norway", "India", "USA")
    customers = [
        (
            number,
            "Ana",
            f"Test{number}",
            countries[number % 6],
            f"ana{number}@customer{number}.test",
        )
        for number in range(1, CUSTOMERS + 1)
    ]
    customers[48] = (49, "Stanisław", "Wójcik", "Poland", NON_ASCII)
    first = datetime(2021, 1, 1)  # noqa: DTZ001 - Chinook's dates have no time zone
    invoices = [
        (
            number,
            (number * 7) % CUSTOMERS + 1,
            (first + timedelta(days=4 * number)).isoformat(" "),
            round(0.99 * (number % 14 + 1), 2),
        )
        for number in range(1, INVOICES + 1)
    ]
    with closing(sqlite3.connect(path)) as store:
        store.executescript(_LAYOUT)
        store.executemany(_CUSTOMER, customers)
        store.executemany(_INVOICE, invoices)
        store.commit()
