"""How fast is msgrun beside other programs? All of them send to the same sink, in turns.

Usage: python benchmarks/peers.py [--install] [--case small,30kB,300kB] [--connections N,N]
[--database sqlite|postgresql|both] [--security none,starttls] [--peer NAME,NAME] [--messages N]
[--repeat N] [--processes N] [--peers-folder DIR] [--folder DIR].
"""

import argparse
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from dataclasses import field as made
from functools import partial
from pathlib import Path
from typing import Any

from billing import write_billing
from contestants import Peer, Sent, Task, install, peers
from counting_sink import Sink, counting_sink
from guarantees import Bench, postgresql_bench, sqlite_bench
from surroundings import PostgreSQL, machine, postgresql, scratch_folder

PEERS_FOLDER = Path(__file__).with_name(".peers")
WARMING = 24  # messages that nobody counts, before the turns
ALIKE = 0.1, 250  # how much a message may differ from msgrun's: a share of it, or bytes


@dataclass(frozen=True)
class Case:
    """What is sent: text, HTML, and a document of so many bytes; `share` of the usual number."""

    document_bytes: int
    share: float = 1.0


CASES = {"small": Case(0), "30kB": Case(30_000), "300kB": Case(300_000, share=0.2)}

# Of msgrun's rate to the peer's, with 30 kB and without TLS.
PROMISED = {
    ("sqlite", "smtp-source"): 0.6,
    ("postgresql", "smtp-source"): 0.5,
    ("sqlite", "nodemailer"): 4.0,
    ("sqlite", "mailmerge"): 12.0,
}
PROMISED_CASE = "30kB"
DATABASES = {"sqlite": {"sqlite"}, "postgresql": {"postgresql"}, "both": {"sqlite", "postgresql"}}


@dataclass
class Contestant:
    """One program in one cell, and what was measured of it; `send` sends so many messages."""

    name: str
    send: Callable[[], Sent]
    messages: int
    rates: list[float] = made(default_factory=list)
    sizes: list[float] = made(default_factory=list)
    sink_cpu: list[float] = made(default_factory=list)

    def take_turn(self, sink: Sink) -> None:
        """Send once, and compare with what the sink has seen.

        Raises:
            SystemExit: not every message has arrived, or more have.
        """
        before, octets, cpu = sink.messages(), sink.bytes_read(), sink.cpu()
        sent = self.send()
        arrived = sink.wait_for_messages(before + self.messages) - before
        if not arrived == sent.messages == self.messages:
            told = f"{self.name} says {sent.messages} of {self.messages}, and {arrived} arrived"
            sys.exit(f"{told}: the figures say nothing")
        self.rates.append(sent.messages / sent.seconds)
        self.sizes.append((sink.bytes_read() - octets) / arrived)
        self.sink_cpu.append((sink.cpu() - cpu) / arrived)

    def forget(self) -> None:
        """Begin anew: what was measured was for warming up."""
        for figures in (self.rates, self.sizes, self.sink_cpu):
            figures.clear()

    def line(self) -> str:
        """Return the figures."""
        return (
            f"  {self.name:<20} {spread(self.rates, '8.1f')} messages/s, {self.messages} a turn, "
            f"{statistics.median(self.sizes):.0f} bytes a message, "
            f"sink {statistics.median(self.sink_cpu) * 1e3:.2f} ms CPU"
        )


def spread(figures: list[float], form: str = ".2f") -> str:
    """Return median, smallest and largest."""
    return f"{statistics.median(figures):{form}} ({min(figures):.4g} to {max(figures):.4g})"


@dataclass(frozen=True)
class Cell:
    """One case with one sink and one number of connections."""

    case: str
    secured: bool
    ours: list[Contestant]
    theirs: list[Contestant]

    def measure(self, sink: Sink, repeat: int) -> None:
        """Let each send in turn, again and again, after one turn that nobody counts."""
        everybody = [*self.ours, *self.theirs]
        for turn in range(repeat + 1):
            for one in everybody:
                one.take_turn(sink)
            shown = ", ".join(f"{one.name} {one.rates[-1]:.0f}" for one in everybody)
            print(f"    {f'turn {turn}' if turn else 'warming'}: {shown}", flush=True)
            if turn == 0:
                for one in everybody:
                    one.forget()

    def verdicts(self) -> Iterator[tuple[str, bool | None]]:
        """Yield ratios with what was promised, and whether it is kept; None where nothing was."""
        for our in self.ours:
            for their in self.theirs:
                ratios = [a / b for a, b in zip(our.rates, their.rates, strict=True)]
                told = f"  {our.name} / {their.name:<12} {spread(ratios)}"
                promised = PROMISED.get((our.name.rpartition(" ")[2], their.name))
                if promised is None or self.case != PROMISED_CASE or self.secured:
                    yield told, None
                else:
                    kept = statistics.median(ratios) >= promised
                    word = "kept" if kept else "NOT KEPT"
                    yield f"{told}; promised {promised}: {word}", kept

    def unlike(self) -> Iterator[str]:
        """Yield whose messages are of another size than msgrun's, so that rates do not compare."""
        our = statistics.median(self.ours[0].sizes)
        share, octets = ALIKE
        for their in self.theirs:
            size = statistics.median(their.sizes)
            if abs(size - our) > max(share * our, octets):
                yield f"  {their.name}'s messages have {size:.0f} bytes, msgrun's {our:.0f}"


