"""`[doctor]`: what the doctor may ask, and which of its findings are known and accepted."""

import re
from datetime import date, datetime
from ipaddress import ip_address
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field

from msgrun.config.sections import Section, Text, Words
from msgrun.suggest import did_you_mean

NEVER_SUPPRESSED: Final = frozenset(
    {"MR001", "MR005", "MR006", "MR090", "MR101", "MR507", "MR508", "MR512"}
)
"""Where nothing can be known, where it is known what left, and where customers were mixed up."""


def _code(text: str) -> str:
    from msgrun.catalogue import CATALOGUE  # asked only where something is suppressed

    if text in CATALOGUE and text not in NEVER_SUPPRESSED:
        return text
    if text in NEVER_SUPPRESSED:
        raise ValueError(f"is never suppressed; `msgrun explain {text}` says what it means")
    whole = f"MR{text}" if re.fullmatch(r"[0-9]{3}", text) else text.strip().upper()
    if whole in CATALOGUE:
        raise ValueError(f"no such finding code; did you mean '{whole}'?")
    raise ValueError(f"no such finding code; {did_you_mean(whole, CATALOGUE)}")


def _day(value: object) -> object:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError("must be a day, as in 2026-12-31") from None


def _list_of_tables(value: object) -> object:
    if isinstance(value, dict):
        raise ValueError("must have two brackets on each side, as in [[doctor.suppress]]")
    return value


_DNS: Final = 53


def _nameserver(text: str) -> tuple[str, int] | None:
    """Return address and port of a name server; None for the system's own.

    Raises:
        ValueError: it is not given by its address.
    """
    if not text:
        return None
    host, port = text, str(_DNS)
    if text.startswith("[") or text.count(":") == 1:
        host, _, port = text.rpartition(":")
        if text.endswith("]"):
            host, port = text, str(_DNS)
    host = "127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]")
    try:
        address, number = ip_address(host), int(port)
    except ValueError:
        number = 0
    if not 0 < number < 65536:
        raise ValueError('must be the address of a name server, as in "192.0.2.53:53"')
    return str(address), number


def _resolver(text: str) -> str:
    _nameserver(text)
    return text


class SuppressionConfig(Section):
    """`[[doctor.suppress]]`: a finding that is known and does not count for now.

    Attributes:
        code: of the catalogue, e.g. "MR110".
        customer: a pattern of customer codes as in a shell ("CU4*"); "*" for all.
        reason: why it is accepted; shown with it.
        until: the last day on which it is suppressed; None for no end.
    """

    code: Annotated[str, AfterValidator(_code)] = Field(
        description='give a code of the catalogue, as in code = "MR110"'
    )
    customer: Text = "*"
    reason: Words = Field(description="say why it is accepted")
    until: Annotated[date, BeforeValidator(_day)] | None = None


class DoctorConfig(Section):
    """`[doctor]`.

    Attributes:
        resolver: the address of the name server to ask, "HOST" or "HOST:PORT"; empty for the
            system's own.
        suppress: findings that do not count.
    """

    resolver: Annotated[str, AfterValidator(_resolver)] = ""
    suppress: Annotated[tuple[SuppressionConfig, ...], BeforeValidator(_list_of_tables)] = ()

    @property
    def nameserver(self) -> tuple[str, int] | None:
        """Address and port of the name server to ask; None for the system's own."""
        return _nameserver(self.resolver)
