"""A small workspace with every usual fate of a message, and the program run inside it."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from msgrun.cli.app import run

CONFIG = """\
[database]
url = "sqlite:///msgrun.db"

[servers.default]
host = "127.0.0.1"
port = {port}
security = "none"
connections = 1
ehlo = "localhost"

[senders.billing]
address = "billing@acme.test"
name = "Acme Billing"

[definitions.monthly]
from_key = "billing"
recipient_key = "invoice"
statuses = ["Approved"]
subject = "Invoice {{{{ invoice.number }}}}"
text = "invoice.txt"
cluster = "All"
period = "2026-10"

[definitions.old]
enabled = false
from_key = "billing"
recipient_key = "invoice"
subject = "x"
text = "invoice.txt"
"""

DATA = {
    "clusters": "name,parent\nAll,\nEurope,All\nAmericas,All\n",
    "customers": (
        "code,name,cluster\n"
        "CU1,Müller [/red] GmbH,Europe\n"
        "CU2,Two Addresses,Europe\n"
        "CU3,No Such Key,Europe\n"
        "CU4,Still Open,Americas\n"
        "CU5,Refused,Americas\n"
    ),
    "addresses": (
        "customer,key,address\n"
        "CU1,invoice,one@cu1.test\n"
        "CU2,invoice,bad@cu2.test\n"
        "CU2,invoice,good@cu2.test\n"
        "CU3,invoices,three@cu3.test\n"
        "CU4,invoice,four@cu4.test\n"
        "CU5,invoice,unknown@cu5.test\n"
    ),
    "invoices": (
        "id,customer,number,status,date,currency,total\n"
        "i1,CU1,INV-1,Approved,2026-10-03,EUR,1250.50\n"
        "i2,CU2,,Approved,2026-10-04,EUR,10\n"
        "i3,CU3,INV-3,Approved,2026-10-05,EUR,10\n"
        "i4,CU4,INV-4,Open,2026-10-06,USD,10\n"
        "i5,CU5,INV-5,Approved,2026-10-07,USD,99.95\n"
    ),
}

REFUSED = {
    "bad@cu2.test": "550 5.1.1 no such user",
    "unknown@cu5.test": "550 5.1.1 User unknown",
}


@dataclass(frozen=True)
class Done:
    """How one command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def json_lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


class Program:
    """`msgrun` in a folder: in this process, or in one of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Done:
        self._capsys.readouterr()
        code = run(arguments)
        out, err = self._capsys.readouterr()
        assert "Traceback" not in out + err
        return Done(code, out, err)

    def open(self, *arguments: str, failpoint: str = "", **further: Any) -> subprocess.Popen[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MSGRUN_")}
        if failpoint:
            environment["MSGRUN_FAILPOINT"] = failpoint
        streams: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }
        return subprocess.Popen(
            [sys.executable, "-m", "msgrun", *arguments],
            cwd=self.folder,
            env=environment | {"TERM": "xterm", "COLUMNS": "120"},
            text=True,
            **(streams | further),
        )

    def outside(self, *arguments: str) -> Done:
        with self.open(*arguments) as process:
            out, err = process.communicate(timeout=60)
        assert "Traceback" not in out + err
        return Done(process.returncode, out, err)

    def runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self("runs", "--json").json["runs"]
        return found

    def edit(self, old: str, new: str) -> None:
        file = self.folder / "msgrun.toml"
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new), encoding="utf-8")

    def write(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text, encoding="utf-8")
        return name


def make_folder(folder: Path, port: int, template: Path) -> None:
    """Write a workspace whose ledger is there and empty."""
    (folder / "msgrun.toml").write_text(CONFIG.format(port=port), encoding="utf-8")
    (folder / "invoice.txt").write_text("Dear {{ customer.name }}\n", encoding="utf-8")
    for relation, text in DATA.items():
        (folder / f"{relation}.csv").write_text(text, encoding="utf-8")
    shutil.copyfile(template, folder / "msgrun.db")
