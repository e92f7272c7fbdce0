"""Taking in what came back: from mailboxes into the ledger."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from msgrun.bounces.dsn import read_notice
from msgrun.bounces.mailboxes import Mail, Mailbox
from msgrun.control.work import merge_journals
from msgrun.ledger.returned import Effect, Returned, take_back
from msgrun.ledger.runs import add_event
from msgrun.workspace import Workspace

_AT_ONCE: Final = 100  # mails in one transaction

Told = Callable[[Returned], None]


class _DryRunError(Exception):
    """Takes a transaction back."""


@dataclass
class Taken:
    """What was found.

    Attributes:
        mails: all that were read.
        notices: those of them that tell of messages that did not arrive.
        effects: how many recipients, by what the notice of them changed.
    """

    mails: int = 0
    notices: int = 0
    effects: Counter[Effect] = field(default_factory=Counter)


def take_in(
    workspace: Workspace, mailboxes: Sequence[Mailbox], *, told: Told, dry_run: bool = False
) -> Taken:
    """Read mailboxes and write down which messages came back.

    What is in the ledger is marked as read afterwards, where the mailbox is msgrun's own: a crash
    in between only has the same notice read again, which changes nothing.

    Args:
        told: hears of each recipient, one after the other.
        dry_run: write and mark nothing.

    Raises:
        MsgrunError: a mailbox cannot be read; what was read before is in the ledger.
    """
    merge_journals(workspace)
    taken = Taken()
    for each in mailboxes:
        with each.opened() as mails:
            while batch := list(islice(mails, _AT_ONCE)):
                _take_batch(workspace, batch, taken, told, dry_run=dry_run)
    return taken


def _take_batch(
    workspace: Workspace, mails: Sequence[Mail], taken: Taken, told: Told, *, dry_run: bool
) -> None:
    read = [(mail, read_notice(mail.data)) for mail in mails]
    notices = [(mail, notice) for mail, notice in read if notice is not None]
    taken.mails += len(mails)
    taken.notices += len(notices)
    if not notices:
        return
    database = workspace.database
    with suppress(_DryRunError), database.write() as connection:
        now = database.now(connection)
        answers = [take_back(connection, database.tables, notice, now) for _, notice in notices]
        for run, number in _came_back(answers):
            what = "a message" if number == 1 else f"{number} messages"
            add_event(connection, database.tables, run, "came back", now, f"{what} came back")
        if dry_run:
            raise _DryRunError
    for (mail, _), returned in zip(notices, answers, strict=True):
        for one in returned:
            taken.effects[one.effect] += 1
            told(one)
        if not dry_run and any(one.effect is not Effect.FOREIGN for one in returned):
            mail.done()


def _came_back(answers: Sequence[Sequence[Returned]]) -> Iterator[tuple[int, int]]:
    runs = Counter(
        one.run
        for returned in answers
        for one in returned
        if one.run is not None and one.effect in (Effect.BOUNCED, Effect.PARTLY)
    )
    yield from sorted(runs.items())
