"""How a claim finds its messages late in a run: by their state, not past all that was sent."""

from typing import Any

from ledger_book import Book
from sqlalchemy import Engine, event, update

from msgrun.database import Database
from msgrun.states import MessageState

MESSAGES = 2_000


def test_a_claim_does_not_walk_past_what_was_sent_before(database: Database) -> None:
    book = Book(database)
    book.add(*[MessageState.PENDING] * MESSAGES)
    with database.connect() as connection:
        # As autovacuum leaves it when a big run was just planned: all that it saw was pending.
        connection.exec_driver_sql("ANALYZE")
        connection.commit()
    message = database.tables.message
    with database.write() as connection:
        half = update(message).where(message.c.number <= MESSAGES // 2)
        connection.execute(half.values(state=MessageState.SENT))
    statement, given = search_of_a_claim(book)
    explain = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
    with database.connect() as connection:
        lines = connection.exec_driver_sql(explain + statement, given).all()
    plan = "\n".join(str(line) for line in lines)
    assert "message_by_state" in plan
    assert "message_of_run" not in plan


def search_of_a_claim(book: Book) -> tuple[str, Any]:
    """Return the statement with which a claim looks for messages, and its parameters."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, given: Any, *_: Any) -> None:
        seen.append((statement, given))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        claimed = book.claim(10)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert [each.customer for each in claimed][:1] == [f"C{MESSAGES // 2 + 1}"]
    (search,) = [each for each in seen if "LIMIT" in each[0]]
    return search
