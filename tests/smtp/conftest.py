"""Certificates of a local authority, good and bad."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from smtp.cells import Authority
from smtp.server import MakeContext


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """The authority that the client trusts."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its certificate as a file."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="session")
def server_context(authority: trustme.CA) -> MakeContext:
    """Makes a server's TLS context: for which host, from and until when, by whom."""

    def make(
        host: str = "127.0.0.1",
        days: tuple[int, int] = (-1, 365),
        signer: trustme.CA | None = None,
    ) -> ssl.SSLContext:
        now = datetime.now(UTC)
        certificate = (signer or authority).issue_cert(
            host,
            not_before=now + timedelta(days=days[0]),
            not_after=now + timedelta(days=days[1]),
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        return context

    return make


@pytest.fixture
def authority_at(ca_file: Path, server_context: MakeContext) -> Authority:
    """The local authority."""
    return Authority(ca_file, server_context)
