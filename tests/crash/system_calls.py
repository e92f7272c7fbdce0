"""The system calls of a process, recorded by strace and read back in their order."""

import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import pytest

_TRACED = (
    "openat,open,creat,close,dup,dup2,dup3,lseek,write,writev,pwrite64,pwritev,pwritev2,"
    "ftruncate,fallocate,fsync,fdatasync,unlink,unlinkat,rename,renameat,renameat2,"
    "connect,sendto,sendmsg,exit_group"
)
_WHOLE = re.compile(r"(?P<thread>\d+) +(?P<name>\w+)\((?P<given>.*)\) += (?P<result>-?\d+|\?).*")
_BEGUN = re.compile(r"(?P<thread>\d+) +(?P<name>\w+)\((?P<given>.*) <unfinished \.\.\.>")
_RESUMED = re.compile(
    r"(?P<thread>\d+) +<\.\.\. (?P<name>\w+) resumed>.*\) += (?P<result>-?\d+|\?).*"
)
NEVER: Final = 1 << 62
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


def strace(log: Path) -> tuple[str, ...]:
    """Return the command that records what the command after it does; skip where it cannot."""
    program = shutil.which("strace")
    if program is None:
        pytest.skip("strace is not installed")
    probe = subprocess.run(
        [program, "-f", "-o", "/dev/null", "true"], check=False, capture_output=True, text=True
    )
    if probe.returncode:
        pytest.skip(f"strace may not trace here: {probe.stderr.strip()}")
    # Hexadecimal strings of any length: no byte of them can look like a part of the record.
    return (program, "-f", "-xx", "-s", "4194304", "-e", f"trace={_TRACED}", "-o", str(log))


@dataclass(slots=True, eq=False)
class Call:
    """One system call.

    Attributes:
        began: the moment (a line of the record) from which on it may have acted.
        ended: the moment from which on it has acted; later than all others if it never returned.
        result: what it returned; None if it never did.
    """

    name: str
    given: str
    began: int
    ended: int = NEVER
    result: int | None = None

    @property
    def failed(self) -> bool:
        """Whether it returned an error."""
        return self.result is not None and self.result < 0

    @property
    def strings(self) -> list[bytes]:
        """The strings among its arguments."""
        return [bytes.fromhex(each.replace("\\x", "")) for each in _STRING.findall(self.given)]

    @property
    def data(self) -> bytes:
        """The bytes that it wrote or, if it never returned, may have written."""
        whole = b"".join(self.strings)
        return whole if self.result is None else whole[: self.result]

    def number(self, position: int) -> int:
        """Return a numeric argument, counted from 0 or, below 0, from the end."""
        return int(self.given.split(", ")[position])


Step = tuple[Call, Literal["begins", "ends"]]


def steps(lines: Iterable[str]) -> list[Step]:
    """Return the calls of a record, each where it begins and again where it ends."""
    found: list[Step] = []
    open_: dict[str, Call] = {}
    for moment, line in enumerate(lines):
        if whole := _WHOLE.fullmatch(line):
            result = _result(whole["result"])
            call = Call(whole["name"], whole["given"], moment, moment, result)
            found += [(call, "begins"), (call, "ends")]
        elif begun := _BEGUN.fullmatch(line):
            call = open_[begun["thread"]] = Call(begun["name"], begun["given"], moment)
            found.append((call, "begins"))
        elif resumed := _RESUMED.fullmatch(line):
            call = open_.pop(resumed["thread"])
            call.ended, call.result = moment, _result(resumed["result"])
            found.append((call, "ends"))
    return found


def _result(text: str) -> int | None:
    return None if text == "?" else int(text)
