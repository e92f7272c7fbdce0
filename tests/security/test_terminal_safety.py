"""Terminal: names, answers and errors are shown, and steer nothing.

`safe` itself is held by tests/cli/test_printers.py; here every command meets hostile data.
"""

import csv
import json
import re
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.program import CONFIG, Program
from cli.test_terminal import Terminal
from msgrun.cli.app import run
from msgrun.ui.text import safe
from security.servers import serving
from smtp.server import ScriptedServer

STEERING = (
    "\x1b]0;PWNED\x07"  # the title of the window
    "\x1b]8;;http://evil.test\x1b\\link\x1b]8;;\x1b\\"
    "\x1b]52;c;cm0gLXJm\x07"  # the clipboard
    "\x1b[2J\x1b[31;1;5mEVIL\x1b[0m\x1b[1A"
    "\x9b31mEVIL\x9d0;PWNED\x9c"
    "\x1bP$qm\x1b\\\x1bc\x1b(0\x1b#8"
    "\r\x08\x08\x7f\x00\x0e\x0f"
    "\u202eEVIL\u202d\u2066\u2067\u2068\u2069\u200e\u200f\u061c\u2028\u2029\ufeff"
    "[bold red]MARKUP[/bold red] [link=http://evil.test]x[/link] [/] :skull:"
)
IN_DATABASE = STEERING.replace("\x00", "")  # text without NUL is all that PostgreSQL takes
FORBIDDEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def assert_tame(text: str) -> None:
    found = FORBIDDEN.search(text)
    assert found is None, (found, text[max(found.start() - 80, 0) : found.end() + 80])
    assert not [c for c in text if c != "\n" and unicodedata.category(c) in {"Cc", "Cs"}]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server whose every answer is hostile, and which takes two of three messages."""
    hostile = STEERING.replace("\r", "").replace("\x00", "")
    answers = {
        "banner": f"220 {hostile}",
        "mail": f"250 2.1.0 {hostile}",
        "rcpt": [f"250 2.1.5 {hostile}", f"550 5.1.1 {hostile}", f"451 4.2.0 {hostile}"] * 30,
        "dot": f"250 2.0.0 Ok: queued as {hostile}",
        "rset": f"250 2.0.0 {hostile}",
        "quit": f"221 2.0.0 {hostile}",
    }
    with serving(ScriptedServer(answers)) as running:
        yield running


BILLING: dict[str, list[tuple[str, ...]]] = {
    "clusters": [("name", "parent"), (IN_DATABASE, "")],
    "customers": [
        ("code", "name", "cluster"),
        *((f"CU{n}", IN_DATABASE, IN_DATABASE) for n in range(1, 7)),
        (IN_DATABASE, "Odd code", IN_DATABASE),
    ],
    "addresses": [
        ("customer", "key", "address"),
        *((f"CU{n}", "invoice", f"c{n}@x.test") for n in range(1, 6)),
        ("CU5", "invoice", IN_DATABASE),
        ("CU6", IN_DATABASE, "c6@x.test"),
        (IN_DATABASE, "invoice", "odd@x.test"),
    ],
    "invoices": [
        ("id", "customer", "number", "status", "date"),
        *((f"i{n}", f"CU{n}", f"INV-{n}", "Approved", "2026-10-03") for n in range(1, 7)),
        (IN_DATABASE, IN_DATABASE, f"x{IN_DATABASE}", "Approved", "2026-10-03"),
        ("i8", "CU1", "INV-8", IN_DATABASE, "2026-10-03"),
        ("i9", f"x{IN_DATABASE}", "INV-9", "Approved", "2026-10-03"),
    ],
}


@pytest.fixture
def msgrun(program: Program, server: ScriptedServer) -> Program:
    """The program over data in which every text is hostile."""
    config = CONFIG.format(port=server.port).replace('cluster = "All"\n', "")
    program.write("msgrun.toml", config)
    program.write("invoice.txt", "Dear {{ customer.code }}\n")
    for name, rows in BILLING.items():
        with (program.folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
    done = program("import", *(f"{name}.csv" for name in BILLING))
    assert done.code == 0, done.err
    return program


TEXT = (
    ("plan",),
    ("start", "--yes"),
    ("start", "--yes", "--resend"),
    ("show",),
    ("runs",),
    ("results",),
    ("restart", "--dry-run"),
    ("restart", "--failed", "--yes"),
    ("watch",),
    ("doctor",),
    ("doctor", "-v"),
    ("doctor", "CU1", "-v"),
    ("doctor", "CU5", "-v"),
    ("doctor", "CU6", "-v"),
    ("doctor", IN_DATABASE, "-v"),
    ("doctor", "odd", "-v"),
    ("cancel", "--yes"),
    ("stop",),
    # Errors that repeat what was typed.
    ("start", IN_DATABASE, "--yes"),
    ("plan", "--cluster", "x" + IN_DATABASE),
    ("plan", "--customer", "x" + IN_DATABASE),
    ("plan", "--period", IN_DATABASE),
    ("start", "--yes", "--redirect-to", IN_DATABASE),
    ("show", IN_DATABASE),
    ("explain", IN_DATABASE),
    (IN_DATABASE,),
    ("plan", f"--{IN_DATABASE}"),
    ("import", f"{IN_DATABASE}.csv"),
    ("results", "--csv", f"no/{IN_DATABASE}.csv"),
    ("--config", f"{IN_DATABASE}.toml", "runs"),
)


def test_no_command_lets_data_or_answers_steer_the_terminal(
    msgrun: Program, server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = ""
    for debug in ((), ("--debug",)):
        for arguments in TEXT:
            capsys.readouterr()
            run([*debug, *arguments])
            out, err = capsys.readouterr()
            assert_tame(out + err)
            shown += out + err

    assert len(server.messages) > 1
    assert "[bold red]MARKUP[/bold red]" in shown  # literally, not as markup
    assert "EVIL" in shown
    assert "Traceback" in shown


JSON = (
    ("plan", "--json"),
    ("start", "--yes", "--json"),
    ("show", "--json"),
    ("runs", "--json"),
    ("results", "--json"),
    ("doctor", "--json"),
    ("doctor", "CU5", "--json"),
    ("doctor", IN_DATABASE, "--json"),
    ("restart", "--failed", "--yes", "--json"),
    ("start", IN_DATABASE, "--yes", "--json"),
    ("plan", "--cluster", IN_DATABASE + "x", "--json"),
    ("explain", IN_DATABASE, "--json"),
)


def test_json_stays_valid_and_escaped(msgrun: Program) -> None:
    texts = []
    for arguments in JSON:
        done = msgrun(*arguments)
        assert done.out.isascii()
        assert_tame(done.out + done.err)
        texts += [json.loads(line) for line in done.out.splitlines()]

    assert len(texts) >= len(JSON)
    assert IN_DATABASE in {each["customer"] for each in texts if "customer" in each}  # unharmed


def test_the_live_view_and_the_question_are_not_steered(
    msgrun: Program, server: ScriptedServer
) -> None:
    terminal = Terminal(msgrun, "start", "--no-wait")
    terminal.read_until("[y/N]")
    terminal.type("y\n")
    terminal.end()

    assert len(server.messages) > 1
    assert "EVIL" in terminal.screen
    # What is left when rich's own cursor and colour sequences are taken away.
    ours = re.sub(r"\x1b\[(?:\?25[hl]|[0-9;]*[mKAG])", "", terminal.screen)
    assert_tame(re.sub(r"[\r\n]+", "\n", ours))
    for evil in ("\x1b]", "\x07", "\x1b[2J", "\x1b[31;1;5m", "\x1bP", "\x1bc", "\x1b(0"):
        assert evil not in terminal.screen


def test_the_choice_of_a_definition_is_not_steered(msgrun: Program) -> None:
    name = json.dumps(IN_DATABASE)
    msgrun.edit("[definitions.old]\nenabled = false", f"[definitions.{name}]")
    terminal = Terminal(msgrun, "plan")
    terminal.read_until("Which definition")
    terminal.read_until("? ")
    terminal.type("monthly\n")
    terminal.end()

    assert "EVIL" in terminal.screen
    for evil in ("\x1b]", "\x07", "\x1b[2J", "\x1b[31;1;5m", "\x1bP", "\x1bc", "\u202e", "\u2066"):
        assert evil not in terminal.screen


@given(
    st.text(
        st.sampled_from(list("\x1b[]\\0;m?P^_X\x07\x9b\x9d\x9c\x90\x18\x1aaH 8\u202e\u2069\r\n"))
    )
)
def test_no_mixture_of_sequences_comes_through(text: str) -> None:
    shown = safe(text)

    assert FORBIDDEN.search(shown) is None
    assert "\n" not in shown
    assert safe(shown) == shown
