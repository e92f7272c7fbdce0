"""A small billing world: a workspace on a test's database, with customers, invoices, documents."""

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import delete, insert, select, update

from msgrun.config import load_config
from msgrun.control.restart import Proposal, restart
from msgrun.control.start import start
from msgrun.control.work import Ending
from msgrun.database import Database
from msgrun.events import Event
from msgrun.importing import import_files
from msgrun.ledger import runs, views
from msgrun.ledger.rows import Frozen, MessageRow, RunRow
from msgrun.model import Selection
from msgrun.workspace import Workspace

DEFINITION = "monthly"
TODAY = date(2026, 11, 3)

_CONFIG = """
[database]
url = "{url}"
[source]
documents_root = "documents"
[servers.default]
host = "127.0.0.1"
port = {port}
security = "none"
connections = {connections}
timeout = 5
dot_timeout = 10
rate_per_minute = {rate}
[senders.billing]
address = "billing@acme.test"
name = "Acme Billing"
[definitions.monthly]
from_key = "billing"
recipient_key = "invoice"
subject = "Invoice {{{{ invoices[0].number }}}}"
text = "monthly.txt"
documents = ["pdf"]
cluster = "All"
period = "2026-10"
collate = {collate}
bcc = {bcc}
"""


@dataclass
class World:
    """One workspace, and what a person would do with it."""

    folder: Path
    workspace: Workspace
    events: list[Event] = field(default_factory=list)

    @property
    def database(self) -> Database:
        """The workspace's database."""
        return self.workspace.database

    @property
    def frozen(self) -> Frozen:
        """The definition as it is now."""
        return self.workspace.freeze(DEFINITION)

    def selection(self, **wanted: Any) -> Selection:
        """Return a selection with the definition's usual cluster and period."""
        definition = self.workspace.config.definitions[DEFINITION]
        return self.workspace.selection(definition, today=TODAY, **wanted)

    def start(
        self, *, once: bool = False, confirm: Callable[..., bool] | None = None, **wanted: Any
    ) -> Ending:
        """Start the definition with everything confirmed; it must not be declined."""
        ending = start(
            self.workspace,
            DEFINITION,
            self.selection(**wanted),
            confirm=confirm or (lambda _plan, _checked: True),
            wait=False,
            once=once,
            listener=self.events.append,
        )
        assert ending is not None
        return ending

    def restart(self, run: str = "last", *, failed: bool = False) -> tuple[Ending, list[Proposal]]:
        """Restart a run with everything confirmed; return also what was proposed."""
        proposals: list[Proposal] = []

        def confirm(proposal: Proposal) -> bool:
            proposals.append(proposal)
            return True

        ending = restart(
            self.workspace,
            run,
            failed=failed,
            confirm=confirm,
            wait=False,
            listener=self.events.append,
        )
        assert ending is not None
        return ending, proposals

    def reconfigure(self, old: str, new: str) -> None:
        """Change the text of `msgrun.toml` and open it again."""
        path = self.folder / "msgrun.toml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        self.workspace = Workspace.of(load_config(path))

    def define_also(self, name: str) -> None:
        """Add a definition like the first to `msgrun.toml` and open it again."""
        path = self.folder / "msgrun.toml"
        text = path.read_text("utf-8")
        first = text[text.index(f"[definitions.{DEFINITION}]") :]
        other = first.replace(f"definitions.{DEFINITION}", f"definitions.{name}")
        path.write_text(text + other, "utf-8")
        self.workspace = Workspace.of(load_config(path))

    def change(self, relation: str, key: Mapping[str, Any], /, **values: Any) -> None:
        """Update the rows of the billing data that have these column values."""
        table = self.database.tables.relation(relation)
        matching = [table.c[name] == value for name, value in key.items()]
        with self.database.write() as connection:
            changed = connection.execute(update(table).where(*matching).values(**values))
        assert changed.rowcount

    def add(self, relation: str, **values: Any) -> None:
        """Insert one row of billing data."""
        with self.database.write() as connection:
            connection.execute(insert(self.database.tables.relation(relation)).values(**values))

    def remove(self, relation: str, **key: Any) -> None:
        """Delete the rows of the billing data that have these column values."""
        table = self.database.tables.relation(relation)
        matching = [table.c[name] == value for name, value in key.items()]
        with self.database.write() as connection:
            assert connection.execute(delete(table).where(*matching)).rowcount

    def messages(self, run: int | None = None) -> list[MessageRow]:
        """Return the messages of a run, or of all."""
        with self.database.read() as connection, connection.begin():
            return list(views.messages(connection, self.database.tables, run_id=run))

    def states(self, run: int | None = None) -> dict[str, str]:
        """Return invoice to state, or for what was skipped or failed, its reason."""
        shown = {}
        for message in self.messages(run):
            for invoice in message.invoices:
                named = message.state in {"skipped", "failed"}
                shown[invoice] = str(message.reason if named else message.state.value)
        return shown

    def runs(self) -> list[RunRow]:
        """Return all runs, newest first."""
        with self.database.read() as connection, connection.begin():
            return runs.list_runs(connection, self.database.tables, limit=100)

    def count(self, table: str) -> int:
        """Return the number of rows of one of the ledger's tables."""
        with self.database.read() as connection, connection.begin():
            return len(connection.execute(select(getattr(self.database.tables, table))).all())


