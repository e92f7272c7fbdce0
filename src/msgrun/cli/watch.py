"""`msgrun watch`: follow a run from another terminal."""

import time
from typing import TYPE_CHECKING, Final

import typer

from msgrun.cli import options
from msgrun.cli.opening import finish, open_workspace, printer_for
from msgrun.states import LIVE, MessageState, RunStatus

if TYPE_CHECKING:
    from sqlalchemy import Connection, RowMapping

    from msgrun.control.work import Ending
    from msgrun.events import Listener, MessageSettled
    from msgrun.ledger.rows import RunRow
    from msgrun.workspace import Workspace

_POLL_SECONDS: Final = 0.5
_LOOKS_WITHOUT_WORKER: Final = 4
_SETTLED: Final = frozenset(
    {
        MessageState.SENT,
        MessageState.REJECTED,
        MessageState.FAILED,
        MessageState.IN_DOUBT,
        MessageState.DEFERRED,
    }
)


def watch(ctx: typer.Context, run: options.Run = "last", json: options.Json = False) -> None:
    """Follow a run until it is at rest; Ctrl-C ends the watching, not the run."""
    from msgrun.ui.live import listening

    watcher = _Watcher(open_workspace(ctx), run)
    with listening(printer_for(json=json)) as listener:
        ending = watcher.follow(listener)
    finish(ctx, ending, json=json)


class _Watcher:
    """Reads the ledger again and again, and tells what changed as events."""

    def __init__(self, workspace: "Workspace", reference: str) -> None:
        from msgrun.ledger.runs import find_run

        self._workspace = workspace
        self._database = workspace.database
        with self._database.read() as connection, connection.begin():
            found = find_run(connection, self._database.tables, reference, prefer_live=True)
            self._since = self._database.now(connection)
        self._run_id = found.id

    def follow(self, listener: "Listener") -> "Ending":
        """Tell what happens until the run is at rest, or nobody works on it."""
        from msgrun.control.work import Ending, summary_of
        from msgrun.events import RunEnded, WaitingForWorker

        run, lonely, told = self._look(), 0, False
        if run.status not in LIVE:
            return Ending(summary_of(self._workspace, self._run_id))
        self._begin(listener)
        while run.status in LIVE and (run.distributed or lonely < _LOOKS_WITHOUT_WORKER):
            worked_on = self._is_worked_on(run)
            lonely = 0 if worked_on else lonely + 1
            if worked_on or not run.distributed:
                told = False
            elif not told and (lonely >= _LOOKS_WITHOUT_WORKER or run.status is RunStatus.PLANNED):
                listener(WaitingForWorker(run.id))
                told = True
            time.sleep(_POLL_SECONDS)
            self._tell_changes(listener)
            run = self._look()
        self._tell_changes(listener)
        summary = summary_of(self._workspace, self._run_id)
        if run.status in LIVE:
            note = f"nobody works on run {run.id}: `msgrun restart {run.id}` goes on with it"
            return Ending(summary, note=note)
        listener(RunEnded(run.id, run.status, run.reason, run.detail))
        return Ending(summary)

    def _look(self) -> "RunRow":
        from msgrun.ledger.runs import get_run

        with self._database.read() as connection, connection.begin():
            return get_run(connection, self._database.tables, self._run_id)

    def _is_worked_on(self, run: "RunRow") -> bool:
        from msgrun.ledger.workers import live_workers

        with self._database.read() as connection, connection.begin():
            return bool(live_workers(connection, self._database, run.id, run.definition))

    def _begin(self, listener: "Listener") -> None:
        from msgrun.events import RunStarted
        from msgrun.ledger.runs import get_run, revisions
        from msgrun.ledger.views import summarize

        tables = self._database.tables
        with self._database.read() as connection, connection.begin():
            # Together with the figures, so that nothing is told twice.
            self._since = self._database.now(connection)
            summary = summarize(connection, tables, get_run(connection, tables, self._run_id))
            frozen = revisions(connection, tables, self._run_id)
        _, server = self._workspace.server_of(frozen[max(frozen)])
        listener(
            RunStarted(
                run_id=self._run_id,
                definition=summary.run.definition,
                to_send=summary.messages.pending + summary.messages.deferred,
                already_sent=summary.messages.sent,
                rate_per_minute=server.rate_per_minute,
                server=f"{server.host}:{server.port}",
                redirect_to=summary.run.selection.redirect_to,
            )
        )

    def _tell_changes(self, listener: "Listener") -> None:
        from msgrun.ledger.views import PAGE, latest_answers

        while True:
            with self._database.read(attach=True) as connection, connection.begin():
                rows = latest_answers(connection, self._database.tables, self._run_id, self._since)
                events = self._events(connection, rows)
            for event in events:
                listener(event)
            if rows:
                self._since = rows[-1]["updated_at"]
            if len(rows) < PAGE:
                return

    def _events(self, connection: "Connection", rows: "list[RowMapping]") -> "list[MessageSettled]":
        from msgrun.events import MessageSettled
        from msgrun.ledger.messages import invoices_of
        from msgrun.ledger.rows import addresses_of
        from msgrun.ui.json import label_of

        settled = [row for row in rows if MessageState(row["state"]) in _SETTLED]
        invoices = invoices_of(connection, self._database.tables, [row["id"] for row in settled])
        ids = [invoice for each in invoices.values() for invoice in each]
        numbers = self._workspace.source.numbers(connection, ids)
        return [
            MessageSettled(
                customer=row["customer"],
                recipients=tuple(each.address for each in addresses_of(row["recipients"])),
                invoices=tuple(label_of(each, numbers) or each for each in invoices[row["id"]]),
                state=MessageState(row["state"]),
                reason=row["reason"],
                answer=_answer(row),
                due_at=row["due_at"],
            )
            for row in settled
        ]


def _answer(row: "RowMapping") -> str:
    parts = (row["code"], row["enhanced"], row["reply"])
    return " ".join(str(part) for part in parts if part) or row["detail"] or ""
