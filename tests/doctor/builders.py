"""What the data of a world cannot say: servers with certificates, crashes, clocks, disks."""

import os
import ssl
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import trustme
from pytest import MonkeyPatch  # noqa: PT013 - a builder is no test
from sqlalchemy import insert, text, update

from doctor_world import PDF, World
from msgrun.database import version_table
from msgrun.deliverability import dmarc
from msgrun.deliverability.providers import BULK
from msgrun.doctor import diagnosis, environment
from msgrun.ledger import workers
from msgrun.ledger.workers import definition_lock
from smtp.server import ScriptedServer, serving

PLAIN = ("PIPELINING", "SIZE 10000000", "SMTPUTF8")


@contextmanager
def older_schema(world: World) -> Iterator[None]:
    """Let the ledger be of an older program."""
    name, schema = version_table(world.database.dialect)
    table = name if schema is None else f"{schema}.{name}"
    with world.database.write() as connection:
        connection.execute(text(f"UPDATE {table} SET version_num = '0000'"))
    yield


@contextmanager
def slow_clock(world: World) -> Iterator[None]:
    """Let the host's clock be 90 seconds behind the database's."""
    with MonkeyPatch.context() as patch:
        now = environment.host_now
        patch.setattr(environment, "host_now", lambda: now() - timedelta(seconds=90))
        yield


@contextmanager
def unknown_zone(_world: World) -> Iterator[None]:
    """Mistype the host's time zone."""
    with MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Europe/Berln")
        yield


@contextmanager
def zone_of_the_database(world: World) -> Iterator[None]:
    """Read the data by SELECTs in a database that lives in another zone."""
    name = world.database.url.database
    with world.database.write() as connection:
        connection.execute(text(f"ALTER DATABASE {name} SET timezone = 'Pacific/Kiritimati'"))
    names = ("customers", "addresses", "clusters", "invoices", "documents")
    selects = {each: f"SELECT * FROM msgrun.{each}" for each in names}
    world.sections["source"] = selects
    yield


@contextmanager
def full_disk(_world: World) -> Iterator[None]:
    """Leave one megabyte on the disk."""
    with MonkeyPatch.context() as patch:
        patch.setattr(environment, "free_bytes", lambda _folder: 2**20)
        yield


@contextmanager
def crashing_check(_world: World) -> Iterator[None]:
    """Plant a bug in one check."""

    def crash(*_: object) -> list[Any]:
        raise ZeroDivisionError("a planted bug")

    with MonkeyPatch.context() as patch:
        patch.setattr(diagnosis, "check_cluster", crash)
        yield


@contextmanager
def living_worker(world: World) -> Iterator[None]:
    """Let a process work on run 1."""
    with definition_lock(world.database, "monthly"):
        _register(world)
        yield


@contextmanager
def dead_worker(world: World) -> Iterator[None]:
    """Let the process that worked on run 1 have died: of another boot, its lease long over."""
    worker = world.database.tables.worker
    _register(world)
    past = datetime.now(UTC) - timedelta(hours=1)
    with world.database.write() as connection:
        connection.execute(update(worker).values(boot_id="another", seen_at=past, lease_until=past))
    yield


def _register(world: World) -> None:
    with world.database.write() as connection:
        now = world.database.now(connection)
        workers.register(connection, world.database.tables, 1, now)


@contextmanager
def unreadable_document(world: World) -> Iterator[None]:
    """Give the document a file that not even root can open: a link to itself."""
    (world.folder / "loop.pdf").symlink_to(world.folder / "loop.pdf")
    world.change("documents", content=None, path="loop.pdf")
    yield


