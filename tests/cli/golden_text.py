"""Golden text: what a command printed once and a person has read."""

import os
import re
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"

CHANGING = (
    (r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z", "<time>"),
    (r"queued as [0-9A-F]+", "queued as <id>"),
    (r"by \S+@\S+", "by <user>"),
    (r"127\.0\.0\.1:[0-9]+", "127.0.0.1:<port>"),
    (r"<[0-9a-f]{32}\.", "<<uid>."),
    (r"sqlite:///.*/billing/", "sqlite:///<folder>/"),
    (r"(the host's time zone is) .+", r"\1 <zone>"),
    (r"(room for the database in) .+", r"\1 <folder>"),
)


def same_as_golden(name: str, text: str) -> None:
    """Compare with the stored text, but for what changes from run to run."""
    for pattern, word in CHANGING:
        text = re.sub(pattern, word, text)
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")
