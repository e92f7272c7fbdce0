"""One running run in the ledger, and what its worker does."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert, select, update

from msgrun.database import Database
from msgrun.ledger import messages, runs, settling, workers
from msgrun.ledger.messages import Intent
from msgrun.ledger.rows import Claim, Frozen, RunRow
from msgrun.ledger.settling import Settlement
from msgrun.model import Outcome, Reply, Selection, Stage, Verdict
from msgrun.states import (
    HOLDING,
    MessageState,
    RunStatus,
)

M, R = MessageState, RunStatus
NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
FROZEN = Frozen("monthly", {"collate": False}, {"text": ("monthly.txt", "Dear")})
ACCEPTED = Outcome(Verdict.ACCEPTED, Stage.DOT, Reply(250, "2.0.0", "Ok"), queue_id="Q1")
REFUSED = Outcome(Verdict.REJECTED, Stage.RCPT, Reply(550, "5.1.1", "No such user"))


class Book:
    """One running run with a worker, and what a worker does, each in a transaction of its own."""

    def __init__(self, database: Database, definition: str = "monthly") -> None:
        self.database = database
        self.tables = database.tables
        frozen = Frozen(definition, FROZEN.definition, FROZEN.templates)
        with database.write() as connection:
            self.run: RunRow = runs.create_run(connection, self.tables, frozen, Selection(), NOW)
            runs.move_run(connection, self.tables, self.run.id, R.RUNNING, NOW)
            self.token = workers.register(connection, self.tables, self.run.id, NOW)

    def add(self, *states: MessageState, **values: Any) -> list[int]:
        """Write messages in these states, each with one invoice of its own."""
        made = []
        with self.database.write() as connection:
            taken = connection.execute(
                select(self.tables.message.c.number).where(
                    self.tables.message.c.run_id == self.run.id
                )
            ).all()
            for number, state in enumerate(states, len(taken) + 1):
                key = connection.execute(
                    insert(self.tables.message)
                    .values(
                        {"run_id": self.run.id, "number": number, "revision": 1,
                         "customer": f"C{number}", "recipients": [{"address": "a@x.test"}],
                         "state": state, "message_id": f"<{self.run.uid}.{number}@x>",
                         "attempts": 0, "updated_at": NOW} | values
                    )
                    .returning(self.tables.message.c.id)
                ).scalar_one()  # fmt: skip
                connection.execute(
                    insert(self.tables.message_invoice).values(
                        message_id=key, invoice=f"i{number}", definition=self.run.definition,
                        generation=1, holds=state in HOLDING,
                    )
                )  # fmt: skip
                made.append(key)
        return made

    def claim(
        self,
        wanted: int = 10,
        *,
        token: int | None = None,
        every: timedelta = timedelta(0),
        now: datetime = NOW,
        after: int = 0,
    ) -> Sequence[Claim]:
        with self.database.write() as connection:
            return messages.claim(
                connection, self.tables, run_id=self.run.id, server="default",
                token=token or self.token, wanted=wanted, every=every, now=now,
                lease=workers.LEASE, after=after,
            )  # fmt: skip

    def intend(self, key: int, *, token: int | None = None, now: datetime = NOW) -> bool:
        with self.database.write() as connection:
            return messages.intend(
                connection, self.tables, run_id=self.run.id, token=token or self.token,
                intents=[Intent(key, NOW, "ab", 7, "{}")], now=now,
            )  # fmt: skip

    def settle(
        self, key: int, to: MessageState, outcome: Outcome | None = None, **values: Any
    ) -> bool:
        token = values.pop("token", self.token)
        with self.database.write() as connection:
            return settling.settle(
                connection, self.tables, message_id=key, token=token,
                settlement=Settlement(to, outcome, **values), now=NOW,
            )  # fmt: skip

    def release(self, *keys: int, token: int | None = None) -> None:
        with self.database.write() as connection:
            messages.release(
                connection, self.tables, token=token or self.token, now=NOW, message_ids=keys
            )

    def recover(self) -> tuple[int, int]:
        with self.database.write() as connection:
            workers.end(connection, self.tables, [self.token], NOW)
            return messages.recover(
                connection, self.tables, run_id=self.run.id, dead_tokens=[self.token], now=NOW
            )

    def move(self, to: RunStatus) -> bool:
        with self.database.write() as connection:
            return runs.move_run(connection, self.tables, self.run.id, to, NOW)

    def force(self, **values: Any) -> None:
        """Put the run's row into a shape, past all rules."""
        with self.database.write() as connection:
            connection.execute(
                update(self.tables.run).where(self.tables.run.c.id == self.run.id).values(**values)
            )

    def row(self, key: int) -> Any:
        with self.database.read() as connection, connection.begin():
            return connection.execute(
                select(self.tables.message).where(self.tables.message.c.id == key)
            ).one()

    def holds(self, key: int) -> bool:
        link = self.tables.message_invoice
        with self.database.read() as connection, connection.begin():
            held: bool = connection.execute(
                select(link.c.holds).where(link.c.message_id == key)
            ).scalar_one()
            return held
