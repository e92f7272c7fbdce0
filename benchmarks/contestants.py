"""The programs that msgrun is compared with: how each is installed, given its work, and timed."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Any, Protocol

from billing import HTML, SENDER, SUBJECT, TEXT, flat, flat_template, letter
from counting_sink import Sink
from surroundings import SMTP_SOURCE

PROGRAMS = Path(__file__).with_name("peers")
SECONDS = 900  # after which a program that has not ended is given up
NPM_PACKAGES = ["nodemailer@10.6.1"]
PIP_PACKAGES = {"mailmerge": "mailmerge==2.3.0", "post_office": "django-post_office==3.12.0"}
SESSIONS = 20


@dataclass(frozen=True)
class Task:
    """What is to be sent, and where to.

    Attributes:
        folder: for files of this task alone; it is there.
        billing: what `write_billing` wrote.
        messages: the first so many of its messages.
        documents: whether each has its document.
    """

    folder: Path
    billing: Path
    sink: Sink
    connections: int
    messages: int
    documents: bool

    @property
    def letters(self) -> list[dict[str, str]]:
        """The messages, rendered."""
        return [asdict(letter(self.billing, number + 1)) for number in range(self.messages)]


@dataclass(frozen=True)
class Sent:
    """What a program says of its sending."""

    messages: int
    seconds: float


class Peer(Protocol):
    """One program.

    Attributes:
        share: how many messages it is given for each of msgrun's, so that it takes seconds.
        tls: whether it can do STARTTLS.
    """

    name: str
    share: float
    tls: bool

    def missing(self) -> str | None:
        """Say what is missing; None when it can run."""

    def version(self) -> str:
        """Say which one it is."""

    def prepare(self, task: Task) -> None:
        """Write the files of its work; nobody's time."""

    def send(self, task: Task) -> Sent:
        """Send everything."""


class SmtpSource:
    """Debian postfix's `smtp-source -d`: C, the same bytes again and again, nothing on record.

    It is timed with its start, which takes milliseconds.
    """

    name = "smtp-source"
    share = 4.0
    tls = False

    def missing(self) -> str | None:
        """Say what is missing."""
        return None if Path(SMTP_SOURCE).exists() else f"{SMTP_SOURCE}: install the package postfix"

    def version(self) -> str:
        """Say which one it is."""
        return f"of postfix, with {SESSIONS} sessions"

    def prepare(self, task: Task) -> None:
        """Write one message as msgrun composes it; smtp-source ends its lines with CRLF."""
        one = letter(task.billing, 1)
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = SENDER, one.to, one.subject
        message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain="acme.test")
        message.set_content(one.text)
        message.add_alternative(one.html, subtype="html")
        if task.documents:
            message.add_attachment(
                Path(one.path).read_bytes(), "application", "pdf", filename=one.filename
            )
        (task.folder / "canned.txt").write_bytes(message.as_bytes())

    def send(self, task: Task) -> Sent:
        """Send it over and over, over connections that stay."""
        command = [SMTP_SOURCE, "-d", "-s", str(SESSIONS), "-m", str(task.messages)]
        command += ["-f", "billing@acme.test", "-t", "c1@customer.test"]
        command += ["-F", str(task.folder / "canned.txt"), f"127.0.0.1:{task.sink.port}"]
        began = time.perf_counter()
        _run(command)
        return Sent(task.messages, time.perf_counter() - began)


@dataclass
class Nodemailer:
    """nodemailer's pool, in one process of Node.js."""

    folder: Path
    name = "nodemailer"
    share = 1.0
    tls = True

    def missing(self) -> str | None:
        """Say what is missing."""
        if shutil.which("node") is None:
            return "node"
        return None if (self.folder / "node_modules/nodemailer").exists() else "give --install"

    def version(self) -> str:
        """Say which one it is."""
        package = self.folder / "node_modules/nodemailer/package.json"
        node = _run(["node", "--version"]).decode().strip()
        return f"{json.loads(package.read_bytes())['version']}, Node.js {node}"

    def prepare(self, task: Task) -> None:
        """Write the letters, rendered."""
        _order(task, folder=str(self.folder.resolve()))

    def send(self, task: Task) -> Sent:
        """Send them through the pool."""
        return _told(["node", str(PROGRAMS / "nodemailer.mjs"), str(task.folder / "order.json")])


