"""Messages that came back: `sent` becomes `bounced`, once nobody of its recipients has it.

Where some do, it stays sent, with the others among the refused, as after a 5xx at RCPT: a restart
with `--failed` would send it to everybody again.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, select, update

from msgrun.bounces.dsn import Failure, Notice
from msgrun.ledger.messages import invoices_of
from msgrun.ledger.rows import addresses_of, refusals_json, refusals_of
from msgrun.model import Refusal, Reply
from msgrun.schema import Tables
from msgrun.states import MessageState

M = MessageState
_CODE: Final = re.compile(r"(?:^|\s)([45]\d\d)[ -]")


class Effect(StrEnum):
    """What a notice changed."""

    BOUNCED = "bounced"  # nobody has the message
    PARTLY = "partly"  # some of its recipients have it
    DELAYED = "delayed"  # a server on the way still tries
    KNOWN = "known"  # the ledger says so already
    OTHERS = "others"  # about no recipient of the message: a forwarding, a blind copy
    UNSENT = "unsent"  # the message waits to be sent again, or was given up
    FOREIGN = "foreign"  # no message of this ledger


@dataclass(frozen=True, slots=True)
class Returned:
    """A notice, and what became of it.

    Attributes:
        message: its row; None where it is no message of ours. So is all that is empty below.
        address: whom it did not reach, with `status` and `diagnostic`.
        hard: whether the address itself is no good.
    """

    effect: Effect
    message: int | None = None
    run: int | None = None
    definition: str = ""
    customer: str = ""
    invoices: tuple[str, ...] = ()
    address: str = ""
    status: str = ""
    diagnostic: str = ""
    hard: bool = False


def take_back(
    connection: Connection, tables: Tables, notice: Notice, now: datetime
) -> Sequence[Returned]:
    """Write down what a notice says; one answer for each recipient that it tells of.

    The same notice may come again: it changes nothing then.
    """
    row = _find(connection, tables, notice)
    if row is None:
        return [_told(Effect.FOREIGN, failure) for failure in notice.failures]
    ours = {each.address.casefold(): each.address for each in addresses_of(row["recipients"])}
    if row["redirect_to"]:
        ours = {row["redirect_to"].casefold(): row["redirect_to"]}
    refused = {each.address: each for each in refusals_of(row["refused"])}
    answers: list[tuple[Effect, Failure]] = []
    for failure in notice.failures:
        address = _own(failure, ours, alone=len(notice.failures) == 1)
        if address is None:
            answers.append((Effect.OTHERS, failure))
        elif not failure.final:
            answers.append((Effect.DELAYED, failure))
        elif row["state"] == M.BOUNCED or address in refused:
            answers.append((Effect.KNOWN, failure))
        elif row["state"] not in (M.SENT, M.IN_DOUBT):
            answers.append((Effect.UNSENT, failure))
        else:
            refused[address] = Refusal(address, _reply(failure))
            answers.append((Effect.PARTLY, failure))
    if any(effect is Effect.PARTLY for effect, _ in answers):
        gone = set(ours.values()) <= set(refused)
        _write(connection, tables, row, list(refused.values()), answers, gone=gone, now=now)
        if gone:
            answers = [
                (Effect.BOUNCED if effect is Effect.PARTLY else effect, failure)
                for effect, failure in answers
            ]
    invoices = invoices_of(connection, tables, [row["id"]])[row["id"]]
    return [_told(effect, failure, row, invoices) for effect, failure in answers]


def _find(connection: Connection, tables: Tables, notice: Notice) -> Any:
    """Return the row of the message, locked; None for no message of ours."""
    message, run = tables.message, tables.run
    query = (
        select(message, run.c.definition, run.c.redirect_to)
        .join(run, run.c.id == message.c.run_id)
        .with_for_update(of=message)
    )
    envelope = f"<{notice.envelope_id}>" if notice.envelope_id else ""
    for name in filter(None, (notice.message_id, envelope)):
        found = connection.execute(query.where(message.c.message_id == name)).mappings().first()
        if found is not None:
            return found
    return None


def _own(failure: Failure, ours: dict[str, str], *, alone: bool) -> str | None:
    """Return which of the message's recipients a failure is about; None for somebody else.

    Where there is only one, it is that one: whatever address it was forwarded to, it is lost.
    """
    own = ours.get(failure.address.casefold())
    return next(iter(ours.values())) if own is None and alone and len(ours) == 1 else own


def _reply(failure: Failure) -> Reply:
    found = _CODE.search(failure.diagnostic)
    code = int(found[1]) if found else int(failure.status[0]) * 100 + 50
    text = failure.diagnostic
    if found and found.start() == 0:
        text = text[found.end() :].removeprefix(failure.status).strip()
    return Reply(code, failure.status, text)


def _write(
    connection: Connection,
    tables: Tables,
    row: Any,
    refused: Sequence[Refusal],
    answers: Sequence[tuple[Effect, Failure]],
    *,
    gone: bool,
    now: datetime,
) -> None:
    message = tables.message
    which = message.c.id == row["id"]
    if row["state"] == M.IN_DOUBT:
        # It came back, so it had left: the doubt is settled.
        connection.execute(
            update(message)
            .where(which, message.c.state == M.IN_DOUBT)
            .values(state=M.SENT, reason=None, token=None, context=None, updated_at=now)
        )
    values: dict[str, Any] = {"updated_at": now}
    if gone:
        failure = next(each for effect, each in answers if effect is Effect.PARTLY)
        reply = _reply(failure)
        said = f"{failure.server} said: " if failure.server else ""
        values |= {
            "state": M.BOUNCED,
            "reason": "MR509",
            "detail": f"{failure.address} came back: {said}{failure.diagnostic or failure.status}",
            "code": reply.code,
            "enhanced": reply.enhanced,
            "reply": reply.text,
        }
    else:
        values["refused"] = refusals_json(tuple(refused))
    connection.execute(update(message).where(which, message.c.state == M.SENT).values(**values))


def _told(
    effect: Effect, failure: Failure, row: Any = None, invoices: tuple[str, ...] = ()
) -> Returned:
    return Returned(
        effect,
        message=row["id"] if row else None,
        run=row["run_id"] if row else None,
        definition=row["definition"] if row else "",
        customer=row["customer"] if row else "",
        invoices=invoices,
        address=failure.address,
        status=failure.status,
        diagnostic=failure.diagnostic,
        hard=failure.hard,
    )
