"""What the ledger has of a message and its run, for those who must look it up elsewhere."""

from dataclasses import dataclass
from datetime import datetime

from msgrun.ledger.rows import MessageRow, RunRow


@dataclass(frozen=True, slots=True)
class Record:
    """The facts of one message; what is not known is None or "".

    Attributes:
        run: the run's number.
        status: of the run.
        by: who started it.
        message: the ledger's number of the message.
        state: of the message.
        to: the addresses that it went, or was to go, to.
        redirected: where it really went; "" for there.
        answer: the server's last words.
        step: at which step of the dialogue they came.
        queue_id: the server's own name for the message.
        handed_over: when its bytes were handed to the server.
    """

    run: int | None = None
    status: str = ""
    by: str = ""
    created: datetime | None = None
    finished: datetime | None = None
    message: int | None = None
    state: str = ""
    reason: str = ""
    to: tuple[str, ...] = ()
    redirected: str = ""
    message_id: str = ""
    attempts: int = 0
    answer: str = ""
    step: str = ""
    queue_id: str = ""
    handed_over: datetime | None = None
    sent: datetime | None = None
    due: datetime | None = None


def record_of(run: RunRow | None, row: MessageRow | None) -> Record:
    """Return the facts of a run and of its message that decides, as far as there are any."""
    if run is None:
        return Record()
    if row is None:
        return Record(run.id, run.status.value, run.created_by, run.created_at, run.finished_at)
    return Record(
        run=run.id,
        status=run.status.value,
        by=run.created_by,
        created=run.created_at,
        finished=run.finished_at,
        message=row.id,
        state=row.state.value,
        reason=row.reason or "",
        to=tuple(each.address for each in row.recipients),
        redirected=run.selection.redirect_to or "",
        message_id=row.message_id or "",
        attempts=row.attempts,
        answer=row.answer or "",
        step=row.stage or "",
        queue_id=row.queue_id or "",
        handed_over=row.date,
        sent=row.sent_at,
        due=row.due_at,
    )
