"""What does a message cost before it meets a server? CPU time of each step from rows to bytes.

Usage: python benchmarks/composing.py [--messages N] [--repeat N] [--batch N] [--sizes N,N]
[--database sqlite|postgresql|both] [--folder DIR].
"""

import argparse
import hashlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime
from email import policy
from email.headerregistry import Address as StandardAddress
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path

from billing import write_billing, write_config
from sqlalchemy import Connection
from surroundings import machine, postgresql, scratch_folder

from msgrun.compose import message as composing
from msgrun.compose.attachments import Attachment, load_document
from msgrun.compose.message import compose
from msgrun.compose.mime import write_message
from msgrun.compose.render import Rendered, RunInfo, SenderInfo
from msgrun.compose.reread import verify_headers
from msgrun.config import load_config
from msgrun.database import Database
from msgrun.importing import import_files
from msgrun.ledger.context import context_json
from msgrun.model import MessageContext
from msgrun.workspace import Revision, Workspace

DATE = datetime(2026, 11, 1, 7, tzinfo=UTC)
STEPS = ("load", "render", "documents", "MIME", "hash", "verify", "context")


@dataclass(frozen=True)
class Letter:
    """One message, half way: what each step starts from."""

    number: int
    context: MessageContext
    rendered: Rendered
    attachments: Sequence[Attachment]

    @property
    def message_id(self) -> str:
        """The Message-ID, with angle brackets."""
        return f"<{self.number}.benchmark@acme.test>"


@dataclass(frozen=True)
class Bench:
    """A workspace with its customers, and how they are asked for."""

    workspace: Workspace
    revision: Revision
    wanted: Sequence[tuple[str, tuple[str, ...]]]
    batch: int

    def load(self, connection: Connection) -> list[MessageContext]:
        """Load all messages' contexts, a batch in a transaction as a run does."""
        found = []
        for start in range(0, len(self.wanted), self.batch):
            with connection.begin():
                found += self.workspace.source.load(
                    connection,
                    self.wanted[start : start + self.batch],
                    key=self.revision.key,
                    transformations=self.revision.transformations,
                )
        return [context for context in found if context is not None]

    def compose(self, number: int, context: MessageContext) -> bytes:
        """Compose as a run does."""
        _, message = compose(
            self.revision.recipe,
            self.revision.renderer,
            context,
            recipients=context.addresses,
            message_id=f"<{number}.benchmark@acme.test>",
            date=DATE,
        )
        return message.data

    def letters(self, connection: Connection) -> list[Letter]:
        """Return every message with what it is made of."""
        recipe = self.revision.recipe
        sender = SenderInfo(recipe.sender_name, recipe.sender_address)
        run = RunInfo(recipe.definition, recipe.period)
        return [
            Letter(
                number,
                context,
                self.revision.renderer.render(context, sender, run),
                [load_document(each, recipe.documents_root) for each in context.documents],
            )
            for number, context in enumerate(self.load(connection))
        ]


def steps(bench: Bench, connection: Connection) -> dict[str, Callable[[], object]]:
    """Return what to run for each line of the table; each takes every message once."""
    letters = bench.letters(connection)
    recipe, renderer = bench.revision.recipe, bench.revision.renderer
    sender = SenderInfo(recipe.sender_name, recipe.sender_address)
    run = RunInfo(recipe.definition, recipe.period)
    heads = [
        composing._head(
            recipe,
            each.context,
            each.rendered,
            to=composing._to(recipe, each.context.addresses),
            message_id=each.message_id,
            date=DATE,
        )
        for each in letters
    ]
    written = [bench.compose(each.number, each.context) for each in letters]
    expected = [
        composing._expected(head, each.rendered, len(each.attachments))
        for head, each in zip(heads, letters, strict=True)
    ]

    def everything() -> None:
        for number, context in enumerate(bench.load(connection)):
            bench.compose(number, context)
            context_json(context)

    root = recipe.documents_root
    return {
        "load": lambda: bench.load(connection),
        "render": lambda: [renderer.render(each.context, sender, run) for each in letters],
        "documents": lambda: [load_document(d, root) for e in letters for d in e.context.documents],
        "MIME": lambda: [
            write_message(head, each.rendered.text, each.rendered.html, each.attachments)
            for head, each in zip(heads, letters, strict=True)
        ],
        "hash": lambda: [hashlib.sha256(data).hexdigest() for data in written],
        "verify": lambda: [verify_headers(*each) for each in zip(written, expected, strict=True)],
        "context": lambda: [context_json(each.context) for each in letters],
        "all of it": everything,
        "EmailMessage": lambda: [standard(bench.revision, each) for each in letters],
    }


