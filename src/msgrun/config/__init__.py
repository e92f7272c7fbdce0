"""Configuration: one `msgrun.toml`, overridden by `MSGRUN_…` environment variables."""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import Field, PrivateAttr, SecretStr, ValidationError

from msgrun.config.bounces import BouncesConfig, ImapConfig
from msgrun.config.doctor import DoctorConfig, SuppressionConfig
from msgrun.config.errors import Key, config_error, dotted, fault, validation_faults
from msgrun.config.notify import NotifyConfig
from msgrun.config.passwords import read_password
from msgrun.config.schedules import ScheduleConfig
from msgrun.config.sections import (
    DatabaseConfig,
    DefinitionConfig,
    Section,
    SenderConfig,
    ServerConfig,
    SourceConfig,
    absolute_url,
)
from msgrun.errors import ConfigError, NotFoundError
from msgrun.suggest import did_you_mean

__all__ = [
    "Config",
    "DatabaseConfig",
    "DefinitionConfig",
    "DoctorConfig",
    "ImapConfig",
    "NotifyConfig",
    "Problem",
    "ScheduleConfig",
    "SenderConfig",
    "ServerConfig",
    "SourceConfig",
    "SuppressionConfig",
    "load_config",
    "load_templates",
]

FILE_NAME: Final = "msgrun.toml"
_PREFIX: Final = "MSGRUN_"
_RESERVED: Final = ("MSGRUN_CONFIG", "MSGRUN_DEBUG")
_RESERVED_PREFIX: Final = "MSGRUN_FAILPOINT"
_TOML_POSITION: Final = re.compile(r" \(at line (\d+), column (\d+)\)$")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that does not stop the loading of a configuration, but will stop a run.

    Attributes:
        code: of the catalogue.
        key: the setting, e.g. "definitions.monthly.from_key".
        message: one sentence.
        hint: what to do.
    """

    code: str
    key: str
    message: str
    hint: str


class Config(Section):
    """All settings. Paths in it are relative to the folder of `msgrun.toml`."""

    database: DatabaseConfig
    source: SourceConfig = Field(default_factory=SourceConfig)
    servers: dict[str, ServerConfig] = Field(default_factory=dict)
    senders: dict[str, SenderConfig] = Field(default_factory=dict)
    definitions: dict[str, DefinitionConfig] = Field(default_factory=dict)
    schedules: dict[str, ScheduleConfig] = Field(default_factory=dict)
    doctor: DoctorConfig = Field(default_factory=DoctorConfig)
    bounces: BouncesConfig = Field(default_factory=BouncesConfig)
    notify: NotifyConfig = Field(default_factory=NotifyConfig)

    _path: Path = PrivateAttr(default=Path(FILE_NAME))
    _environ: Mapping[str, str] = PrivateAttr(default_factory=lambda: os.environ)

    @property
    def path(self) -> Path:
        """The file that the settings came from."""
        return self._path

    @property
    def root(self) -> Path:
        """The folder of `msgrun.toml`."""
        return self._path.parent

    def resolve(self, path: str | Path) -> Path:
        """Return a path of the configuration as an absolute one."""
        return self.root / path

    def database_url(self) -> str:
        """Return the database's URL for SQLAlchemy, its password in clear."""
        return absolute_url(self.database.url.get_secret_value(), self.root)

    def attach_paths(self) -> dict[str, Path]:
        """Return the SQLite files to attach for reading, by schema name."""
        return {name: self.resolve(path) for name, path in self.source.attach.items()}

    def definition(self, name: str) -> DefinitionConfig:
        """Return the definition `name`.

        Raises:
            NotFoundError: there is none, or it is disabled (MR201).
        """
        if name not in self.definitions:
            raise NotFoundError(
                f"no definition is named {name!r}",
                "; ".join(filter(None, (did_you_mean(name, self.definitions), "see MR201"))),
            )
        if not self.definitions[name].enabled:
            raise NotFoundError(
                f"definition {name!r} is disabled (MR201)",
                f"set enabled = true under [definitions.{name}] of {self._path}",
            )
        return self.definitions[name]

    def password(self, server: str) -> SecretStr | None:
        """Read the password of a server, now; None if the server needs none.

        Raises:
            ConfigError: the server, or the place that its password is to come from, is missing.
        """
        if server not in self.servers:
            message = f"{self._path}: there is no server {server!r}"
            raise ConfigError(message, f"{did_you_mean(server, self.servers)} (MR601)".strip())
        settings = self.servers[server]
        file = self.resolve(settings.password_file) if settings.password_file else None
        return read_password(dotted(("servers", server)), settings, file, self._environ)

    def imap_password(self, imap: ImapConfig) -> SecretStr | None:
        """Read the password of the bounces' mailbox, now; None if it needs none.

        Raises:
            ConfigError: the place that it is to come from is missing.
        """
        file = self.resolve(imap.password_file) if imap.password_file else None
        return read_password("bounces.imap", imap, file, self._environ)

    def problems(self) -> list[Problem]:
        """Return the names that lead nowhere: senders of definitions, servers of senders."""
        found = []
        for name, definition in self.definitions.items():
            if definition.from_key not in self.senders:
                message = f"definition {name!r} is from {definition.from_key!r}, which is no sender"
                hint = did_you_mean(definition.from_key, self.senders) or "add a [senders.…] table"
                found.append(Problem("MR202", f"definitions.{name}.from_key", message, hint))
        for name, sender in self.senders.items():
            if sender.server not in self.servers:
                message = f"sender {name!r} uses the server {sender.server!r}, which is not set"
                hint = did_you_mean(sender.server, self.servers) or "add a [servers.…] table"
                found.append(Problem("MR601", f"senders.{name}.server", message, hint))
        return found


