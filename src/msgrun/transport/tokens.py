"""Access tokens (RFC 6750) for servers that take no passwords: from a command, or from a file.

msgrun asks nobody for consent and keeps no refresh token: whatever fetches tokens for the machine
already (a cloud's command line, a sidecar that writes a file) is asked for one when it is needed.
"""

import json
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from msgrun.clock import boot_seconds
from msgrun.errors import MsgrunError

KEPT_SECONDS: Final = 300.0
"""How long a command's token is used again: they last an hour, and a run opens many connections."""

COMMAND_SECONDS: Final = 30.0
"""How long a command may take."""

_NAMES: Final = ("access_token", "accessToken", "token")
_MOST_BYTES: Final = 64 * 1024
_MOST_WORDS: Final = 200


class TokenError(MsgrunError):
    """There is no token; the text says why, and holds no secret."""

    def __init__(self, message: str) -> None:
        super().__init__(
            message, "run the token command by hand, or look at the token file (MR601)"
        )


class TokenSource:
    """Gives the access token of a server; may be asked from any thread.

    Args:
        command: program and arguments, run without a shell in `folder`; prints the token alone,
            or a JSON object that has it as access_token, accessToken or token.
        file: is read anew each time, in place of the command.
    """

    def __init__(self, command: Sequence[str], file: Path | None, folder: Path) -> None:
        self._command = tuple(command)
        self._file = file
        self._folder = folder
        self._lock = threading.Lock()
        self._kept: tuple[float, SecretStr] | None = None

    def token(self) -> SecretStr:
        """Return a token, which may take as long as the command does.

        Raises:
            TokenError: the command or the file gives none.
        """
        with self._lock:  # a run's connections ask at once: one command serves them all
            if self._kept is not None and boot_seconds() < self._kept[0]:
                return self._kept[1]
            if self._file is not None:
                return _token_in(_content(self._file), str(self._file))
            found = _token_in(self._run(), self._command[0])
            self._kept = boot_seconds() + KEPT_SECONDS, found
            return found

    def forget(self) -> None:
        """Fetch another token the next time: the server did not take this one."""
        with self._lock:
            self._kept = None

    def _run(self) -> str:
        name = self._command[0]
        try:
            done = subprocess.run(  # noqa: S603 - the operator's own configuration, without a shell
                self._command,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise TokenError(f"{name} gave no token within {COMMAND_SECONDS:g} s") from None
        except OSError as error:
            raise TokenError(f"{name} cannot be run: {error.strerror}") from None
        if done.returncode:
            # What it printed may be half a token; what it complained of is for people.
            said = " ".join(done.stderr.decode("utf-8", "replace").split())[:_MOST_WORDS]
            raise TokenError(f"{name} ended with {done.returncode}: {said or 'it did not say why'}")
        return done.stdout[:_MOST_BYTES].decode("utf-8", "replace")


def _content(file: Path) -> str:
    try:
        with file.open(encoding="utf-8") as opened:
            return opened.read(_MOST_BYTES)
    except OSError as error:
        why = error.strerror
    except UnicodeDecodeError:
        why = "it is no UTF-8 text"
    raise TokenError(f"the token file {file} cannot be read: {why}")


def _token_in(text: str, where: str) -> SecretStr:
    """Return the token that a command printed, or a file holds."""
    text = text.strip()
    value: Any = text
    if text.startswith("{"):
        value = None
        with suppress(ValueError):
            found = json.loads(text)
            value = next((found[name] for name in _NAMES if found.get(name)), None)
    if not isinstance(value, str) or not value:
        raise TokenError(f"{where} gives no token: wanted is the token alone, or JSON with one")
    if any(character <= " " or character > "~" for character in value):
        raise TokenError(f"{where} gives something that is no token: it holds spaces or the like")
    return SecretStr(value)
