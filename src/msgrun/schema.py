"""The tables, once for each database kind.

On SQLite the names carry the prefix `msgrun_` (the file may be the billing
database itself); on PostgreSQL they live in the schema `msgrun`.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Dialect,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
    true,
)
from sqlalchemy.types import TypeEngine

from msgrun.states import LIVE, MessageState, RunStatus, SlotState

REVISION: Final = "0005"
"""The newest migration; a database of another revision is refused (MR001)."""

RELATIONS: Final = ("customers", "addresses", "clusters", "invoices", "documents")
"""The relations of the source, in the order in which `import` loads them."""


class Timestamp(TypeDecorator[datetime]):
    """An instant in UTC: `timestamptz` on PostgreSQL, sortable RFC 3339 text on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column type."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(27))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Write an aware datetime."""
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Read an aware datetime in UTC."""
        if value is None:
            return None
        instant = datetime.fromisoformat(value) if isinstance(value, str) else value
        return instant.astimezone(UTC)


def json_text(value: Any) -> str:
    """Return a JSON value as text that every database takes."""
    written = json.dumps(value, ensure_ascii=False)
    try:
        written.encode()
    except UnicodeEncodeError:
        # Half a surrogate pair, which JSON can say and no database takes as text.
        return json.dumps(value)
    return written


class JsonText(TypeDecorator[Any]):
    """A JSON value kept as text, the same on every database."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Write any JSON value."""
        return None if value is None else json_text(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Read it back."""
        return None if value is None else json.loads(value)


@dataclass(frozen=True, slots=True)
class Tables:
    """Every table of one database kind."""

    metadata: MetaData
    customers: Table
    addresses: Table
    clusters: Table
    invoices: Table
    documents: Table
    run: Table
    run_revision: Table
    message: Table
    message_invoice: Table
    attempt: Table
    event: Table
    server: Table
    worker: Table
    schedule: Table
    slot: Table
    news: Table

    def relation(self, name: str) -> Table:
        """Return msgrun's own table for one relation of the source."""
        table: Table = getattr(self, name)
        return table


BigId = BigInteger().with_variant(Integer, "sqlite")


def _one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


def _source_tables(make: "_Maker") -> dict[str, Table]:
    return {
        "customers": make(
            "customers",
            Column("code", Text, primary_key=True),  # what people call the customer by
            Column("name", Text, nullable=False),  # shown and printed
            Column("cluster", Text),  # node of the cluster tree
            Column("suspended", Boolean, nullable=False, server_default=false()),  # gets no mail
            Column("language", Text),  # for templates, e.g. "de"
            Column("timezone", Text),  # IANA name, for templates
            Column("meta", Text),  # JSON object, free for templates
        ),
        "addresses": make(
            "addresses",
            Column("customer", Text, nullable=False),  # customers.code
            Column("key", Text, nullable=False),  # what the address is for, e.g. "invoice"
            Column("address", Text, nullable=False),  # the mail address
            Column("display_name", Text),  # shown beside the address
            PrimaryKeyConstraint("customer", "key", "address"),
        ),
        "clusters": make(
            "clusters",
            Column("name", Text, primary_key=True),
            Column("parent", Text),  # NULL at the root
        ),
        "invoices": make(
            "invoices",
            Column("id", Text, primary_key=True),  # never shown to customers
            Column("customer", Text, nullable=False, index=True),  # customers.code
            Column("number", Text),  # NULL while the invoice is a concept
            Column("status", Text, nullable=False),  # the source's own word
            Column("type", Text),  # e.g. "invoice", "credit note"
            Column("date", Text),  # ISO 8601
            Column("period_start", Text),  # ISO 8601
            Column("period_end", Text),  # ISO 8601; decides the period, else `date`
            Column("currency", Text),  # ISO 4217
            Column("total", Text),  # decimal string
            Column("meta", Text),  # JSON object, free for templates
        ),
        "documents": make(
            "documents",
            Column("invoice", Text, nullable=False),  # invoices.id
            Column("transformation", Text, nullable=False),  # e.g. "pdf", "ubl"
            Column("filename", Text, nullable=False),  # as the recipient sees it
            Column("media_type", Text),  # e.g. "application/pdf"
            Column("path", Text),  # under the documents root; or
            Column("content", LargeBinary),  # the bytes themselves
            PrimaryKeyConstraint("invoice", "transformation", "filename"),
        ),
    }


def _run_tables(make: "_Maker") -> dict[str, Table]:
    live = ", ".join(f"'{status}'" for status in sorted(LIVE))
    run = make(
        "run",
        Column("id", BigId, primary_key=True),  # the number people use
        Column("uid", Text, nullable=False, unique=True),  # random; part of its Message-IDs
        Column("definition", Text, nullable=False),  # name in msgrun.toml
        Column("status", Text, nullable=False),  # states.RunStatus
        Column("reason", Text),  # why it is paused: a finding code
        Column("detail", Text),  # the same in words
        Column("cluster", Text),  # selection: root of the cluster tree, NULL for all
        Column("children", Boolean, nullable=False),  # selection: descendants too
        Column("period", Text),  # selection: as people say it, NULL for all
        Column("period_start", Date),  # first day
        Column("period_end", Date),  # last day
        Column("customers", JsonText, nullable=False),  # selection: codes, [] for all
        Column("message_limit", Integer),  # selection: --limit
        Column("redirect_to", Text),  # every message went there instead
        Column("bcc", JsonText, nullable=False),  # further blind copies
        Column("resend", Boolean, nullable=False),  # invoices sent before were let in
        Column("schedule", Text),  # the schedule that started it
        Column("slot", Text),  # the schedule's slot
        Column("created_by", Text, nullable=False),  # user@host
        Column("created_at", Timestamp, nullable=False),
        Column("started_at", Timestamp),  # first time it ran
        Column("finished_at", Timestamp),  # when it last came to rest
        Column("distributed", Boolean, nullable=False, server_default=false()),  # for any worker
        Column("purged_at", Timestamp),  # when the last of its personal data went (`purge`)
        _one_of("status", RunStatus),
    )
    Index(
        f"{make.prefix}run_one_live",
        run.c.definition,
        unique=True,
        **make.where(f"status IN ({live})"),
    )
    revision = make(
        "run_revision",
        Column("run_id", BigId, nullable=False),
        Column("number", Integer, nullable=False),  # 1 at start, +1 with each `restart --failed`
        Column("frozen", JsonText, nullable=False),  # definition and template texts as they were
        Column("created_at", Timestamp, nullable=False),
        PrimaryKeyConstraint("run_id", "number"),
        ForeignKeyConstraint(["run_id"], [run.c.id]),
    )
    event = make(
        "event",
        Column("id", BigId, primary_key=True),
        Column("run_id", BigId, nullable=False, index=True),
        Column("at", Timestamp, nullable=False),
        Column("actor", Text, nullable=False),  # user@host
        Column("kind", Text, nullable=False),  # e.g. "started", "stop asked", "recovered"
        Column("detail", Text),  # in words
        ForeignKeyConstraint(["run_id"], [run.c.id]),
    )
    worker = make(
        "worker",
        Column("id", BigId, primary_key=True),  # also the fencing token of its claims
        Column("run_id", BigId, index=True),  # NULL while it looks for one
        Column("host", Text, nullable=False),
        Column("boot_id", Text, nullable=False),  # tells a dead pid from a reused one
        Column("pid", Integer, nullable=False),
        Column("started_at", Timestamp, nullable=False),
        Column("seen_at", Timestamp, nullable=False),  # last sign of life
        Column("lease_until", Timestamp, nullable=False),  # others keep off until then
        Column("drained", Boolean, nullable=False),  # stop seen, no connection near its dot
        Column("ended_at", Timestamp),  # NULL while it lives
        Column(
            "standing", Boolean, nullable=False, server_default=false()
        ),  # takes the next run too
        Column("sent", Integer, nullable=False, server_default=text("0")),  # accepted, as last seen
        Column("per_minute", Integer, nullable=False, server_default=text("0")),  # the same, lately
        ForeignKeyConstraint(["run_id"], [run.c.id]),
    )
    server = make(
        "server",
        Column("name", Text, primary_key=True),  # name in msgrun.toml
        Column("next_free_at", Timestamp),  # GCRA: when the next permit is due
        Column("closed_until", Timestamp),  # its daily quota was used up: not before
    )
    return {
        "run": run,
        "run_revision": revision,
        "event": event,
        "worker": worker,
        "server": server,
    }


def _message_tables(make: "_Maker", run: Table) -> dict[str, Table]:
    message = make(
        "message",
        Column("id", BigId, primary_key=True),
        Column("run_id", BigId, nullable=False),
        Column("number", Integer, nullable=False),  # place in the run, from 1
        Column("revision", Integer, nullable=False),  # run_revision that composes it
        Column("customer", Text, nullable=False, index=True),  # customers.code
        Column("recipients", JsonText, nullable=False),  # [{"address", "display_name"}]
        Column("state", Text, nullable=False),  # states.MessageState
        Column("reason", Text),  # finding code of a state that is not sent
        Column("detail", Text),  # the same in words, where the code alone does not say it
        Column("message_id", Text, unique=True),  # header Message-ID; NULL while skipped
        Column("date", Timestamp),  # header Date, set at the first intent
        Column("sha256", Text),  # of the bytes, set at intent
        Column("size", Integer),  # bytes, set at intent
        Column("context", JsonText),  # what it was composed from, kept while it may be in doubt
        Column("doubted_at", Timestamp),  # first in doubt then: its bytes may never change
        Column("attempts", Integer, nullable=False),  # tries that cost the message something
        Column("due_at", Timestamp),  # deferred: not before
        Column("deadline_at", Timestamp),  # deferred: not after
        Column("token", BigId),  # worker.id of the claim (fencing)
        Column("lease_until", Timestamp),  # the claim's end
        Column("stage", Text),  # where the last answer came
        Column("code", Integer),  # last answer: basic status code
        Column("enhanced", Text),  # last answer: enhanced status code
        Column("reply", Text),  # last answer: text
        Column("queue_id", Text),  # the server's name for it
        Column("refused", JsonText),  # recipients refused while others were taken
        Column("sent_at", Timestamp),  # when the 250 came
        Column("updated_at", Timestamp, nullable=False),
        Column("purged_at", Timestamp),  # when its personal data went (`purge`)
        ForeignKeyConstraint(["run_id"], [run.c.id]),
        _one_of("state", MessageState),
    )
    Index(f"{make.prefix}message_of_run", message.c.run_id, message.c.number, unique=True)
    Index(f"{make.prefix}message_by_state", message.c.run_id, message.c.state, message.c.number)
    message_invoice = make(
        "message_invoice",
        Column("message_id", BigId, nullable=False),
        Column("invoice", Text, nullable=False, index=True),  # invoices.id
        Column("definition", Text, nullable=False),  # repeated here for the guard
        Column("generation", Integer, nullable=False),  # 1, raised by --resend
        Column("holds", Boolean, nullable=False, server_default=true()),  # states.HOLDING
        PrimaryKeyConstraint("message_id", "invoice"),
        ForeignKeyConstraint(["message_id"], [message.c.id]),
    )
    Index(
        f"{make.prefix}message_invoice_guard",
        message_invoice.c.definition,
        message_invoice.c.invoice,
        message_invoice.c.generation,
        unique=True,
        **make.where("holds"),
    )
    attempt = make(
        "attempt",
        Column("id", BigId, primary_key=True),
        Column("message_id", BigId, nullable=False, index=True),
        Column("at", Timestamp, nullable=False),
        Column("verdict", Text, nullable=False),  # model.Verdict, never "accepted"
        Column("stage", Text, nullable=False),  # model.Stage
        Column("code", Integer),
        Column("enhanced", Text),
        Column("reply", Text),  # the answer's text, or what happened in words
        ForeignKeyConstraint(["message_id"], [message.c.id]),
    )
    return {"message": message, "message_invoice": message_invoice, "attempt": attempt}


def _schedule_tables(make: "_Maker", run: Table) -> dict[str, Table]:
    schedule = make(
        "schedule",
        Column("name", Text, primary_key=True),  # name in msgrun.toml
        Column("cron", Text, nullable=False),  # as last seen
        Column("timezone", Text, nullable=False),  # as last seen
        Column("since", Timestamp, nullable=False),  # its slots up to then are not run
        Column("looked_at", Timestamp, nullable=False),  # last `run-due`
        Column("paused_at", Timestamp),  # NULL while it is not paused
        Column("paused_by", Text),  # user@host
    )
    slot = make(
        "slot",
        Column("id", BigId, primary_key=True),
        Column("schedule", Text, nullable=False),  # schedule.name
        Column("slot", Timestamp, nullable=False),  # the moment itself
        Column("state", Text, nullable=False),  # states.SlotState
        Column("run_id", BigId, unique=True),  # written with the run, in one transaction
        Column("tries", Integer, nullable=False),  # times taken; fences whoever took it before
        Column("taken_at", Timestamp, nullable=False),  # or found to be missed
        Column("taken_by", Text, nullable=False),  # user@host
        Column("host", Text, nullable=False),
        Column("boot_id", Text, nullable=False),  # tells a dead pid from a reused one
        Column("pid", Integer, nullable=False),
        Column("due_at", Timestamp),  # the next try: not before
        Column("code", Integer),  # exit code of the last try
        Column("detail", Text),  # the same in words
        Column("ended_at", Timestamp),  # ended or missed since
        UniqueConstraint("schedule", "slot"),
        ForeignKeyConstraint(["run_id"], [run.c.id]),
        _one_of("state", SlotState),
    )
    news = make(
        "news",
        Column("schedule", Text, nullable=False),  # slot.schedule
        Column("slot", Timestamp, nullable=False),  # slot.slot
        Column("kind", Text, nullable=False),  # "failed", "paused", "missed", "finished"
        Column("told_at", Timestamp, nullable=False),  # before it is tried: never twice
        Column("problem", Text),  # why it did not arrive
        PrimaryKeyConstraint("schedule", "slot", "kind"),
    )
    return {"schedule": schedule, "slot": slot, "news": news}


class _Maker:
    """Names tables and their indexes for one database kind."""

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self.prefix = "msgrun_" if dialect == "sqlite" else ""
        schema = None if dialect == "sqlite" else "msgrun"
        naming = {
            "pk": "%(table_name)s_pkey",
            "ix": "%(table_name)s_%(column_0_name)s",
            "uq": "%(table_name)s_%(column_0_name)s_key",
            "fk": "%(table_name)s_%(column_0_name)s_fkey",
            "ck": "%(table_name)s_%(constraint_name)s",
        }
        self.metadata = MetaData(schema=schema, naming_convention=naming)

    def __call__(self, name: str, *items: Any) -> Table:
        return Table(f"{self.prefix}{name}", self.metadata, *items)

    def where(self, condition: str) -> dict[str, Any]:
        """Return what makes an index a partial one.

        Said for this kind of database alone: SQLAlchemy loads each kind that is named.
        """
        return {f"{self._dialect}_where": text(condition)}


@cache
def tables(dialect: str) -> Tables:
    """Return the tables for a database kind ("sqlite" or "postgresql")."""
    make = _Maker(dialect)
    runs = _run_tables(make)
    return Tables(
        make.metadata,
        **_source_tables(make),
        **runs,
        **_message_tables(make, runs["run"]),
        **_schedule_tables(make, runs["run"]),
    )
