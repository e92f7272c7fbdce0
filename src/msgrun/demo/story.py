"""The whole story in under a minute: real commands in a scratch workspace, a local sink."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgrun.demo.data import PERIOD, Sample, write_sample
from msgrun.demo.faults import RECIPIENT_KEY
from msgrun.demo.sink import Sink, running_sink

Say = Callable[[str], None]
"""Shows one line of the narration."""

_SECONDS_PER_MESSAGE: Final = 0.04
_STOP_AFTER: Final = 40
_LONGEST_SECONDS: Final = 60

_CONFIG: Final = """\
# Written by `msgrun demo`. Mail goes to a sink on this machine only.
[database]
url = "sqlite:///billing.db"

[source]                     # no SELECTs: msgrun's own tables, filled by `msgrun import`
documents_root = "documents"

[servers.default]
host = "127.0.0.1"
port = {port}
security = "none"            # the sink has no TLS; a real server: "starttls" or "tls"
rate_per_minute = 3000
connections = 2

[senders.billing]
address = "billing@acme.test"
name = "Acme Billing"
reply_to = "support@acme.test"

[definitions.monthly]
from_key = "billing"
recipient_key = "{key}"
statuses = ["Approved"]
subject = "Invoice {{{{ invoice.number }}}}"
text = "templates/monthly.txt"
documents = ["pdf"]
cluster = "All Customers"
period = "{period}"
"""

_TEXT: Final = """\
Dear {{ customer.name }},

please find attached invoice {{ invoice.number }} of {{ invoice.currency }} {{ invoice.total }}.

Kind regards
{{ sender.name }}
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """The scratch workspace with its sink, and how commands run in it."""

    directory: Path
    sample: Sample
    sink: Sink
    say: Say

    def run(self, *arguments: str) -> int:
        """Show a command, run it as a user would, and return its exit code."""
        self.say(f"\n$ msgrun {' '.join(arguments)}")
        return self.spawn(*arguments).wait(_LONGEST_SECONDS)

    def spawn(self, *arguments: str, output: int | None = None) -> "subprocess.Popen[bytes]":
        """Start a command in the workspace; its output is ours, unless it goes to `output`."""
        sys.stdout.flush()
        return subprocess.Popen(  # noqa: S603 - our own program, our own arguments
            [sys.executable, "-m", "msgrun", *arguments],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            env={**os.environ, "MSGRUN_CONFIG": str(self.directory / "msgrun.toml")},
        )


def tell(say: Say, directory: Path | None = None) -> Path:
    """Play the demo; return the workspace, which is kept.

    Args:
        say: shows the narration; the commands print for themselves.
        directory: an empty or missing folder; None for a scratch one.

    Raises:
        OSError: the workspace cannot be written.
    """
    directory = directory or Path(tempfile.mkdtemp(prefix="msgrun-demo-"))
    directory.mkdir(parents=True, exist_ok=True)
    sample = write_sample(directory)
    with running_sink(
        directory / "mailbox", refuse=sample.refused, delay=_SECONDS_PER_MESSAGE
    ) as sink:
        _write_workspace(directory, sink.port)
        say(f"Workspace: {directory}")
        say(
            f"{sample.customers} customers, {sample.invoices} invoices with PDFs, a local mail sink"
        )
        say(f"on 127.0.0.1:{sink.port}, and {len(sample.planted)} faults planted in the data.")
        stage = Stage(directory, sample, sink, say)
        _look_before(stage)
        _send(stage)
        _ask_why(stage)
        accepted = len(list((directory / "mailbox").glob("*.eml")))
    say(f"\nThe sink holds {accepted} messages: {directory / 'mailbox'}")
    say(f"Look around:  cd {directory} && msgrun results")
    return directory


def _write_workspace(directory: Path, port: int) -> None:
    config = _CONFIG.format(port=port, key=RECIPIENT_KEY, period=PERIOD)
    (directory / "msgrun.toml").write_text(config, "utf-8")
    (directory / "templates").mkdir(exist_ok=True)
    (directory / "templates" / "monthly.txt").write_text(_TEXT, "utf-8")


def _look_before(stage: Stage) -> None:
    stage.say("\n── 1. Load the billing data, and check that everything is in place")
    stage.run("import", *(file.name for file in stage.sample.files))
    stage.run("doctor")
    stage.say("\n── 2. Look before: who gets what, who does not, and why")
    stage.run("plan", "monthly")


def _send(stage: Stage) -> None:
    stage.say("\n── 3. Send, and stop half way from another terminal")
    arguments: Sequence[str] = ("start", "monthly", "--yes")
    stage.say(f"\n$ msgrun {' '.join(arguments)}")
    started = stage.spawn(*arguments)
    until = time.monotonic() + _LONGEST_SECONDS
    while len(stage.sink.received) < _STOP_AFTER and started.poll() is None:
        if time.monotonic() > until:
            break
        time.sleep(0.02)
    stopping = stage.spawn("stop", output=subprocess.PIPE)
    started.wait(_LONGEST_SECONDS)
    told, _ = stopping.communicate(timeout=_LONGEST_SECONDS)
    stage.say("\nMeanwhile, in another terminal:\n\n$ msgrun stop")
    stage.say(told.decode(errors="replace").splitlines()[0] if told else "")
    stage.say("\n── 4. Nothing more leaves until somebody restarts it: then exactly the rest")
    stage.run("restart", "--yes")
    stage.say("\n── 5. What became of it")
    stage.run("show")
    stage.run("results", "--state", "rejected", "--state", "failed")


def _ask_why(stage: Stage) -> None:
    stage.say("\n── 6. Why did my customer not receive a message?")
    for fault, planted in stage.sample.planted.items():
        stage.say(f"\n   planted: {fault} (expected: {planted.code})")
        stage.run("doctor", planted.customer, "--offline")
