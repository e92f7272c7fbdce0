"""Where the password of a mail server comes from; it is read when asked for and kept nowhere."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from msgrun.errors import ConfigError


class _Keyed(Protocol):
    """A section that says where a password is."""

    @property
    def username(self) -> str: ...
    @property
    def password_env(self) -> str | None: ...
    @property
    def keyring(self) -> str | None: ...


def read_password(
    key: str, server: _Keyed, file: Path | None, environ: Mapping[str, str]
) -> SecretStr | None:
    """Return the password of a server; None if none is configured.

    Args:
        key: the server's table, e.g. "servers.default", for errors.
        server: its settings.
        file: the absolute path of its `password_file`.
        environ: the environment that `password_env` is looked up in.

    Raises:
        ConfigError: the variable, file or keyring entry is missing, empty or unreadable.
    """
    if server.password_env is not None:
        password = environ.get(server.password_env, "")
        where = f"environment variable {server.password_env!r} ({key}.password_env)"
    elif file is not None:
        password = _from_file(key, file)
        where = f"{file} ({key}.password_file)"
    elif server.keyring is not None:
        password = _from_keyring(key, server.keyring, server.username)
        where = f"keyring entry {server.keyring!r} for {server.username!r} ({key}.keyring)"
    else:
        return None
    if not password:
        raise ConfigError(f"{where} is not set or empty", "put the password there (MR601)")
    return SecretStr(password)


def _from_file(key: str, file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as exc:
        reason = exc.strerror or type(exc).__name__
    except UnicodeDecodeError:
        reason = "not UTF-8 text"
    # Raised out here: a decoding error in the chain would hold the file's bytes.
    message = f"{file} ({key}.password_file) cannot be read: {reason}"
    raise ConfigError(message, "correct the path or its permissions (MR601)")


def _from_keyring(key: str, service: str, username: str) -> str:
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        hint = "install msgrun[keyring], or use password_env or password_file (MR601)"
        raise ConfigError(f"{key}.keyring needs the keyring package", hint) from None
    try:
        return keyring.get_password(service, username) or ""
    except KeyringError as exc:
        hint = "unlock the keyring, or use password_env or password_file (MR601)"
        raise ConfigError(f"{key}.keyring: {type(exc).__name__}", hint) from None
