"""`[notify]`: who is told how scheduled runs end, and how."""

from ipaddress import ip_address
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from msgrun.config.schedules import News
from msgrun.config.sections import Seconds, Section, Text

QUIET: Final = ("failed", "paused", "missed")
"""All but a clean finish."""


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine itself."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _web_address(url: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(url.get_secret_value())
        _ = parts.port
    except ValueError:
        raise ValueError("must be a URL, as in https://example.com/hook") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError('must begin with "https://" and name a host')
    if parts.username is not None:
        raise ValueError("must not hold a user name or password")
    return url


def _mail_address(address: str) -> str:
    # The strict check is the mail library's, when the mail is composed.
    local, at, domain = address.rpartition("@")
    if not (local and at and domain) or not address.isprintable() or " " in address:
        raise ValueError('must be a mail address, as in "ops@example.com"')
    return address


class NotifyConfig(Section):
    """`[notify]`: news of scheduled runs, by mail, to a URL, or both.

    Attributes:
        mail: the addresses that get a short text, sent by `sender`.
        sender: the key of a sender; whose server is used, and whom the mail is from.
        url: gets the document of `show --json` with a short text, as an HTTP POST. It is kept
            secret, because many such addresses are.
        allow_http: send it to another machine in clear, too.
        on: "failed" (ended, but not everything was sent; or could not start), "paused" (by a
            fault of the mail server), "missed" (a slot that is not run), "finished" (cleanly).
        timeout: seconds for all of it, by each way.
    """

    mail: tuple[Annotated[str, AfterValidator(_mail_address)], ...] = ()
    sender: Text | None = None
    url: Annotated[SecretStr, AfterValidator(_web_address)] | None = None
    allow_http: bool = False
    on: tuple[News, ...] = QUIET
    timeout: Annotated[Seconds, Field(le=120)] = 10

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.mail and self.sender is None:
            raise ValueError("mail wants sender = the key of a [senders.…] table")
        if self.url is not None and not self.allow_http:
            parts = urlsplit(self.url.get_secret_value())
            if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
                raise ValueError(
                    "url must begin with https://; allow_http = true sends it in clear"
                )
        return self
