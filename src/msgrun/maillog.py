"""What a Postfix writes into its log about messages: their queue ids, and what became of them.

Reads syslog lines, with whatever stands before `postfix/…`, and exports of the systemd journal:
`journalctl -o short…`, `-o cat` and `-o json`. Files that end in .gz are unpacked.
"""

import gzip
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from msgrun.errors import UsageError

# Queue ids: hexadecimal, or, the long ones, letters and digits without vowels.
_LINE: Final = re.compile(r"(?:^|[ /])(?:postfix[^ ]*/)?(\w+)\[\d+\]: ([0-9A-Za-z]{6,20}): (.*)")
_MESSAGE_ID: Final = re.compile(r"(?:resent-)?message-id=(<[^>]*>)")
_DELIVERY: Final = re.compile(
    r"to=<(?P<to>[^>]*)>,(?: orig_to=<(?P<orig>[^>]*)>,)?(?: relay=(?P<relay>[^,]*),)?.*?"
    r" dsn=(?P<dsn>[\d.]+), status=(?P<status>\w+)(?: \((?P<said>.*)\))?"
)
_NEXT: Final = re.compile(r"queued as ([0-9A-Za-z]{6,20})\b")
_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:?\d\d)?|[A-Z][a-z]{2} +\d{1,2} \d\d:\d\d:\d\d"
)


@dataclass(frozen=True, slots=True)
class Named:
    """The relay has given a message a queue id."""

    queue_id: str
    message_id: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """The relay has tried to pass a message on to one recipient.

    Attributes:
        at: as the log has it; "" if the line has no time.
        address: as it was given to the relay.
        relay: whom it talked to.
        enhanced: the enhanced status code (RFC 3463).
        status: Postfix's word: sent, deferred, bounced, expired, undeliverable, …
        said: the far server's answer, or why there is none.
        next_id: the queue id under which the same host goes on with it, behind a filter; or "".
    """

    queue_id: str
    at: str
    address: str
    relay: str
    enhanced: str
    status: str
    said: str
    next_id: str = ""


def read_line(line: str) -> Named | Delivered | None:
    """Return what a line says of a message; None when it says nothing of the kind."""
    at, text = _text(line)
    found = _LINE.search(text)
    if found is None:
        return None
    queue_id, rest = found[2], found[3]
    if named := _MESSAGE_ID.match(rest):
        return Named(queue_id, named[1])
    tried = _DELIVERY.match(rest)
    if tried is None:
        return None
    said = tried["said"] or ""
    passed_on = _NEXT.search(said) if _is_local(tried["relay"] or "") else None
    return Delivered(
        queue_id,
        at or _time(text),
        tried["orig"] or tried["to"],
        tried["relay"] or "",
        tried["dsn"],
        tried["status"],
        said,
        passed_on[1] if passed_on else "",
    )


def read_log(path: Path) -> Iterator[Named | Delivered]:
    """Yield what a log says of messages, in its order.

    Raises:
        UsageError: it cannot be read.
    """
    with _opened(path) as lines:
        for line in lines:
            told = read_line(line)
            if told is not None:
                yield told


def _is_local(relay: str) -> bool:
    return relay.startswith(("127.0.0.1[", "localhost[")) or "[127." in relay or "[::1]" in relay


def _text(line: str) -> tuple[str, str]:
    """Return time and text of a line: of `journalctl -o json`, an object."""
    if not line.startswith("{"):
        return "", line.rstrip("\n")
    try:
        entry = json.loads(line)
        name, process = entry["SYSLOG_IDENTIFIER"], entry.get("SYSLOG_PID", "0")
        return str(entry.get("__REALTIME_TIMESTAMP", "")), f"{name}[{process}]: {entry['MESSAGE']}"
    except (ValueError, KeyError, TypeError):
        return "", ""


def _time(text: str) -> str:
    found = _TIME.match(text)
    return found[0] if found else ""


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    try:
        with path.open("rb") as file:
            raw = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
            with io.TextIOWrapper(raw, encoding="utf-8", errors="replace") as lines:
                yield lines
    except (OSError, EOFError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"the log {path} cannot be read: {why}",
            "name a file that this user may read; `journalctl -u 'postfix*' -o json > FILE` "
            "makes one of the journal",
        ) from error
