"""A billing office on a database whose clock the test sets: three customers, five invoices."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, insert, update

from msgrun.config import load_config
from msgrun.database import Database
from msgrun.model import Period
from msgrun.source import Source
from msgrun.workspace import Workspace

NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)
OCTOBER = Period(NOW.date().replace(month=10, day=1), NOW.date().replace(month=10, day=31), "10")
DEFINITIONS = ("monthly", "reminder")
CUSTOMERS = ("C1", "C2", "C3")
INVOICES = ("i1", "i2", "i3", "i4", "i5")
CONFIG = """
[database]
url = "{url}"
[servers.default]
host = "127.0.0.1"
port = 1
security = "none"
[senders.billing]
address = "billing@acme.test"
[definitions.monthly]
from_key = "billing"
recipient_key = "invoice"
subject = "Invoice"
text = "text.txt"
[definitions.reminder]
from_key = "billing"
recipient_key = "invoice"
subject = "Reminder"
text = "text.txt"
collate = true
"""


class ClockedDatabase(Database):
    """A database whose clock the test sets."""

    moment = NOW

    def now(self, connection: Connection) -> datetime:
        """Return the test's time."""
        return self.moment


def open_office(database: Database, folder: Path) -> Workspace:
    """Return a workspace on a database whose clock can be set; `fill` makes its data."""
    url = database.url.render_as_string(hide_password=False)
    (folder / "msgrun.toml").write_text(CONFIG.format(url=url))
    (folder / "text.txt").write_text("Dear")
    config = load_config(folder / "msgrun.toml")
    clocked = ClockedDatabase(url)
    return Workspace(config, clocked, Source(clocked, {}, folder))


def fill(database: Database) -> None:
    """Empty the database, and write the office's data."""
    tables = database.tables
    with database.write() as connection:
        for table in reversed(tables.metadata.sorted_tables):
            connection.execute(delete(table))
        for code in CUSTOMERS:
            connection.execute(insert(tables.customers).values(code=code, name=code))
            row = {"customer": code, "key": "invoice", "address": f"{code}@customer.test"}
            connection.execute(insert(tables.addresses).values(**row))
        for number, key in enumerate(INVOICES):
            row = {"id": key, "customer": CUSTOMERS[number % 3], "number": key}
            row |= {"status": "Approved", "date": "2026-10-31"}
            connection.execute(insert(tables.invoices).values(**row))


def change(database: Database, relation: str, which: str, **values: Any) -> None:
    """Change an invoice by its id, or a customer's addresses."""
    table = database.tables.relation(relation)
    column = table.c.id if relation == "invoices" else table.c.customer
    with database.write() as connection:
        connection.execute(update(table).where(column == which).values(**values))