def standard(revision: Revision, letter: Letter) -> bytes:
    """Make the same message of the same words and bytes with the standard library."""
    recipe = revision.recipe
    message = EmailMessage(policy=policy.SMTP)
    message["From"] = StandardAddress(recipe.sender_name, addr_spec=recipe.sender_address)
    message["To"] = [
        StandardAddress(each.display_name, addr_spec=each.address)
        for each in letter.context.addresses
    ]
    message["Subject"] = letter.rendered.subject
    message["Date"] = format_datetime(DATE)
    message["Message-ID"] = letter.message_id
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.rendered.text or "")
    if letter.rendered.html is not None:
        message.add_alternative(letter.rendered.html, subtype="html")
    for each in letter.attachments:
        maintype, _, subtype = each.media_type.partition("/")
        message.add_attachment(
            each.content, maintype=maintype, subtype=subtype, filename=each.filename
        )
    return message.as_bytes()


def measured(work: dict[str, Callable[[], object]], repeat: int, messages: int) -> Iterator[str]:
    """Yield the lines of one table: milliseconds of CPU a message."""
    took: dict[str, list[float]] = {name: [] for name in work}
    for lap in range(repeat + 1):
        for name, step in work.items():
            began = time.process_time()
            step()
            if lap:  # the first counts for nobody
                took[name].append((time.process_time() - began) / messages * 1000)
    whole = statistics.median(took["all of it"])
    for name, each in took.items():
        median = statistics.median(each)
        yield (
            f"  {name:<13}{median:8.4f} ms   smallest {min(each):8.4f}"
            f"   x all of it {median / whole:6.2f}"
        )
    ratio = statistics.median(
        slow / fast for slow, fast in zip(took["EmailMessage"], took["MIME"], strict=True)
    )
    yield f"  EmailMessage / MIME: {ratio:.1f}"


def bench_of(url: str, folder: Path, billing: Path, messages: int, batch: int) -> Bench:
    """Open the workspace that a run would open."""
    config = write_config(folder, billing, url, 25, 1)
    workspace = Workspace.of(load_config(config))
    frozen = workspace.freeze("monthly")
    selection = workspace.selection(workspace.config.definition("monthly"), today=date(2026, 11, 3))
    wanted = [(f"C{number}", (f"i{number}",)) for number in range(1, messages + 1)]
    return Bench(workspace, workspace.revision(frozen, selection), wanted, batch)


def main() -> int:
    """Measure, and print a table for each database and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=192)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--sizes", default="1000,30000,300000")
    parser.add_argument("--database", default="both", choices=["sqlite", "postgresql", "both"])
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    with scratch_folder(asked.folder) as folder, ExitStack() as stack:
        print(*machine(folder), sep="\n")
        server = None
        if asked.database != "sqlite":
            server = stack.enter_context(postgresql(folder))
            print(f"postgresql  {server.version}")
        for size in map(int, asked.sizes.split(",")):
            billing = folder / f"billing{size}"
            files = write_billing(billing, asked.messages, size)
            urls = {"SQLite": f"sqlite:///{billing}/billing.db"}
            if asked.database == "postgresql":
                urls.clear()
            if server is not None:
                urls["PostgreSQL"] = server.make(f"billing_{size}")
            for name, url in urls.items():
                database = Database(url)
                database.upgrade()
                import_files(database, files)
                bench = bench_of(url, billing, billing, asked.messages, asked.batch)
                print(f"\n{name}, a PDF of {size} bytes, {asked.batch} messages a batch")
                with bench.workspace.database.read(attach=True) as connection:
                    work = steps(bench, connection)
                    for line in measured(work, asked.repeat, asked.messages):
                        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
