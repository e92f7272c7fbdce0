"""What a worker's floor does once its ledger has failed."""

from types import SimpleNamespace
from typing import Any

import pytest

from msgrun.database import Database
from msgrun.delivery.floor import Floor
from msgrun.errors import DatabaseError
from msgrun.events import ignore


async def test_a_ledger_that_failed_is_not_waited_for_message_by_message(
    sqlite_database: Database,
) -> None:
    job: Any = SimpleNamespace(database=sqlite_database, listener=ignore)
    floor = Floor(job)
    submitted = []
    floor.writer.submit = submitted.append  # type: ignore[assignment,method-assign]
    floor.fail(DatabaseError("it is locked"))
    with pytest.raises(DatabaseError, match="it is locked"):
        await floor.release([1, 2])
    floor.writer.close()
    assert submitted == []
