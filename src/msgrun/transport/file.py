"""A rehearsal: each message becomes an `.eml` file."""

import asyncio
import hashlib
import os
import re
import tempfile
from pathlib import Path

from msgrun.model import ComposedMessage, Envelope, Outcome, Stage, Verdict
from msgrun.transport.base import Intent, WithheldError

UNSAFE = re.compile(r"[^A-Za-z0-9@._+-]")
LONGEST_NAME = 120


class FileTransport:
    """Writes messages to a directory; see `Transport`, whose promises these are.

    Args:
        directory: made when the first message is written.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def send(self, envelope: Envelope, message: ComposedMessage, intent: Intent) -> Outcome:
        """Write `message` as a file that appears whole or not at all; the envelope is not in it.

        Raises:
            WithheldError: `intent` returned False; nothing is left behind.
        """
        target = self._directory / file_name(message.message_id)
        try:
            draft = await asyncio.to_thread(self._write_draft, message.data)
        except OSError as exc:
            return _fault(exc)
        try:
            if not await intent():
                raise WithheldError("the intent was refused")
            try:
                draft.replace(target)
            except OSError as exc:
                return _fault(exc)
        finally:
            draft.unlink(missing_ok=True)
        return Outcome(Verdict.ACCEPTED, Stage.DOT, text=str(target), queue_id=target.name)

    async def close(self) -> None:
        """Nothing is held open."""

    def _write_draft(self, data: bytes) -> Path:
        self._directory.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=self._directory, prefix=".", suffix=".tmp", delete=False
        ) as file:
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                Path(file.name).unlink()
                raise
        return Path(file.name)


def file_name(message_id: str) -> str:
    """Return a file name for a Message-ID: safe, and another one for another Message-ID."""
    bare = message_id.strip("<>")
    safe = UNSAFE.sub("_", bare).lstrip(".")[:LONGEST_NAME]
    if safe != bare:
        safe = f"{safe}-{hashlib.sha256(message_id.encode()).hexdigest()[:12]}"
    return f"{safe}.eml"


def _fault(exc: OSError) -> Outcome:
    text = f"{exc.filename or 'file'}: {exc.strerror or exc}"
    return Outcome(Verdict.SERVER_FAULT, Stage.DATA, text=text, finding="MR004")