@contextmanager
def _secured(
    world: World,
    *,
    host: str = "127.0.0.1",
    days: tuple[int, int] = (-1, 365),
    known: bool = True,
    implicit: bool = False,
    **server: Any,
) -> Iterator[None]:
    """Run a server with TLS and a certificate by an authority that the client knows, or does not.

    Args:
        implicit: whether TLS comes first.
        server: settings that differ.
    """
    authority, trusted = trustme.CA(), trustme.CA()
    now = datetime.now(UTC)
    certificate = authority.issue_cert(
        host,
        not_before=now + timedelta(days=days[0]),
        not_after=now + timedelta(days=days[1]),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    file = world.folder / "ca.pem"
    (authority if known else trusted).cert_pem.write_to_path(os.fspath(file))
    offered = PLAIN if implicit else (*PLAIN, "STARTTLS")
    scripted = ScriptedServer({}, offered, context, implicit)
    with serving(scripted):
        world.server |= {"port": scripted.port, "security": "starttls", "ca_file": "ca.pem"}
        world.server |= server
        yield


def certificate_of_another_host(world: World) -> AbstractContextManager[None]:
    """Let the server show a certificate for another name."""
    return _secured(world, host="mail.other.test")


def expired_certificate(world: World) -> AbstractContextManager[None]:
    """Let the certificate have expired."""
    return _secured(world, days=(-20, -10))


def future_certificate(world: World) -> AbstractContextManager[None]:
    """Let the certificate be valid from next week on."""
    return _secured(world, days=(7, 20))


def expiring_certificate(world: World) -> AbstractContextManager[None]:
    """Let the certificate expire in ten days."""
    return _secured(world, days=(-1, 10))


def unknown_issuer(world: World) -> AbstractContextManager[None]:
    """Let the client trust another authority."""
    return _secured(world, known=False)


def unchecked_certificate(world: World) -> AbstractContextManager[None]:
    """Switch the check of the certificate off."""
    return _secured(world, verify=False)


def starttls_server_meant_as_tls(world: World) -> AbstractContextManager[None]:
    """Set the mode of port 465 for a server with STARTTLS."""
    return _secured(world, security="tls")


def tls_server_meant_as_starttls(world: World) -> AbstractContextManager[None]:
    """Set the mode of port 587 for a server that begins with TLS and waits for it."""
    return _secured(world, implicit=True, security="starttls", timeout=0.5)


@contextmanager
def dead_address_family(world: World) -> Iterator[None]:
    """Let the host's name have an IPv6 address where nothing listens, before a working IPv4 one."""
    import socket

    scripted = ScriptedServer({}, PLAIN)
    with serving(scripted), MonkeyPatch.context() as patch:
        world.server |= {"port": scripted.port, "host": "mail.sender.test"}

        def both(*_: object, **__: object) -> list[tuple[Any, ...]]:
            dead = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", scripted.port, 0, 0))
            live = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", scripted.port))
            return [dead, live]

        patch.setattr(socket, "getaddrinfo", both)
        yield


@contextmanager
def crashing_policy_walk(_world: World) -> Iterator[None]:
    """Plant a bug where the sender's DMARC policy is looked for."""

    def crash(*_: object) -> Any:
        raise ZeroDivisionError("a planted bug")

    with MonkeyPatch.context() as patch:
        patch.setattr(dmarc, "walk", crash)
        yield


@contextmanager
def bulk_to_one_provider(world: World) -> Iterator[None]:
    """Let a run have gone to exactly as many mailboxes of Google as its rules for bulk ask for."""
    world.change("addresses", address="a@gmail.com")
    codes = [f"B{number}" for number in range(1, BULK)]
    rows: dict[str, list[dict[str, Any]]] = {
        "customers": [
            {"code": code, "name": code, "cluster": "DE", "suspended": False} for code in codes
        ],
        "addresses": [
            {"customer": code, "key": "invoice", "address": f"{code}@gmail.com"} for code in codes
        ],
        "invoices": [
            {"id": code, "customer": code, "number": code, "status": "Approved",
             "period_end": "2026-10-31", "date": "2026-11-01"}
            for code in codes
        ],
        "documents": [
            {"invoice": code, "transformation": "pdf", "filename": "i.pdf",
             "media_type": "application/pdf", "content": PDF}
            for code in codes
        ],
    }  # fmt: skip
    with world.database.write() as connection:
        for relation, values in rows.items():
            connection.execute(insert(world.database.tables.relation(relation)), values)
    world.sent(world.run())
    yield