def code(number: int) -> str:
    """Return the code of the n-th customer, from 1."""
    return f"C{number:03}"


def bill(number: int) -> str:
    """Return the id of the n-th customer's invoice."""
    return f"i{number:03}"


def address(number: int) -> str:
    """Return the address of the n-th customer."""
    return f"c{number:03}@customer.test"


def make_world(
    database: Database,
    folder: Path,
    port: int,
    *,
    customers: int = 4,
    connections: int = 2,
    rate: int = 0,
    collate: bool = False,
    bcc: Iterable[str] = (),
) -> World:
    """Write a workspace into `folder` and fill the database's own tables.

    Each customer has one approved invoice of 10.00 EUR in October 2026, with one document
    that holds the customer's code; odd ones are in DE, even ones in All.
    """
    url = database.url.render_as_string(hide_password=False)
    config = _CONFIG.format(
        url=url,
        port=port,
        connections=connections,
        rate=rate,
        collate=str(collate).lower(),
        bcc=[*bcc],
    )
    (folder / "msgrun.toml").write_text(config)
    (folder / "monthly.txt").write_text("Dear {{ customer.name }} ({{ customer.code }})\n")
    _write_billing(folder, range(1, customers + 1))
    workspace = Workspace.of(load_config(folder / "msgrun.toml"))
    import_files(workspace.database, sorted(folder.glob("*.csv")))
    return World(folder, workspace)


def _write_billing(folder: Path, numbers: Iterable[int]) -> None:
    documents = folder / "documents"
    documents.mkdir()
    rows: dict[str, list[dict[str, str]]] = {
        "clusters": [{"name": "All", "parent": ""}, {"name": "DE", "parent": "All"}],
        "customers": [],
        "addresses": [],
        "invoices": [],
        "documents": [],
    }
    for number in numbers:
        customer, invoice, file = code(number), bill(number), f"{bill(number)}.pdf"
        (documents / file).write_bytes(b"%PDF-1.4\n" + customer.encode() + b"\n%%EOF\n")
        cluster = "DE" if number % 2 else "All"
        rows["customers"].append({"code": customer, "name": f"N {number}", "cluster": cluster})
        rows["addresses"].append(
            {"customer": customer, "key": "invoice", "address": address(number)}
        )
        rows["invoices"].append(
            {"id": invoice, "customer": customer, "number": f"INV-{number}", "status": "Approved",
             "date": "2026-10-31", "currency": "EUR", "total": "10.00"}
        )  # fmt: skip
        rows["documents"].append(
            {"invoice": invoice, "transformation": "pdf", "filename": file,
             "media_type": "application/pdf", "path": file}
        )  # fmt: skip
    for name, listed in rows.items():
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file_:
            writer = csv.DictWriter(file_, list(listed[0]))
            writer.writeheader()
            writer.writerows(listed)
