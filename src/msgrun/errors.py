"""The one error tree. Each error carries its exit code and a hint that says what to do next."""

from typing import ClassVar


class ExitCode:
    """Exit codes of the program; scripts rely on them."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    INCOMPLETE = 3
    DOCTOR_ERRORS = 4
    DOCTOR_UNKNOWN = 5
    NOT_FOUND = 10
    ALREADY_RUNNING = 11
    PAUSED = 12
    INTERRUPTED = 130
    TERMINATED = 143


class MsgrunError(Exception):
    """Something a person has to know.

    Args:
        message: one sentence that says what is wrong.
        hint: what to do next; may be empty.
    """

    exit_code: ClassVar[int] = ExitCode.ERROR
    code: ClassVar[str] = "error"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type, tuple[str, ...]]:
        """Travel between processes."""
        return type(self), (self.message, self.hint)


class UsageError(MsgrunError):
    """The command line asks for something that cannot be done."""

    exit_code = ExitCode.USAGE
    code = "usage"


class ConfigError(MsgrunError):
    """`msgrun.toml`, or a file that it names, is wrong."""

    exit_code = ExitCode.USAGE
    code = "config"


class SourceError(MsgrunError):
    """The billing data cannot be read as the contract wants it (MR006)."""

    exit_code = ExitCode.USAGE
    code = "source"


class ImportFileError(MsgrunError):
    """A file for `import` has a bad row; nothing was imported."""

    exit_code = ExitCode.USAGE
    code = "import"


class DatabaseError(MsgrunError):
    """The database cannot be reached, is locked, read-only, or of another version (MR001)."""

    code = "database"


class NotFoundError(MsgrunError):
    """There is no such customer, cluster, definition, run or code."""

    exit_code = ExitCode.NOT_FOUND
    code = "not_found"


class AlreadyRunningError(MsgrunError):
    """Another process works on this definition or run."""

    exit_code = ExitCode.ALREADY_RUNNING
    code = "already_running"


class PreflightError(MsgrunError):
    """A check before the run found an error that concerns the whole run; nothing was written."""

    exit_code = ExitCode.DOCTOR_ERRORS
    code = "preflight"


class ServerDownError(MsgrunError):
    """The mail server cannot be used now; nothing was written."""

    exit_code = ExitCode.PAUSED
    code = "server_down"


class ComposeError(MsgrunError):
    """One message cannot be composed.

    Args:
        finding: the catalogue code that names the cause, e.g. "MR302".
        message: one sentence with the evidence.
        hint: what to do next.
    """

    code = "compose"

    def __init__(self, finding: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.finding = finding

    def __reduce__(self) -> tuple[type, tuple[str, ...]]:
        """Travel between processes."""
        return type(self), (self.finding, self.message, self.hint)
