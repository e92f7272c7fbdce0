"""Waking workers by procrastinate, the extra `msgrun[workers]`: the one module that knows it.

A job says no more than "look at the ledger now". One that is lost, comes twice or comes late
changes nothing: workers look by themselves too, and what counts is the ledger's fence.
procrastinate's tables stand in a schema of their own, so that they meet no other program's.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from sqlalchemy import text

from msgrun.database import Database
from msgrun.errors import ConfigError, DatabaseError, MsgrunError, UsageError
from msgrun.ledger import workers

SCHEMA: Final = "msgrun_queue"
QUEUE: Final = "msgrun"
TASK: Final = "drain"

SAFETY_SECONDS: Final = 5.0
"""How often a worker that is woken looks all the same: it has to show its life then anyway."""

_AGAIN_SECONDS: Final = 30.0  # until waking is tried again after it failed
_GOODBYE_SECONDS: Final = 5.0  # for signing off with a database that may be gone

_STATE: Final = text(
    "SELECT has_schema_privilege(oid, 'USAGE') AS usable, "
    "obj_description(oid, 'pg_namespace') AS version FROM pg_namespace WHERE nspname = :name"
)
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtext('msgrun queue'))"


def install(database: Database) -> str:
    """Make procrastinate's tables, or make them anew for another version; return the version.

    Nothing is lost with the old ones: workers look for runs by themselves.

    Raises:
        UsageError: the ledger is SQLite, or procrastinate is not installed.
        DatabaseError: the database cannot be reached, or this user may not make a schema.
    """
    if database.is_sqlite:
        raise UsageError(
            "the queue wakes workers of a PostgreSQL database; this ledger is an SQLite file",
            "leave out --queue",
        )
    procrastinate = _import()
    version = f"procrastinate {procrastinate.__version__}"
    try:
        with database.write() as connection:
            connection.execute(text(_LOCK))
            if (found := connection.execute(_STATE, {"name": SCHEMA}).first()) is not None:
                if found.version == version:
                    return version
                connection.execute(text(f"DROP SCHEMA {SCHEMA} CASCADE"))
            connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
            connection.execute(text(f"SET LOCAL search_path = {SCHEMA}"))
            made = connection.execution_options(no_parameters=True)
            made.exec_driver_sql(procrastinate.schema.SchemaManager.get_schema())
            connection.execute(text(f"COMMENT ON SCHEMA {SCHEMA} IS '{version}'"))
    except DatabaseError as error:
        if "permission denied" not in error.message and "must be owner" not in error.message:
            raise
        user, name = database.url.username, database.url.database
        raise DatabaseError(
            error.message,
            f"the queue needs a schema {SCHEMA} of its own: `GRANT CREATE ON DATABASE {name} TO "
            f"{user}`, or run this as its owner; workers do without the queue, too",
        ) from error
    return version


def is_installed(database: Database) -> bool:
    """Tell whether this database has the queue.

    Raises:
        DatabaseError: it cannot be reached, or has the queue, and this user may not use it.
    """
    with database.read() as connection, connection.begin():
        found = connection.execute(_STATE, {"name": SCHEMA}).first()
    if found is not None and not found.usable:
        raise DatabaseError(
            f"database {database.describe()}: permission denied for schema {SCHEMA} (MR001)",
            f"grant this user USAGE on schema {SCHEMA}, and all on its tables and sequences; "
            "until then workers look by themselves",
        )
    return found is not None


def wake(database: Database) -> int:
    """Place one job for each live worker, once what they shall find is committed.

    Whatever fails here is nobody's trouble: the workers look by themselves.

    Returns:
        How many were placed; those that still lie there from earlier are not placed again.
    """
    try:
        if not is_installed(database):
            return 0
        with database.read() as connection, connection.begin():
            slots = workers.count_standing(connection, database)
        return _place(database, slots) if slots else 0
    except MsgrunError:
        return 0


def _place(database: Database, slots: int) -> int:
    """Place the jobs in one transaction.

    procrastinate forgets a notification that comes while it looks for a job; so whoever hears of
    one job must be able to see them all.
    """
    procrastinate = _import()
    import psycopg

    app = procrastinate.App(connector=procrastinate.SyncPsycopgConnector())
    with (
        suppress(procrastinate.exceptions.ConnectorException, psycopg.Error),
        psycopg.connect(**_arguments(database)) as connection,
    ):
        placed = 0
        for slot in range(slots):
            job = app.configure_task(
                TASK, queue=QUEUE, queueing_lock=f"{TASK} {slot}", connection=connection
            )
            with suppress(procrastinate.exceptions.AlreadyEnqueued), connection.transaction():
                job.defer()
                placed += 1
        return placed
    return 0


class Bell:
    """What wakes one worker: it rings when a job came, in the worker's own event loop.

    A job is held until the worker has looked and has nothing left to do, so that a worker takes
    one of the jobs and leaves the others to its colleagues.
    """

    def __init__(self, database: Database, tell: Callable[[MsgrunError], None]) -> None:
        self.rung = asyncio.Event()
        self._database = database
        self._tell = tell
        self._answered = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def works(self) -> bool:
        """Whether it can ring: the queue is there, and procrastinate is."""
        return self._task is not None and not self._task.done()

    def hang(self) -> None:
        """Listen from now on, where the database has the queue."""
        try:
            if is_installed(self._database):
                _import()
                self._task = asyncio.create_task(self._listen())
        except UsageError as error:
            self._tell(ConfigError(f"this worker is not woken, it looks: {error}", error.hint))
        except DatabaseError as error:
            self._tell(error)

    def answer(self) -> None:
        """Say that the worker has nothing to do as far as it has looked: the job is done."""
        if not self.rung.is_set():
            self._answered.set()

    async def take_down(self) -> None:
        """Listen no more; a job that is held is given up, for there is nothing behind it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=_GOODBYE_SECONDS)

    async def _listen(self) -> None:
        while True:
            try:
                await self._work_off()
            except Exception:  # whatever it is: the worker looks by itself
                logging.getLogger(__name__).debug("waking failed", exc_info=True)
            self.rung.set()
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _work_off(self) -> None:
        procrastinate = _import()
        connector = procrastinate.PsycopgConnector(
            kwargs=_arguments(self._database), min_size=1, max_size=2, timeout=_AGAIN_SECONDS
        )
        app = procrastinate.App(connector=connector)
        app.task(name=TASK, queue=QUEUE)(self._ring)
        async with app.open_async():
            for job in await app.job_manager.get_stalled_jobs(queue=QUEUE):
                await app.job_manager.finish_job(
                    job, procrastinate.jobs.Status.ABORTED, delete_job=True
                )
            await app.run_worker_async(
                queues=[QUEUE],
                concurrency=1,
                install_signal_handlers=False,
                shutdown_graceful_timeout=0,
                fetch_job_polling_interval=_AGAIN_SECONDS,
                abort_job_polling_interval=_AGAIN_SECONDS,
                delete_jobs="always",
            )

    async def _ring(self) -> None:
        self._answered.clear()
        self.rung.set()
        await self._answered.wait()


def _import() -> Any:
    """Return procrastinate, kept from writing its troubles on the terminal.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import procrastinate
        import procrastinate.jobs
        import procrastinate.schema
    except ImportError:
        raise UsageError(
            "waking workers needs the procrastinate package", "pip install 'msgrun[workers]'"
        ) from None
    for name in ("procrastinate", "psycopg.pool"):
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
    return procrastinate


def _arguments(database: Database) -> dict[str, Any]:
    """Return what psycopg needs to connect, with procrastinate's schema in sight."""
    _, found = database.url.get_dialect()().create_connect_args(database.url)
    options = f"{found.get('options', '')} -c search_path={SCHEMA}".strip()
    return {"connect_timeout": 10, **found, "options": options}
