"""A rehearsal: every message of a run composed into a folder; nothing is sent, nothing is marked.

It does not use `transport.file`, which syncs every file and names it by its Message-ID, in one
folder: right for a transport, whose word counts; slow and unreadable here.
"""

import asyncio
import json
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from email.header import decode_header, make_header
from itertools import islice
from pathlib import Path
from typing import Final
from uuid import uuid4

from msgrun.control.example import REVISION, claim_of
from msgrun.control.rehearsal_folder import RehearsalFolder
from msgrun.control.work import signals, worth_processes
from msgrun.delivery.composers import AT_ONCE, Composer, ProcessComposer, ThreadComposer
from msgrun.delivery.composing import Kitchen, Ready, Unsendable
from msgrun.ledger.rows import Counts
from msgrun.model import CONCEPT, Invoice, Selection
from msgrun.planning.comparing import Comparing
from msgrun.planning.comparison import Comparison
from msgrun.planning.draft import Draft, draft_run
from msgrun.planning.outline import Planned
from msgrun.preflight import check_funnel
from msgrun.workspace import Workspace, message_id_domain

_BATCH: Final = 48  # messages composed at a time
_AHEAD: Final = 4  # batches on the way at a time
_AHEAD_BYTES: Final = 32 * 1024 * 1024  # of composed messages, about
_ATTACHED: Final = b"\r\nContent-Disposition: attachment"
_SUBJECT: Final = re.compile(rb"^Subject: (.*?)\r\n(?![ \t])", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """One message of a rehearsal.

    Attributes:
        number: its place in the run.
        state: "composed", "failed" or "skipped".
        name: the customer's; "" where it was not looked up.
        invoices: their numbers as people see them.
        totals: currency to sum of the invoices.
        to: the addresses that it would go to.
        attachments: how many.
        size: bytes; 0 where there is no message.
        finding: why there is none: a code; "" where there is one.
        detail: the same in words.
        file: its path within the folder; "" where there is none.
        subject: as people see it.
    """

    number: int
    state: str
    customer: str
    name: str
    invoices: tuple[str, ...]
    totals: Mapping[str, Decimal]
    to: tuple[str, ...]
    attachments: int = 0
    size: int = 0
    finding: str = ""
    detail: str = ""
    file: str = ""
    subject: str = ""


@dataclass(slots=True)
class Rehearsed:
    """What came of a rehearsal, and while it goes on, how far it is.

    Attributes:
        to_compose: messages that there were to compose.
        invoices, messages: by state; what was composed is pending.
        skipped: reason code to invoices.
        failed: finding code to messages.
        size: bytes of all messages.
        complete: whether every message was tried.
        interrupted: exit code of the signal that ended it; 0 for none.
    """

    definition: str
    folder: Path
    to_compose: int
    invoices: Counts = field(default_factory=Counts)
    messages: Counts = field(default_factory=Counts)
    skipped: Mapping[str, int] = field(default_factory=dict)
    failed: Counter[str] = field(default_factory=Counter)
    size: int = 0
    complete: bool = False
    interrupted: int = 0
    comparison: Comparison | None = None


Hearing = Callable[[Rehearsed, Sequence[Rehearsal]], None]
"""Is told how far it is, and of each batch in the order of the run."""


def rehearse(
    workspace: Workspace,
    name: str,
    selection: Selection,
    folder: RehearsalFolder,
    listener: Hearing,
    processes: int | None = None,
) -> Rehearsed:
    """Compose every message of a run into a folder.

    No guard is taken, what was sent before is composed again, and blind copies are left out.

    Args:
        workspace: configuration, database, source.
        name: the definition.
        selection: what to cover.
        folder: where to.
        listener: told of every message.
        processes: how many work on it, this one included; None: as many as it is worth.

    Raises:
        PreflightError: nobody would get a message (MR204, MR205), from key unknown (MR202), or a
            template does not compile (MR301); nothing is written then.
        MsgrunError: source, database or folder cannot be used; the folder says it is incomplete.
    """
    frozen = workspace.freeze(name)
    revision = workspace.revision(frozen, selection)
    criteria = workspace.criteria(frozen, selection, guarded=False)
    kitchen = Kitchen(workspace.database, workspace.source, {REVISION: revision})
    domain = message_id_domain(workspace.sender_of(frozen))
    with draft_run(workspace.database, workspace.source, frozen, criteria) as draft:
        plan = draft.plan
        check_funnel(workspace, frozen, plan)
        folder.begin(name, plan.in_scope)
        told = Rehearsed(name, folder.path, plan.messages, skipped=plan.skipped)
        stage = _Stage(workspace, draft, folder, told, listener, domain)
        number = processes or worth_processes(plan.messages, timedelta(0))
        asyncio.run(stage.play(kitchen, number))
        if told.complete:
            told.comparison = stage.comparing.whole()
            folder.complete()
    return told


class _Stage:
    """One rehearsal as it goes on."""

    def __init__(
        self,
        workspace: Workspace,
        draft: Draft,
        folder: RehearsalFolder,
        told: Rehearsed,
        listener: Hearing,
        domain: str,
    ) -> None:
        self._workspace = workspace
        self._draft = draft
        self._folder = folder
        self._told = told
        self._listener = listener
        self._id = f"<{uuid4().hex}.{{}}@{domain}>"  # as the run would write them
        self._idle: asyncio.Queue[Composer] = asyncio.Queue()
        self._invoices: Counter[str] = Counter()
        self._messages: Counter[str] = Counter()
        self.comparing: Comparing = draft.comparing()

    async def play(self, kitchen: Kitchen, processes: int) -> None:
        """Compose everything, several batches at a time; keep it in the run's order."""
        composers: list[Composer] = [ProcessComposer(kitchen) for _ in range(1, processes)]
        composers = composers or [ThreadComposer(kitchen)]
        for composer in composers * AT_ONCE:
            self._idle.put_nowait(composer)
        playing = asyncio.ensure_future(self._play())

        def on_signal(_number: int, code: int) -> None:
            if self._told.interrupted:
                playing.cancel()  # a second time: what is on the way is not waited for
            self._told.interrupted = code

        try:
            with signals(on_signal):
                await asyncio.wait([playing])
            if not playing.cancelled():
                playing.result()
        finally:
            for composer in composers:
                composer.close()

    async def _play(self) -> None:
        waiting: deque[asyncio.Task[list[Ready | Unsendable | Planned]]] = deque()
        outline = self._draft.outline()
        while not self._told.interrupted and (batch := list(islice(outline, self._batch()))):
            waiting.append(asyncio.create_task(self._compose(batch)))
            if len(waiting) >= _AHEAD:
                self._keep(await waiting.popleft())
            await asyncio.sleep(0)  # signals are heard between two batches
        while waiting:
            self._keep(await waiting.popleft())
        self._told.complete = not self._told.interrupted

    def _batch(self) -> int:
        composed = self._messages["composed"]
        average = self._told.size // composed if composed else 0
        return max(1, min(_BATCH, _AHEAD_BYTES // _AHEAD // max(average, 1)))

    async def _compose(self, batch: list[Planned]) -> list[Ready | Unsendable | Planned]:
        """Compose a batch; what would be skipped stays as it was planned."""
        composer = await self._idle.get()
        try:
            now = datetime.now(UTC)
            claims = [
                claim_of(each, self._id.format(each.number), now)
                for each in batch
                if each.reason is None
            ]
            made = iter(await composer.compose(claims) if claims else [])
        finally:
            self._idle.put_nowait(composer)
        return [each if each.reason is not None else next(made) for each in batch]

    def _keep(self, made: Sequence[Ready | Unsendable | Planned]) -> None:
        """Write what was composed, take note of the rest, and tell."""
        numbers = self._numbers([each for each in made if isinstance(each, Planned)])
        told = [self._told_of(each, numbers) for each in made]
        for each, made_of in zip(told, made, strict=True):
            self._messages[each.state] += 1
            planned = made_of if isinstance(made_of, Planned) else made_of.claim
            self._invoices[each.state] += len(planned.invoices)
            self._told.size += each.size
            if each.state == "failed":
                self._told.failed[each.finding] += 1
        self.comparing.note_sizes((each.customer, each.size) for each in told if each.size)
        self._count()
        self._listener(self._told, told)

    def _numbers(self, planned: Sequence[Planned]) -> Mapping[str, Invoice]:
        ids = [invoice for each in planned for invoice in each.invoices]
        if not ids:
            return {}
        with self._workspace.database.read(attach=True) as connection, connection.begin():
            return self._workspace.source.numbers(connection, ids)

    def _told_of(
        self, made: Ready | Unsendable | Planned, numbers: Mapping[str, Invoice]
    ) -> Rehearsal:
        if isinstance(made, Ready):
            return self._written(made)
        claim = made if isinstance(made, Planned) else made.claim
        to = tuple(each.address for each in claim.recipients)
        if isinstance(made, Unsendable):
            finding, detail = made.error.finding, made.error.message
            return Rehearsal(claim.number, "failed", claim.customer, "", made.invoices, {}, to,
                             finding=finding, detail=detail)  # fmt: skip
        found = [numbers[id_] for id_ in made.invoices if id_ in numbers]
        labels = tuple(each.label for each in found) or (CONCEPT,)
        totals = _totals((each.currency, each.total) for each in found)
        return Rehearsal(made.number, "skipped", made.customer, "", labels, totals, to,
                         finding=made.reason or "")  # fmt: skip

    def _written(self, made: Ready) -> Rehearsal:
        claim, data = made.claim, made.message.data
        context = json.loads(made.context)
        invoices = context["invoices"]
        return Rehearsal(
            number=claim.number,
            state="composed",
            customer=claim.customer,
            name=context["customer"]["name"],
            invoices=made.invoices,
            totals=_totals((each["currency"], each["total"]) for each in invoices),
            to=made.envelope.recipients,
            attachments=data.count(_ATTACHED),
            size=len(data),
            file=self._folder.keep(claim.number, claim.customer, made.invoices, data),
            subject=_subject(data),
        )

    def _count(self) -> None:
        invoices, messages = self._invoices, self._messages
        self._told.invoices, self._told.messages = (
            Counts(
                in_scope=each.total(),
                skipped=each["skipped"],
                failed=each["failed"],
                pending=each["composed"],
            )
            for each in (invoices, messages)
        )


def _totals(sums: Iterable[tuple[str | None, str | None]]) -> dict[str, Decimal]:
    totals: dict[str, Decimal] = {}
    for currency, total in sums:
        with suppress(InvalidOperation):
            if total is not None:
                totals[currency or ""] = totals.get(currency or "", Decimal(0)) + Decimal(total)
    return totals


def _subject(data: bytes) -> str:
    """Return the subject of a message of ours, unfolded and decoded (RFC 5322, RFC 2047)."""
    found = _SUBJECT.search(data)
    raw = found[1].decode("utf-8", "replace").replace("\r\n", "") if found else ""
    return str(make_header(decode_header(raw))) if "=?" in raw else raw
