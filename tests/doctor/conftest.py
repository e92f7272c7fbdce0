"""A name server, and a world that asks it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from doctor_world import World
from domain_world import DomainWorld
from msgrun.database import Database
from msgrun.deliverability.resolver import Resolver
from name_server import NameServer, name_server


@pytest.fixture
def dns() -> Iterator[NameServer]:
    with name_server() as server:
        yield server


@pytest.fixture
def resolver(dns: NameServer) -> Resolver:
    return Resolver(dns.where)


@pytest.fixture
def world(sqlite_database: Database, tmp_path: Path, dns: NameServer) -> World:
    return DomainWorld(sqlite_database, tmp_path, dns)
