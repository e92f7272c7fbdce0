"""Faults planted in the program, one at a time: the campaign has to fail on each of them.

A test that has never failed proves nothing; these are its failures, kept.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any


def replace(owner: Any, name: str, value: Any) -> None:
    """Put `value` in the place of an attribute that is there."""
    assert hasattr(owner, name), f"{owner} has no {name}: the mutant no longer fits"
    setattr(owner, name, value)


def synchronous_normal() -> None:
    """Commit without syncing what makes a commit durable on SQLite."""
    _synchronous("NORMAL")


def synchronous_off() -> None:
    """Let SQLite sync nothing at all."""
    _synchronous("OFF")


def _synchronous(level: str) -> None:
    import sqlite3

    from msgrun import database

    def weaken(raw: sqlite3.Connection, record: Any) -> None:
        sound(raw, record)
        raw.execute(f"PRAGMA synchronous = {level}")

    sound = database._prepare_sqlite
    replace(database, "_prepare_sqlite", weaken)


def documents_by_position(*, relabelled: bool) -> None:
    """Give each invoice the documents at its place in the database's answer.

    Args:
        relabelled: each document says that it belongs where it was put, so that no guard sees it.
    """
    from sqlalchemy import Connection

    from msgrun.model import Document
    from msgrun.source import loading
    from msgrun.source.mapping import Relation

    def by_position(
        connection: Connection, relation: Relation, ids: Sequence[str], names: Sequence[str]
    ) -> Mapping[str, list[Document]]:
        answer = sound(connection, relation, ids, names).values()
        placed = dict(zip(ids, answer, strict=False))
        if not relabelled:
            return placed
        return {key: [dataclasses.replace(each, invoice=key) for each in documents]
                for key, documents in placed.items()}  # fmt: skip

    sound = loading._documents
    replace(loading, "_documents", by_position)


def attachment_by_file_name() -> None:
    """Read a file once for each name, not for each invoice."""
    from msgrun.compose import message
    from msgrun.compose.attachments import Attachment
    from msgrun.model import Document

    def remembered(document: Document, root: Path) -> Attachment:
        if document.filename not in known:
            known[document.filename] = sound(document, root)
        return known[document.filename]

    known: dict[str, Attachment] = {}
    sound = message.load_document
    replace(message, "load_document", remembered)


def invoices_by_position() -> None:
    """Take the invoices in the order in which the database gave them."""
    from sqlalchemy import Connection

    from msgrun.model import Invoice
    from msgrun.source import loading
    from msgrun.source.mapping import Relation

    def by_position(
        connection: Connection, relation: Relation, ids: Sequence[str]
    ) -> dict[str, Invoice]:
        return dict(zip(ids, sound(connection, relation, ids).values(), strict=False))

    sound = loading.invoices
    replace(loading, "invoices", by_position)


def contexts_by_position() -> None:
    """Compose each message from what the one beside it is made of."""
    from msgrun.model import MessageContext
    from msgrun.source import Source

    def load(self: Source, *given: Any, **named: Any) -> list[MessageContext | None]:
        made = sound(self, *given, **named)
        return [*made[1:], *made[:1]]

    sound = Source.load
    replace(Source, "load", load)


def recipients_by_position() -> None:
    """Give each claim the recipients of the one beside it."""
    from msgrun.ledger import messages
    from msgrun.ledger.rows import Claim

    def claim(*given: Any, **named: Any) -> Sequence[Claim]:
        return _swapped(sound(*given, **named), "recipients")

    sound = messages.claim
    replace(messages, "claim", claim)


def ready_by_position(name: str) -> None:
    """Give each composed message the bytes, or the envelope, of the one beside it."""
    from msgrun.delivery.composing import Kitchen, Ready, Unsendable
    from msgrun.ledger.rows import Claim

    def compose(self: Kitchen, claims: Sequence[Claim]) -> list[Ready | Unsendable]:
        made = sound(self, claims)
        rest = [each for each in made if isinstance(each, Unsendable)]
        return [*_swapped([each for each in made if isinstance(each, Ready)], name), *rest]

    sound = Kitchen.compose
    replace(Kitchen, "compose", compose)


def rendered_text_shared() -> None:
    """Hand out the words of the message that was rendered before."""
    from msgrun.compose.render import Rendered, Renderer

    def render(self: Renderer, *given: Any) -> Rendered:
        words.append(sound(self, *given))
        return words[-2] if len(words) > 1 else words[-1]

    words: list[Rendered] = []
    sound = Renderer.render
    replace(Renderer, "render", render)


def _swapped(rows: Sequence[Any], name: str) -> list[Any]:
    """Give each row the attribute of the next one, the last that of the first."""
    beside = [*rows[1:], *rows[:1]]
    return [
        dataclasses.replace(row, **{name: getattr(other, name)})
        for row, other in zip(rows, beside, strict=True)
    ]


def naive_recovery() -> None:
    """Send again whatever a dead worker has not marked sent."""
    from sqlalchemy import Connection

    from msgrun.ledger import messages
    from msgrun.schema import Tables

    def recover(
        connection: Connection, tables: Tables, *, run_id: int, dead_tokens: Any, now: Any
    ) -> tuple[int, int]:
        message = tables.message
        held = message.c.state.in_((messages.M.CLAIMED, messages.M.SENDING))
        theirs = (message.c.run_id == run_id, message.c.token.in_(list(dead_tokens)), held)
        return messages._unclaim(connection, tables, theirs, messages.M.PENDING, now), 0

    replace(messages, "recover", recover)


def intent_after_dot() -> None:
    """Commit the intent when the dot has been written and answered."""
    from msgrun.transport.smtp import SmtpTransport

    async def agreed() -> bool:
        return True

    async def send(self: SmtpTransport, envelope: Any, message: Any, intent: Any) -> Any:
        outcome = await sound(self, envelope, message, agreed)
        await intent()
        return outcome

    sound = SmtpTransport.send
    replace(SmtpTransport, "send", send)


def no_token_check() -> None:
    """Let a worker write to messages whoever holds them."""
    from sqlalchemy import Connection, select

    from msgrun.ledger import messages, settling
    from msgrun.schema import Tables

    def holder(connection: Connection, tables: Tables, key: int) -> Any:
        token = select(tables.message.c.token).where(tables.message.c.id == key)
        return connection.execute(token).scalar_one()

    def ignoring(sound: Callable[..., Any]) -> Callable[..., Any]:
        def write(connection: Connection, tables: Tables, **given: Any) -> Any:
            given["token"] = holder(connection, tables, key_of(given))
            return sound(connection, tables, **given)

        return write

    def key_of(given: dict[str, Any]) -> int:
        if "message_id" in given:
            return int(given["message_id"])
        # Of several together, the first one's: they are one worker's.
        if "intents" in given:
            return int(given["intents"][0].message_id)
        return int(given["accepted"][0][0])

    def release(connection: Connection, tables: Tables, **given: Any) -> None:
        for key in given["message_ids"]:
            token = holder(connection, tables, key)
            sound(connection, tables, token=token, now=given["now"], message_ids=[key])

    sound = messages.release
    replace(messages, "intend", ignoring(messages.intend))
    replace(settling, "settle", ignoring(settling.settle))
    replace(settling, "accept", ignoring(settling.accept))
    replace(messages, "release", release)


def journal_ignored() -> None:
    """Start without looking at what dead workers have left in their journals."""
    from msgrun.ledger.journal import Journals

    replace(Journals, "merge", lambda _journals, _database: 0)


MUTANTS: dict[str, Callable[[], None]] = {
    "synchronous-normal": synchronous_normal,
    "synchronous-off": synchronous_off,
    "attachment-by-position": partial(documents_by_position, relabelled=False),
    "attachment-by-position-relabelled": partial(documents_by_position, relabelled=True),
    "attachment-by-file-name": attachment_by_file_name,
    "invoices-by-position": invoices_by_position,
    "contexts-by-position": contexts_by_position,
    "recipients-by-position": recipients_by_position,
    "composed-bytes-shared": partial(ready_by_position, "message"),
    "envelope-by-position": partial(ready_by_position, "envelope"),
    "rendered-text-shared": rendered_text_shared,
    "naive-recovery": naive_recovery,
    "intent-after-dot": intent_after_dot,
    "no-token-check": no_token_check,
    "journal-ignored": journal_ignored,
}


def plant(name: str) -> None:
    """Plant a mutant in this process, before it does anything."""
    MUTANTS[name]()
