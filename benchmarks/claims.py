"""How long does a claim take late in a long run, and while somebody holds an old snapshot?

Usage: python benchmarks/claims.py [--messages N] [--folder DIR]. On PostgreSQL.
"""

import argparse
import os
import signal
import statistics
import sys
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

from many_customers import fill
from sqlalchemy import Connection
from surroundings import machine, postgresql, scratch_folder
from workers import old_snapshot

from msgrun.database import Database
from msgrun.ledger import messages, workers

BATCH = 48
CLAIMS = 9
SHARES = (0.0, 0.5, 0.9)


class Run:
    """A run of pending messages, and one worker that claims."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.write() as connection:
            now = database.now(connection)
            connection.exec_driver_sql("UPDATE msgrun.run SET status = 'running'")
            connection.exec_driver_sql("UPDATE msgrun.message SET state = 'pending'")
            self._token = workers.register(connection, database.tables, 1, now)
        self.vacuum("FULL, ANALYZE")

    def vacuum(self, how: str) -> None:
        """Clean the table of messages."""
        with self._database.connect() as connection:
            outside = connection.execution_options(isolation_level="AUTOCOMMIT")
            outside.exec_driver_sql(f"VACUUM ({how}) msgrun.message")

    def send(self, upto: int) -> None:
        """Let all messages up to a number be sent: each leaves a dead entry among the pending."""
        with self._database.write() as connection:
            connection.exec_driver_sql(
                "UPDATE msgrun.message SET state = 'sent' WHERE state <> 'sent' AND number <= %s",
                (upto,),
            )

    def claim(self) -> list[float]:
        """Return the seconds that each of some claims took, with its commit."""
        took = []
        with self._database.connect() as connection:
            connection.exec_driver_sql("SELECT 1")
            connection.commit()
            for _ in range(CLAIMS):
                began = time.perf_counter()
                with connection.begin():
                    self._claim(connection)
                took.append(time.perf_counter() - began)
        return took

    def _claim(self, connection: Connection) -> None:
        claimed = messages.claim(
            connection,
            self._database.tables,
            run_id=1,
            server="default",
            token=self._token,
            wanted=BATCH,
            every=timedelta(0),
            now=self._database.now(connection),
            lease=workers.LEASE,
        )
        if len(claimed) != BATCH:
            sys.exit(f"{len(claimed)} of {BATCH} were claimed: the figures say nothing")


def told(when: str, took: list[float]) -> str:
    """Return what claims took, for people."""
    return (
        f"{when}: {statistics.median(took) * 1e3:7.1f} ms a claim of {BATCH}, "
        f"the first {took[0] * 1e3:.1f} ms"
    )


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, help="where the scratch folder is made: on a disk")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing is left behind
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder(asked.folder))
        print(*machine(folder), sep="\n")
        server = stack.enter_context(postgresql(folder))
        print(f"postgresql  {server.version}\nrun         {asked.messages:,} messages", flush=True)
        url = server.make("claims")
        database = Database(url)
        fill(database, asked.messages, sent=True)
        for held in (False, True):
            run = Run(database)
            os.sync()
            with ExitStack() as snapshot:
                if held:
                    snapshot.enter_context(old_snapshot(url))
                print("with an old snapshot open" if held else "as it is without long readers")
                for share in SHARES:
                    run.send(round(asked.messages * share))
                    print(told(f"  {share:.0%} sent", run.claim()), flush=True)
        print(told("the snapshot is gone", run.claim()))
        run.vacuum("ANALYZE")
        print(told("after VACUUM", run.claim()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
