"""The same billing data as msgrun's own tables and as a foreign database, on both databases."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import insert, text

from msgrun.database import Database
from msgrun.source import Source

CUSTOMERS: list[dict[str, Any]] = [
    {"code": "1", "name": "Acme GmbH", "cluster": "DE", "meta": '{"vat": "DE1"}'},
    {"code": "2", "name": "Žluťoučký 株式会社", "cluster": "All", "suspended": True},
    {"code": "3", "name": "acme north", "cluster": "DE"},
]
ADDRESSES: list[dict[str, Any]] = [
    {"customer": "1", "key": "invoice", "address": "b@acme.test", "display_name": "Berta"},
    {"customer": "1", "key": "invoice", "address": "a@acme.test", "display_name": None},
    {"customer": "1", "key": "invoices", "address": "old@acme.test", "display_name": None},
    {"customer": "2", "key": "invoice", "address": "c@example.test", "display_name": None},
]
CLUSTERS: list[dict[str, Any]] = [{"name": "All", "parent": None}, {"name": "DE", "parent": "All"}]
INVOICES: list[dict[str, Any]] = [
    {"id": "10", "customer": "1", "number": "INV-10", "status": "Approved", "date": "2026-10-31"},
    {"id": "11", "customer": "1", "number": None, "status": "Pending", "date": "2026-11-01"},
    {"id": "12", "customer": "2", "number": "INV-12", "status": "Approved", "date": "2026-10-01"},
]
TOTALS = {"10": "3.96", "11": "-20.5", "12": "100"}
DOCUMENTS: list[dict[str, Any]] = [
    {"invoice": "10", "transformation": "ubl", "filename": "10.xml", "content": b"<ubl/>"},
    {"invoice": "10", "transformation": "pdf", "filename": "10.pdf", "path": "10.pdf"},
    {"invoice": "12", "transformation": "pdf", "filename": "12.pdf", "path": "12.pdf"},
]

MAPPING = {
    "customers": """
        SELECT id AS "Code", label AS name, region AS cluster, blocked AS suspended, meta
        FROM {0}customer -- '10:30' is no bind parameter, nor is this: :1
        ;
    """,
    "addresses": "SELECT customer_id AS customer, purpose AS key, address, display_name"
    " FROM {0}contact;",
    "clusters": "SELECT name, parent FROM {0}region -- the tree",
    "invoices": "SELECT id, customer_id AS customer, number, status, day AS date, total, 1 AS extra"
    " FROM {0}invoice WHERE status LIKE '%' AND ':x' <> '::y'",
    "documents": "SELECT invoice_id AS invoice, transformation, filename, path, content"
    " FROM {0}document",
}
"""SELECTs over the foreign tables; {0} is the attached database's prefix."""

_FOREIGN = """
    CREATE TABLE customer (
        id integer PRIMARY KEY, label varchar(80), region varchar(20), blocked {boolean},
        meta {json});
    CREATE TABLE contact (
        customer_id integer, purpose varchar(20), address varchar(80), display_name varchar(80));
    CREATE TABLE region (name varchar(20), parent varchar(20));
    CREATE TABLE invoice (
        id integer PRIMARY KEY, customer_id integer, number varchar(20), status varchar(20),
        day {date}, total {numeric});
    CREATE TABLE document (
        invoice_id integer, transformation varchar(20), filename varchar(80), path varchar(80),
        content {bytes});
    INSERT INTO customer VALUES
        (1, 'Acme GmbH', 'DE', {false}, '{{"vat": "DE1"}}'),
        (2, 'Žluťoučký 株式会社', 'All', {true}, NULL),
        (3, 'acme north', 'DE', NULL, NULL);
    INSERT INTO contact VALUES
        (1, 'invoice', 'b@acme.test', 'Berta'), (1, 'invoice', 'a@acme.test', ''),
        (1, 'invoice', 'a@acme.test', NULL), (1, 'invoices', 'old@acme.test', NULL),
        (2, 'invoice', 'c@example.test', NULL);
    INSERT INTO region VALUES ('All', NULL), ('DE', 'All');
    INSERT INTO invoice VALUES
        (10, 1, 'INV-10', 'Approved', '2026-10-31{time}', 3.96),
        (11, 1, '', 'Pending', '2026-11-01{time}', -20.5),
        (12, 2, 'INV-12', 'Approved', '2026-10-01{time}', 100);
    INSERT INTO document VALUES
        (10, 'ubl', '10.xml', NULL, {content}), (10, 'pdf', '10.pdf', '10.pdf', NULL),
        (12, 'pdf', '12.pdf', '12.pdf', NULL);
"""


@dataclass
class Billing:
    """One source over the sample data, and the database that it is read through."""

    database: Database
    source: Source
    mapped: bool
    file: Path | None = None

    def execute(self, own: str, foreign: str) -> None:
        """Change the data behind the source: by `own` in msgrun's tables, else by `foreign`."""
        if self.file is not None:
            _run_script(self.file, foreign)
            return
        prefix = "msgrun_" if self.database.is_sqlite else "msgrun."
        with self.database.write() as connection:
            connection.execute(text(foreign if self.mapped else own.format(prefix)))


def foreign_billing(database: Database, folder: Path) -> Billing:
    """Return the sample data in tables that msgrun does not know, mapped."""
    if database.is_sqlite:
        file = folder / "billing ä.sqlite"
        script = _FOREIGN.format(
            boolean="integer",
            json="text",
            date="datetime",
            numeric="real",
            bytes="blob",
            false="0",
            true="1",
            time=" 23:59:59",
            content="x'3c75626c2f3e'",
        )
        _run_script(file, script)
        database.attach["billing"] = file
        mapping = {name: sql.format("billing.") for name, sql in MAPPING.items()}
        return Billing(database, Source(database, mapping, folder), mapped=True, file=file)
    script = _FOREIGN.format(
        boolean="boolean",
        json="jsonb",
        date="date",
        numeric="numeric(10,2)",
        bytes="bytea",
        false="false",
        true="true",
        time="",
        content=r"'\x3c75626c2f3e'",
    )
    with database.write() as connection:
        connection.exec_driver_sql(script)
    mapping = {name: sql.format("") for name, sql in MAPPING.items()}
    return Billing(database, Source(database, mapping, folder), mapped=True)


def fill_own_tables(database: Database) -> None:
    """Write the sample data into msgrun's own tables."""
    invoices = [row | {"total": TOTALS[row["id"]]} for row in INVOICES]
    rows = {
        "customers": CUSTOMERS,
        "addresses": ADDRESSES,
        "clusters": CLUSTERS,
        "invoices": invoices,
        "documents": DOCUMENTS,
    }
    with database.write() as connection:
        for name, listed in rows.items():
            for row in listed:
                connection.execute(insert(database.tables.relation(name)).values(row))


def _run_script(file: Path, script: str) -> None:
    connection = sqlite3.connect(file)
    try:
        connection.executescript(script)
    finally:
        connection.close()