def load_config(
    path: Path | None = None,
    *,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Read the configuration.

    Args:
        path: the file; else `MSGRUN_CONFIG`, else `msgrun.toml` upwards from `cwd`.
        cwd: the working directory, if not the process's own.
        environ: the environment, if not the process's own.

    Raises:
        ConfigError: there is no file, or it has faults; all of them are listed, one a line.
    """
    environ = os.environ if environ is None else environ
    file = _find(path, (cwd or Path.cwd()).absolute(), environ)
    raw = _read(file)
    raw, origins = _override(raw, environ)
    raw.setdefault("database", {})
    try:
        config = Config.model_validate(raw)
    except ValidationError as exc:
        # Not chained: pydantic's error holds the values, and one of them may be a secret.
        raise config_error(validation_faults(exc, Config, origins, str(file))) from None
    config._path, config._environ = file, environ
    if faults := _cross_faults(config):
        raise config_error(faults)
    return config


def load_templates(config: Config, name: str) -> dict[str, tuple[str, str]]:
    """Read the templates of the definition `name`: by part, where it stands and its source.

    Raises:
        NotFoundError: there is no such definition, or it is disabled.
        ConfigError: a file is missing or is not UTF-8 text; all such files are listed.
    """
    definition = config.definition(name)
    templates: dict[str, tuple[str, str]] = {}
    if definition.subject is not None:
        templates["subject"] = (f"definitions.{name}.subject", definition.subject)
    faults = []
    for part, file in definition.template_files.items():
        path = config.resolve(file)
        try:
            # utf-8-sig: a mark that some editors write first must not get into a message.
            source = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as exc:
            faults.append(f"{path}: the {part} template of definition {name!r} {_why(exc)}")
            continue
        templates[part] = (str(path), source.rstrip("\r\n") if part == "subject" else source)
    if faults:
        raise ConfigError("\n".join(faults), f"correct the path under [definitions.{name}]")
    return templates


def _find(path: Path | None, cwd: Path, environ: Mapping[str, str]) -> Path:
    """Return the absolute path of the configuration file."""
    named = path or environ.get("MSGRUN_CONFIG")
    if named:
        return cwd / named
    for folder in (cwd, *cwd.parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    raise ConfigError(
        f"there is no {FILE_NAME} in {cwd} or any folder above it",
        "`msgrun init` writes one; `msgrun demo` shows everything without one",
    )


def _read(file: Path) -> dict[str, Any]:
    """Return what the file says."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        hint = "`msgrun init` writes one; see also --config and MSGRUN_CONFIG"
        raise ConfigError(f"{file}: the configuration {_why(exc)}", hint) from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        reason = str(exc)
        position = _TOML_POSITION.search(reason)
        line, column = position.groups() if position else (len(text.splitlines()), 1)
        reason = reason[: reason.rindex(" (at ")]
        # Not chained: newer Pythons keep the whole text in the error.
        raise config_error([f"{file}: line {line}, column {column}: not TOML: {reason}"]) from None


def _why(exc: OSError | UnicodeDecodeError) -> str:
    """Return why a file could not be read, without any of its content."""
    if isinstance(exc, OSError):
        return f"cannot be read: {exc.strerror or exc}"
    return f"is not UTF-8 text (byte {exc.start})"


def _override(
    raw: dict[str, Any], environ: Mapping[str, str]
) -> tuple[dict[str, Any], dict[Key, str]]:
    """Lay the settings of the environment over `raw`; see `msgrun.config.environment.override`."""
    servers = raw.get("servers")
    tables = servers.values() if isinstance(servers, dict) else ()
    # A password's own variable may well begin with MSGRUN_ too.
    passwords = [table.get("password_env") for table in tables if isinstance(table, dict)]
    passwords += [text for name, text in environ.items() if name.upper().endswith("__PASSWORD_ENV")]
    variables = {
        name: text
        for name, text in environ.items()
        if name.upper().startswith(_PREFIX)
        and name.upper() not in _RESERVED
        and not name.upper().startswith(_RESERVED_PREFIX)
        and name not in passwords
    }
    if not variables:
        return raw, {}
    from msgrun.config.environment import override  # pydantic-settings is slow to import

    return override(raw, Config, variables)


def _cross_faults(config: Config) -> list[str]:
    """Return what is wrong between sections that are each right."""
    place = str(config.path)
    faults = []
    try:
        sqlite = config.database_url().startswith("sqlite")
    except ValueError as exc:
        return [fault(place, ("database", "url"), None, str(exc))]
    if config.source.attach and not sqlite:
        wanted = "only works with SQLite; on PostgreSQL the source is the same database"
        faults.append(fault(place, ("source", "attach"), None, wanted))
    for name, schedule in config.schedules.items():
        if schedule.definition not in config.definitions:
            wanted = f"no such definition; {did_you_mean(schedule.definition, config.definitions)}"
            key = ("schedules", name, "definition")
            faults.append(fault(place, key, schedule.definition, wanted))
        if schedule.distributed and sqlite:
            wanted = "needs PostgreSQL: workers of many hosts share one database"
            faults.append(fault(place, ("schedules", name, "distributed"), True, wanted))
    sender = config.notify.sender
    if sender is not None and sender not in config.senders:
        wanted = f"no such sender; {did_you_mean(sender, config.senders)}"
        faults.append(fault(place, ("notify", "sender"), sender, wanted))
    return faults
