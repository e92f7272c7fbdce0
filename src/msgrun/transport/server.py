"""What is known of a mail server: its settings, the steps towards it, why one failed."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from msgrun.model import Reply, Stage
from msgrun.transport.tokens import TokenSource


@dataclass(frozen=True)
class ServerSettings:
    """How to reach one mail server.

    Attributes:
        name: its key in the configuration.
        security: `starttls` and `tls` are never downgraded; `none` is clear text.
        connections: how many connections a run opens at once.
        messages_per_connection: after so many a new connection is opened.
        timeout: seconds for each step and each answer before the final dot.
        dot_timeout: seconds for the answer to the final dot (RFC 5321 4.5.3.2.6).
        ca_file: the only certificates trusted; None for the system's.
        verify: False switches the certificate check off (MR620).
        tokens: gives access tokens, in place of a password (XOAUTH2).
        ehlo: the name said in EHLO; None for this host's full name, else its address.
    """

    name: str
    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    username: str | None = None
    password: SecretStr | None = None
    connections: int = 2
    messages_per_connection: int = 100
    timeout: float = 30.0
    dot_timeout: float = 600.0
    ca_file: Path | None = None
    verify: bool = True
    ehlo: str | None = None
    tokens: TokenSource | None = None


class ConnectionFault(Exception):  # noqa: N818 - a fault of the server, not an error of ours
    """The connection could not be opened.

    Args:
        stage: the step that failed.
        finding: the catalogue code of the cause.
        reply: the server's answer, where there was one.
        text: what happened, in words.
    """

    def __init__(self, stage: Stage, finding: str, reply: Reply | None, text: str) -> None:
        super().__init__(text)
        self.stage = stage
        self.finding = finding
        self.reply = reply
        self.text = text


@dataclass(frozen=True)
class Step:
    """One step of a dialogue with the server, as the doctor shows it."""

    stage: Stage
    status: Literal["pass", "fail", "warn", "skipped", "unknown"]
    finding: str = ""
    evidence: list[str] = field(default_factory=list)
    reply: Reply | None = None
    milliseconds: int = 0
