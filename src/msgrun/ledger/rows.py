"""What the ledger hands out: runs, claims, counts, results."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import RowMapping

from msgrun.model import Address, Period, Refusal, Reply, Selection
from msgrun.states import MessageState, RunStatus


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run as the ledger has it.

    Attributes:
        distributed: handed over: any `msgrun worker` takes it on.
        purged_at: when the last of its personal data was taken out.
    """

    id: int
    uid: str
    definition: str
    status: RunStatus
    reason: str | None
    detail: str | None
    selection: Selection
    period_label: str | None
    schedule: str | None
    slot: str | None
    created_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    distributed: bool
    purged_at: datetime | None = None

    @classmethod
    def of(cls, row: RowMapping) -> "RunRow":
        """Build it from a row of the table `run`."""
        period = None
        if row["period_start"] is not None:
            period = Period(row["period_start"], row["period_end"], row["period"])
        selection = Selection(
            cluster=row["cluster"],
            children=row["children"],
            period=period,
            customers=tuple(row["customers"]),
            limit=row["message_limit"],
            redirect_to=row["redirect_to"],
            bcc=tuple(row["bcc"]),
            resend=row["resend"],
        )
        same = (
            "id",
            "uid",
            "definition",
            "reason",
            "detail",
            "schedule",
            "slot",
            "created_by",
            "created_at",
            "started_at",
            "finished_at",
            "distributed",
            "purged_at",
        )
        return cls(
            status=RunStatus(row["status"]),
            selection=selection,
            period_label=row["period"],
            **{name: row[name] for name in same},
        )


@dataclass(frozen=True, slots=True)
class Frozen:
    """A definition as it was when the run (or its revision) was made.

    Attributes:
        definition: the section of `msgrun.toml`, as JSON values.
        templates: part ("subject", "text", "html", and what these refer to: see
            `compose.gathering`) to (file name, source text; of a picture, base64).
    """

    name: str
    definition: Mapping[str, Any]
    templates: Mapping[str, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Counts:
    """Invoices of a run by state; `bounced` is part of `sent`, claimed and sending of `pending`."""

    in_scope: int = 0
    sent: int = 0
    skipped: int = 0
    rejected: int = 0
    failed: int = 0
    in_doubt: int = 0
    pending: int = 0
    deferred: int = 0
    bounced: int = 0

    @property
    def balances(self) -> bool:
        """Promise 1: every invoice in scope is accounted for."""
        return self.in_scope == (
            self.sent
            + self.skipped
            + self.rejected
            + self.failed
            + self.in_doubt
            + self.pending
            + self.deferred
        )

    @property
    def left_over(self) -> int:
        """How many did not get where they should: exit code 3 when there are any."""
        return self.rejected + self.failed + self.in_doubt + self.pending + self.deferred


@dataclass(frozen=True, slots=True)
class Summary:
    """A run with its figures: what `show` prints."""

    run: RunRow
    counts: Counts
    messages: Counts
    skipped: Mapping[str, int]
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Resend:
    """What a message that may have left before is made of again, to the byte.

    Attributes:
        context: what it was composed from, as JSON (`ledger.context`).
        sha256: of the bytes that may have left.
    """

    context: Mapping[str, Any]
    sha256: str

    @classmethod
    def of(cls, row: RowMapping) -> "Resend | None":
        """Read it from a row of the table `message`; None where nothing may have left."""
        if row["doubted_at"] is None:
            return None
        return cls(row["context"] or {}, row["sha256"] or "")


@dataclass(frozen=True, slots=True)
class Claim:
    """A message that a worker holds, with its permit.

    Attributes:
        not_before: when the rate limit lets it leave, by the database's clock.
        invoices: ids, in order.
        resend: set when it was in doubt and a person decided to send it again.
    """

    id: int
    number: int
    revision: int
    customer: str
    recipients: tuple[Address, ...]
    message_id: str
    date: datetime | None
    invoices: tuple[str, ...]
    attempts: int
    not_before: datetime
    resend: Resend | None = None

    COLUMNS: ClassVar = (
        *("id", "number", "revision", "customer", "recipients", "message_id", "date"),
        *("attempts", "doubted_at", "context", "sha256"),
    )

    @classmethod
    def of(cls, row: RowMapping, invoices: tuple[str, ...], not_before: datetime) -> "Claim":
        """Build it from a row of the table `message`."""
        return cls(
            id=row["id"],
            number=row["number"],
            revision=row["revision"],
            customer=row["customer"],
            recipients=addresses_of(row["recipients"]),
            message_id=row["message_id"],
            date=row["date"],
            invoices=invoices,
            attempts=row["attempts"],
            not_before=not_before,
            resend=Resend.of(row),
        )


@dataclass(frozen=True, slots=True)
class MessageRow:
    """One message with all that is known of it: what `results` prints.

    Attributes:
        purged_at: when its addresses, names and texts were taken out; they are empty since.
    """

    id: int
    run_id: int
    revision: int
    definition: str
    customer: str
    recipients: tuple[Address, ...]
    invoices: tuple[str, ...]
    state: MessageState
    reason: str | None
    detail: str | None
    message_id: str | None
    date: datetime | None
    reply: Reply | None
    answer: str | None
    stage: str | None
    queue_id: str | None
    attempts: int
    due_at: datetime | None
    doubted_at: datetime | None
    sent_at: datetime | None
    updated_at: datetime
    refused: tuple[Refusal, ...] = field(default=())
    purged_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A process that works, or worked, on a run.

    Attributes:
        run_id: None while it looks for a run.
        standing: a `msgrun worker`, which goes on to the next run.
        sent: messages of this run that were accepted, as of its last sign of life.
        per_minute: the same over its last minute, or since it began.
    """

    id: int
    run_id: int | None
    host: str
    boot_id: str
    pid: int
    started_at: datetime
    seen_at: datetime
    lease_until: datetime
    drained: bool
    ended_at: datetime | None
    standing: bool
    sent: int
    per_minute: int


def addresses_of(value: Any) -> tuple[Address, ...]:
    """Read the JSON of `message.recipients`."""
    return tuple(Address(each["address"], each.get("display_name") or "") for each in value)


def refusals_of(value: Any) -> tuple[Refusal, ...]:
    """Read the JSON of `message.refused`."""
    return tuple(
        Refusal(each["address"], Reply(each["code"], each["enhanced"], each["text"]))
        for each in value or ()
    )


def refusals_json(refused: tuple[Refusal, ...]) -> list[dict[str, Any]] | None:
    """Write the JSON of `message.refused`."""
    if not refused:
        return None
    return [
        {
            "address": each.address,
            "code": each.reply.code,
            "enhanced": each.reply.enhanced,
            "text": each.reply.text,
        }
        for each in refused
    ]
