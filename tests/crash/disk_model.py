"""What a disk may hold of a directory's files when the power is lost at some moment.

The model, which promises less than ext4, XFS or btrfs do:

- What a file held when an fsync or fdatasync of it began, and what had been written by then, is
  on disk once that call has returned. Of everything later the disk holds any part: each sector
  of 512 bytes is as it was after any one of the writes since, in no order among sectors, so that
  a write can be torn and a later write can be there without an earlier one. The length is any
  that the file has had since. A sector inside that length whose write is missing holds zeros,
  or anything (the length reached the disk, the data did not).
- A name that was made, removed or renamed is certain only once an fsync of the directory has
  returned; syncing the file does not help. Of the later changes the disk holds the first so many:
  a journaling file system keeps their order among each other, but not with the files' content.
- A single sector is old or new, never a mixture. Synced data survive: no disk lies in this model.

Memory-mapped files are not seen: SQLite maps only `-shm`, which it makes anew after a crash.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from system_calls import Call, Step

SECTOR: Final = 512
_OPENING = {"openat": 1, "open": 0}  # where the path is among the arguments


@dataclass(frozen=True, slots=True)
class _Change:
    """A write of `data` at `offset` or, without data, a cut (or growth) to the length `offset`."""

    call: Call
    offset: int
    data: bytes | None

    def apply(self, content: bytearray) -> None:
        if self.data is None:
            del content[self.offset :]
        content.extend(bytes(max(0, self.offset - len(content))))
        if self.data is not None:
            content[self.offset : self.offset + len(self.data)] = self.data


@dataclass(slots=True, eq=False)
class _File:
    """One file (an inode, whatever names it has)."""

    before: bytes
    changes: list[_Change] = field(default_factory=list)
    syncs: list[Call] = field(default_factory=list)
    length: int = 0

    def add(self, call: Call, offset: int, data: bytes | None) -> None:
        self.changes.append(_Change(call, offset, data))
        end = offset + len(data or b"")
        self.length = end if data is None else max(self.length, end)

    def content(self, moment: int, chance: Random) -> bytes:
        """Return what the disk may hold of it."""
        certain = _certain_until(self.syncs, moment)
        content, loose = bytearray(self.before), []
        for change in self.changes:
            if change.call.ended < certain:
                change.apply(content)
            elif change.call.began <= moment:
                loose.append(change)
        match chance.choice(["none", "all", "first", "any"]):
            case "all":
                for change in loose:
                    change.apply(content)
            case "first":
                _apply_first(content, loose, chance)
            case "any":
                return _any_sectors(content, loose, chance)
        return bytes(content)


@dataclass(frozen=True, slots=True)
class _Naming:
    """A change of the directory: these names now mean these files (None: nothing)."""

    call: Call
    names: Mapping[str, _File | None]


def _certain_until(syncs: Iterable[Call], moment: int) -> int:
    """Return the moment before which everything had ended that is certain to be on disk."""
    return max((sync.began for sync in syncs if sync.ended <= moment), default=-1)


def _apply_first(content: bytearray, loose: list[_Change], chance: Random) -> None:
    """Apply the first so many changes, the last of them in part."""
    if not loose:
        return
    last = chance.randrange(len(loose))
    for change in loose[:last]:
        change.apply(content)
    change = loose[last]
    if change.data is not None:
        sectors = range(change.offset // SECTOR, (change.offset + len(change.data)) // SECTOR + 1)
        until = chance.choice(sectors) * SECTOR
        change = _Change(change.call, change.offset, change.data[: max(0, until - change.offset)])
    change.apply(content)


def _any_sectors(certain: bytearray, loose: list[_Change], chance: Random) -> bytes:
    """Give each sector, and the length, any state that it has had since the last sync."""
    current, lengths = bytearray(certain), [len(certain)]
    versions: dict[int, list[bytes]] = {}
    for change in loose:
        change.apply(current)
        lengths.append(len(current))
        if change.data is None:
            continue
        end = change.offset + len(change.data)
        for start in range(change.offset // SECTOR * SECTOR, end, SECTOR):
            seen = versions.setdefault(start, [bytes(certain[start : start + SECTOR])])
            seen.append(bytes(current[start : start + SECTOR]))
    newest = chance.choice([0.1, 0.5, 0.9, 0.99])
    length = lengths[-1] if chance.random() < newest else chance.choice(lengths)
    garbage = chance.random() < 0.5
    content = certain[:length]
    while len(content) < length:
        content += chance.randbytes(SECTOR) if garbage else bytes(SECTOR)
    for start, seen in versions.items():
        version = seen[-1] if chance.random() < newest else chance.choice(seen)
        if version:  # the end of a file is written as a whole sector, filled up with zeros
            content[start : start + SECTOR] = version.ljust(SECTOR, b"\0")
    return bytes(content[:length])


class Disk:
    """The files of one directory, followed through the recorded steps of a process.

    Args:
        directory: the directory; what is in directories below it is not followed.
        before: names and contents when the record began, all of it on disk.
        wanted: tells by its name whether a file is followed.
    """

    def __init__(
        self, directory: Path, before: Mapping[str, bytes], wanted: Callable[[str], bool]
    ) -> None:
        self._directory = os.fsencode(directory)
        self._wanted = wanted
        self._before = {
            name: _File(content, length=len(content)) for name, content in before.items()
        }
        self._names: dict[str, _File | None] = dict(self._before)
        self._namings: list[_Naming] = []
        self._directory_syncs: list[Call] = []
        self._open: dict[int, _File] = {}
        self._positions: dict[int, int] = {}
        self._appending: set[int] = set()
        self._open_directories: set[int] = set()

    def follow(self, step: Step) -> None:
        """Take the next step of the record in."""
        call, side = step
        if call.failed:
            return
        if side == "begins":
            self._begin(call)
        elif call.name in _OPENING:
            self._opened(call)

    def image(self, moment: int, chance: Random) -> dict[str, bytes]:
        """Return names and contents that the disk may hold when power is lost at `moment`."""
        certain = _certain_until(self._directory_syncs, moment)
        names: dict[str, _File | None] = dict(self._before)
        loose = []
        for naming in self._namings:
            if naming.call.ended < certain:
                names |= naming.names
            elif naming.call.began <= moment:
                loose.append(naming)
        for naming in loose[: chance.randint(0, len(loose))]:
            names |= naming.names
        return {
            name: file.content(moment, chance) for name, file in names.items() if file is not None
        }

    def _begin(self, call: Call) -> None:
        match call.name:
            case "unlink" | "unlinkat":
                self._rename(call, call.strings[0], None)
            case "rename" | "renameat" | "renameat2":
                self._rename(call, *call.strings[:2])
            case "openat" | "open" | "creat" | "connect" | "sendto" | "sendmsg" | "exit_group":
                pass
            case _:
                self._on_descriptor(call, call.number(0))

    def _on_descriptor(self, call: Call, descriptor: int) -> None:
        if descriptor in self._open_directories:
            if call.name in {"fsync", "fdatasync"}:
                self._directory_syncs.append(call)
            elif call.name == "close":
                self._open_directories.discard(descriptor)
            return
        file = self._open.get(descriptor)
        if file is None:
            return
        match call.name:
            case "pwrite64":
                file.add(call, call.number(-1), call.data)
            case "write" | "writev":
                self._write(call, descriptor, file)
            case "lseek":
                self._positions[descriptor] = call.result or 0
            case "ftruncate":
                file.add(call, call.number(-1), None)
            case "fsync" | "fdatasync":
                file.syncs.append(call)
            case "close":
                del self._open[descriptor]
                self._appending.discard(descriptor)
            case _:
                # Not an assertion: the tests of the mutants expect one, and for another reason.
                raise NotImplementedError(f"{call.name}({call.given[:80]}")

    def _write(self, call: Call, descriptor: int, file: _File) -> None:
        # Who reads and then writes without lseek or O_APPEND would be misread here; nobody does.
        data = call.data
        at = file.length if descriptor in self._appending else self._positions[descriptor]
        file.add(call, at, data)
        self._positions[descriptor] = at + len(data)

    def _opened(self, call: Call) -> None:
        assert call.result is not None
        descriptor, path = call.result, call.strings[0]
        name = self._name(path)
        if path == self._directory:
            self._open_directories.add(descriptor)
        if name is None:
            return
        file = self._names.get(name)
        if file is None:
            file = _File(b"")
            self._point(call, {name: file})
        flags = call.given.split(", ")[_OPENING[call.name] + 1]
        if "O_TRUNC" in flags and file.length:
            file.add(call, 0, None)
        if "O_APPEND" in flags:
            self._appending.add(descriptor)
        self._open[descriptor], self._positions[descriptor] = file, 0

    def _rename(self, call: Call, old: bytes, new: bytes | None) -> None:
        names = [self._name(path) for path in (old, new) if path is not None]
        if names[0] is not None:
            file = self._names.get(names[0])
            self._point(call, {names[0]: None} | {name: file for name in names[1:] if name})

    def _point(self, call: Call, names: Mapping[str, _File | None]) -> None:
        self._names |= names
        self._namings.append(_Naming(call, names))

    def _name(self, path: bytes) -> str | None:
        """Return the name of a file that is followed, None for all others."""
        folder, name = os.path.split(path)
        if folder != self._directory or not self._wanted(os.fsdecode(name)):
            return None
        return os.fsdecode(name)
