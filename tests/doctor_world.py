"""A small billing office in which one thing at a time is wrong."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import delete, insert, select, update

from msgrun.config import load_config
from msgrun.database import Database
from msgrun.doctor import Finding, Report, diagnose
from msgrun.ledger import runs
from msgrun.ledger.rows import RunRow
from msgrun.model import Selection
from msgrun.planning.draft import draft_run
from msgrun.selection import parse_period
from msgrun.states import HOLDING, MessageState, RunStatus
from msgrun.workspace import Workspace

TODAY = date(2026, 11, 25)
SENT_AT = datetime(2026, 11, 1, 7, 0, 3, tzinfo=UTC)
PDF = b"%PDF-1.7 an invoice"

DEFINITION: Mapping[str, Any] = {
    "from_key": "billing",
    "recipient_key": "invoice",
    "subject": "Invoice {{ invoice.number }}",
    "text": "monthly.txt",
    "documents": ["pdf"],
    "cluster": "All",
    "period": "previous-month",
}
SERVER: Mapping[str, Any] = {"host": "127.0.0.1", "port": 1, "security": "none", "timeout": 5}


class World:
    """One customer, C1, to whom all is well; tests plant their fault.

    Attributes:
        definition: of the definition `monthly`; changed in place, then read by `workspace`.
        server: of the server `default`.
        further: more definitions by name, `sections` any other tables of the file.
    """

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.folder = folder
        self.definition = dict(DEFINITION)
        self.further: dict[str, dict[str, Any]] = {}
        self.server = dict(SERVER)
        self.sender: dict[str, Any] = {"address": "billing@sender.test"}
        self.sections: dict[str, dict[str, Any]] = {}
        (folder / "monthly.txt").write_text("Dear {{ customer.name }}")
        for name, parent in (("All", None), ("Europe", "All"), ("DE", "Europe"), ("US", "All")):
            self.add("clusters", name=name, parent=parent)
        self.add("customers", code="C1", name="Acme GmbH", cluster="DE", suspended=False)
        self.add("addresses", customer="C1", key="invoice", address="a@acme.test")
        self.add_invoice("I1", "INV-1")

    def add(self, relation: str, **values: Any) -> None:
        """Insert a row of the source."""
        with self.database.write() as connection:
            connection.execute(insert(self.database.tables.relation(relation)).values(**values))

    def add_invoice(
        self, key: str, number: str | None, customer: str = "C1", **values: Any
    ) -> None:
        """Insert an approved invoice of October with its PDF."""
        row = {"status": "Approved", "period_end": "2026-10-31", "date": "2026-11-01"} | values
        self.add("invoices", id=key, customer=customer, number=number, **row)
        self.add("documents", invoice=key, transformation="pdf", filename="i.pdf",
                 media_type="application/pdf", content=PDF)  # fmt: skip

    def change(self, relation: str, **values: Any) -> None:
        """Change every row of a relation of the source."""
        table = self.database.tables.relation(relation)
        with self.database.write() as connection:
            connection.execute(update(table).values(**values))

    def empty(self, relation: str) -> None:
        """Delete every row of a relation of the source."""
        with self.database.write() as connection:
            connection.execute(delete(self.database.tables.relation(relation)))

    @property
    def workspace(self) -> Workspace:
        """The configuration as it is now, opened."""
        url = self.database.url.render_as_string(hide_password=False)
        sections = {
            "database": {"url": url},
            "servers.default": self.server,
            "senders.billing": self.sender,
            "definitions.monthly": self.definition,
            **{f"definitions.{name}": content for name, content in self.further.items()},
            **self.sections,
        }
        lines = []
        for section, content in sections.items():
            lines.append(f"[{section}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in content.items()]
        file = self.folder / "msgrun.toml"
        file.write_text("\n".join(lines))
        return Workspace.of(load_config(file, environ={}))

    def run(self, name: str = "monthly", period: str = "2026-10", **selection: Any) -> RunRow:
        """Plan a run for real and move it to running."""
        workspace = self.workspace
        frozen = workspace.freeze(name)
        asked = Selection(**{"cluster": "All", "period": parse_period(period, TODAY), **selection})
        criteria = workspace.criteria(frozen, asked)
        with draft_run(self.database, workspace.source, frozen, criteria) as draft:
            run = draft.commit("sender.test", lambda _, run: run)
        self.move(run, RunStatus.RUNNING)
        return run

    def move(self, run: RunRow, *statuses: RunStatus, **values: str) -> None:
        """Move a run along the table of moves."""
        with self.database.write() as connection:
            for status in statuses:
                now = self.database.now(connection)
                assert runs.move_run(
                    connection, self.database.tables, run.id, status, now, **values
                )

    def settle(self, run: RunRow, state: MessageState, **values: Any) -> None:
        """Put every message of a run that was to be sent in a state."""
        message, link = self.database.tables.message, self.database.tables.message_invoice
        with self.database.write() as connection:
            ids = connection.execute(
                update(message)
                .where(message.c.run_id == run.id, message.c.state != MessageState.SKIPPED)
                .values(state=state, **values)
                .returning(message.c.id)
            ).scalars()
            connection.execute(
                update(link)
                .where(link.c.message_id.in_(list(ids)))
                .values(holds=state in HOLDING and run.selection.redirect_to is None)
            )

    def sent(self, run: RunRow) -> None:
        """Let the server have accepted everything, and the run have finished."""
        self.settle(
            run, MessageState.SENT, sent_at=SENT_AT, code=250, enhanced="2.0.0",
            reply="Ok: queued as Q7", queue_id="Q7", stage="dot",
        )  # fmt: skip
        self.move(run, RunStatus.FINISHED)

    def states(self) -> list[str]:
        """Return the states of all messages."""
        message = self.database.tables.message
        with self.database.read() as connection, connection.begin():
            return list(connection.scalars(select(message.c.state).order_by(message.c.id)))

    def ask(self, customer: str | None = "C1", *, offline: bool = True, **asked: Any) -> Report:
        """Ask the doctor, by default without the mail server."""
        return diagnose(self.workspace, customer, today=TODAY, offline=offline, **asked)


def one(report: Report, code: str) -> Finding:
    """Return the only finding with a code."""
    (finding,) = [each for each in report.findings if each.code == code]
    return finding
