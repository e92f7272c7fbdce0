"""The small billing office with real domains: a customer at acme.internal, a sender whose
domain shop.internal has everything that receivers want.
"""

import base64
from pathlib import Path
from typing import Any

from doctor_world import TODAY, World
from msgrun.database import Database
from msgrun.deliverability.resolver import Resolver
from msgrun.doctor import Names, Report, Status, diagnose
from msgrun.workspace import Workspace
from name_server import NameServer

IP = "192.0.2.10"


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    size = bytes([length]) if length < 128 else b"\x82" + length.to_bytes(2, "big")
    return bytes([tag]) + size + content


def rsa_key(bits: int) -> str:
    """Return a public key of that size in base64 (its modulus is nobody's)."""
    number = (1 << (bits - 1)) | 1
    modulus = _der(2, b"\x00" + number.to_bytes(bits // 8, "big"))
    return base64.b64encode(_der(0x30, modulus + _der(2, b"\x01\x00\x01"))).decode()


ZONE = f"""
acme.internal             MX   10 mx.acme.internal.
mx.acme.internal          A    192.0.2.80
shop.internal             TXT  "v=spf1 ip4:{IP} -all"
k1._domainkey.shop.internal TXT "v=DKIM1; k=rsa; p={rsa_key(1024)}"
_dmarc.shop.internal      TXT  "v=DMARC1; p=none; rua=mailto:dmarc@shop.internal"
10.2.0.192.in-addr.arpa   PTR  out.shop.internal.
out.shop.internal         A    {IP}
"""


class DomainWorld(World):
    """A world whose name server is `dns`; its mail server is left alone unless asked.

    Attributes:
        doctor: of the section `[doctor]`.
        patience: seconds after which a look-up is given up; None for the doctor's own.
    """

    def __init__(self, database: Database, folder: Path, dns: NameServer) -> None:
        super().__init__(database, folder)
        dns.zone(ZONE)
        self.dns = dns
        self.patience: float | None = None
        self.doctor = {"resolver": dns.address}
        self.change("addresses", address="a@acme.internal")
        self.sender |= {"address": "billing@shop.internal", "dkim_selectors": ["k1"]}
        self.server |= {"outbound_ips": [IP]}

    @property
    def workspace(self) -> Workspace:
        """The configuration as it is now, with the name server."""
        workspace = super().workspace
        updated = workspace.config.model_copy(
            update={"doctor": workspace.config.doctor.model_validate(self.doctor)}
        )
        return Workspace.of(updated)

    @property
    def names(self) -> Names:
        """Asks the name server."""
        where = self.workspace.config.doctor.nameserver
        names = Names(where, offline=False)
        patience = self.patience
        if patience is not None:
            names.resolver = Resolver(where, lambda most: min(most, patience))
        return names

    def ask(self, customer: str | None = "C1", *, offline: bool = True, **asked: Any) -> Report:
        """Ask the doctor: DNS, but not the mail server, unless `offline` is False."""
        asked = {"names": self.names} | asked
        return diagnose(self.workspace, customer, today=TODAY, offline=offline, **asked)


def codes(report: Report, stage: str) -> list[tuple[str, str]]:
    """Return code and status of what a stage found, but for what passed or was left out."""
    quiet = {Status.PASS, Status.SKIPPED}
    return [
        (each.code, each.status.value)
        for each in report.findings
        if each.stage == stage and each.status not in quiet
    ]


def reasons(report: Report, stage: str) -> list[str]:
    """Return why checks of a stage were left out."""
    return [
        each.evidence[0]
        for each in report.findings
        if each.stage == stage and each.status is Status.SKIPPED
    ]