@dataclass(frozen=True)
class Field:
    """What all cells of one case share: the data, and msgrun's databases with it."""

    asked: argparse.Namespace
    case: str
    place: Path
    messages: int
    fresh: dict[str, Callable[[], Any]]

    def cell(self, sink: Sink, connections: int, present: list[Peer]) -> Cell:
        """Prepare msgrun and the peers for one cell."""
        case = CASES[self.case]
        secured = sink.ca_file is not None
        ours = []
        for database, fresh in self.fresh.items():
            bench = Bench(
                self.place,
                self.place / "billing",
                sink.port,
                self.messages,
                fresh,
                ca_file=sink.ca_file,
                documents=case.document_bytes > 0,
                processes=self.asked.processes,
            )
            ours.append(_msgrun(database, bench, connections))
        theirs = []
        for peer in present:
            if secured and not peer.tls:
                continue
            folder = Path(tempfile.mkdtemp(prefix=peer.name, dir=self.place))
            number = max(1, round(self.messages * peer.share))
            task = Task(
                folder, self.place / "billing", sink, connections, number, case.document_bytes > 0
            )
            peer.prepare(task)
            theirs.append(Contestant(peer.name, partial(peer.send, task), number))
        return Cell(self.case, secured, ours, theirs)


def _msgrun(database: str, bench: Bench, connections: int) -> Contestant:
    def send() -> Sent:
        run = bench.run(connections, synced=True)
        return Sent(run.sent, run.seconds)

    return Contestant(f"msgrun on {database}", send, bench.messages)


@contextmanager
def field_of(
    asked: argparse.Namespace, case: str, folder: Path, server: PostgreSQL | None
) -> Iterator[Field]:
    """Write the data of a case and import it; remove it after the block."""
    with scratch_folder(folder) as place, ExitStack() as stack:
        messages = max(1, round(asked.messages * CASES[case].share))
        files = write_billing(place / "billing", messages, CASES[case].document_bytes)
        fresh = {}
        if "sqlite" in DATABASES[asked.database]:
            fresh["sqlite"] = stack.enter_context(sqlite_bench(place, files))
        if server is not None:
            maker = postgresql_bench(server, files, f"case_{case.lower()}")
            fresh["postgresql"] = stack.enter_context(maker)
        yield Field(asked, case, place, messages, fresh)


def measure(field: Field, sink: Sink, connections: int, present: list[Peer]) -> list[bool]:
    """Measure and print one cell; tell of each promise that was measured whether it is kept."""
    print(f"\n{field.case}, {connections} connections, {sink.name}", flush=True)
    cell = field.cell(sink, connections, present)
    cell.measure(sink, field.asked.repeat)
    for one in (*cell.ours, *cell.theirs):
        print(one.line())
    unlike = list(cell.unlike())
    verdicts = list(cell.verdicts())
    print(*(told for told, _ in verdicts), *unlike, sep="\n", flush=True)
    return [kept and not unlike for _, kept in verdicts if kept is not None]


def main() -> int:
    """Measure what was asked for; return 1 when a promise that was measured is not kept."""
    asked = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing is left behind
    if asked.install:
        install(asked.peers_folder, asked.peer)
    kept: list[bool] = []
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder(asked.folder))
        print(*machine(folder), sep="\n")
        server = None
        if "postgresql" in DATABASES[asked.database]:
            server = stack.enter_context(postgresql(folder))
            print(f"postgresql  {server.version}")
        present = list(_present(asked))
        sinks = [
            stack.enter_context(counting_sink(folder, tls=security == "starttls"))
            for security in asked.security
        ]
        for case in asked.case:
            with field_of(asked, case, folder, server) as field:
                for sink in sinks:
                    for connections in asked.connections:
                        kept += measure(field, sink, connections, present)
    print(f"\n{len(kept)} promises measured, {kept.count(True)} kept")
    return 0 if all(kept) else 1


def _present(asked: argparse.Namespace) -> Iterator[Peer]:
    """Yield the peers that can run; print what is known of each."""
    for peer in peers(asked.peers_folder):
        if peer.name in asked.peer:
            missing = peer.missing()
            about = f"missing: {missing}" if missing else peer.version()
            print(f"{peer.name:<11} {about}")
            if not missing:
                yield peer


def _arguments() -> argparse.Namespace:
    def numbers(given: str) -> list[int]:
        return [int(number) for number in given.split(",")]

    def names(known: Iterable[str]) -> Callable[[str], list[str]]:
        def parse(given: str) -> list[str]:
            if unknown := set(given.split(",")) - set(known):
                told = f"{', '.join(unknown)}: there are {', '.join(known)}"
                raise argparse.ArgumentTypeError(told)
            return given.split(",")

        return parse

    every = [peer.name for peer in peers(PEERS_FOLDER)]
    security = ["none", "starttls"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--install", action="store_true", help="fetch peers by npm and pip first")
    parser.add_argument("--case", type=names(CASES), default=list(CASES), metavar="NAME,NAME")
    parser.add_argument("--connections", type=numbers, default=[10, 50], metavar="N,N")
    parser.add_argument("--database", choices=DATABASES, default="both")
    parser.add_argument("--security", type=names(security), default=security, metavar="NAME,NAME")
    parser.add_argument("--peer", type=names(every), default=every, metavar="NAME,NAME")
    parser.add_argument("--messages", type=int, default=2000, help="that msgrun sends in a turn")
    parser.add_argument("--repeat", type=int, default=5, help="turns that count")
    parser.add_argument("--processes", type=int, help="of msgrun; without: as shipped")
    parser.add_argument("--peers-folder", type=Path, default=PEERS_FOLDER, metavar="DIR")
    parser.add_argument("--folder", type=Path, help="where the scratch folder is made: on a disk")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