@dataclass
class Mailmerge:
    """mailmerge: a new connection for each message, one after the other; it knows no other way."""

    folder: Path
    name = "mailmerge"
    share = 0.25
    tls = True

    def missing(self) -> str | None:
        """Say what is missing."""
        return _not_in_python(self.folder, "mailmerge")

    def version(self) -> str:
        """Say which one it is."""
        return _version_in_python(self.folder, "mailmerge")

    def prepare(self, task: Task) -> None:
        """Write its template, database and configuration."""
        security = "security = STARTTLS\nusername = bench\n" if task.sink.ca_file else ""
        server = f"[smtp_server]\nhost = 127.0.0.1\nport = {task.sink.port}\n{security}"
        (task.folder / "mailmerge_server.conf").write_text(server, "utf-8")
        attachment = "ATTACHMENT: {{ path }}\n" if task.documents else ""
        head = f"TO: {{{{ to }}}}\nSUBJECT: {SUBJECT}\nFROM: {SENDER}\n{attachment}"
        parts = "".join(
            f"--boundary\nContent-Type: text/{kind}; charset=us-ascii\n\n{body}\n"
            for kind, body in (("plain", TEXT), ("html", HTML))
        )
        whole = (
            f"{head}MIME-Version: 1.0\n"
            f'Content-Type: multipart/alternative; boundary="boundary"\n\n{parts}--boundary--\n'
        )
        (task.folder / "mailmerge_template.txt").write_text(flat_template(whole), "utf-8")
        rows = [flat(task.billing, number + 1) for number in range(task.messages)]
        lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
        (task.folder / "mailmerge_database.csv").write_text("\n".join(lines) + "\n", "utf-8")

    def send(self, task: Task) -> Sent:
        """Send the batch."""
        return _told([_python(self.folder), str(PROGRAMS / "mailmerge_batch.py"), str(task.folder)])


@dataclass
class PostOffice:
    """django-post_office: its own batch delivery from a queue in SQLite."""

    folder: Path
    name = "post_office"
    share = 0.25
    tls = True

    def missing(self) -> str | None:
        """Say what is missing."""
        return _not_in_python(self.folder, "post_office")

    def version(self) -> str:
        """Say which one it is."""
        return _version_in_python(self.folder, "django_post_office")

    def prepare(self, task: Task) -> None:
        """Fill the queue; a process for each core, and as many threads in all as connections."""
        processes = os.cpu_count() or 1
        _order(
            task,
            database=str(task.folder / "queue.db"),
            media=str(task.folder / "media"),
            threads=max(1, task.connections // processes),
            processes=processes,
            tls=task.sink.ca_file is not None,
        )
        _run(self._command(task, "queue"))
        shutil.copyfile(task.folder / "queue.db", task.folder / "full.db")

    def send(self, task: Task) -> Sent:
        """Send what is queued; the queue is full each time."""
        for left in task.folder.glob("queue.db*"):
            left.unlink()
        shutil.copyfile(task.folder / "full.db", task.folder / "queue.db")
        return _told(self._command(task, "send"), trusted=task.sink.ca_file)

    def _command(self, task: Task, what: str) -> list[str]:
        program = str(PROGRAMS / "post_office_queue.py")
        return [_python(self.folder), program, str(task.folder / "order.json"), what]


def peers(folder: Path) -> list[Peer]:
    """Return all of them.

    Args:
        folder: where `install` put them.
    """
    return [SmtpSource(), Nodemailer(folder), Mailmerge(folder), PostOffice(folder)]


def install(folder: Path, names: Iterable[str]) -> None:
    """Fetch the peers of these names into a folder of their own.

    Raises:
        SystemExit: npm or pip says no; it has said why.
    """
    wanted = set(names)
    folder.mkdir(parents=True, exist_ok=True)
    if "nodemailer" in wanted:
        _run(["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", *NPM_PACKAGES])
    if packages := [one for name, one in PIP_PACKAGES.items() if name in wanted]:
        _run([sys.executable, "-m", "venv", str(folder / "python")])
        _run([_python(folder), "-m", "pip", "install", "--quiet", *packages])


def _python(folder: Path) -> str:
    return str(folder / "python/bin/python")


def _not_in_python(folder: Path, package: str) -> str | None:
    there = any(folder.glob(f"python/lib/python*/site-packages/{package}"))
    return None if there else "give --install"


def _version_in_python(folder: Path, package: str) -> str:
    (found,) = folder.glob(f"python/lib/python*/site-packages/{package}-*.dist-info")
    return found.name.removesuffix(".dist-info").rpartition("-")[2]


def _order(task: Task, **more: Any) -> None:
    order = {
        "port": task.sink.port,
        "connections": task.connections,
        "from": SENDER,
        "ca": str(task.sink.ca_file) if task.sink.ca_file else None,
        "documents": task.documents,
        "letters": task.letters,
        **more,
    }
    (task.folder / "order.json").write_text(json.dumps(order), "utf-8")


def _told(command: list[str], trusted: Path | None = None) -> Sent:
    told = json.loads(_run(command, trusted))
    return Sent(told["sent"], told["seconds"])


def _run(command: list[str], trusted: Path | None = None) -> bytes:
    env = None if trusted is None else {**os.environ, "SSL_CERT_FILE": str(trusted)}
    done = subprocess.run(  # noqa: S603 - a peer, as asked for
        command, stdout=subprocess.PIPE, check=False, timeout=SECONDS, env=env
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}")
    return done.stdout
