"""The doctor as a command: its exit codes, formats and looks."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from xml.etree import ElementTree as ET

import pytest

from cli.golden_text import same_as_golden
from cli.program import Program
from msgrun import __version__
from msgrun.catalogue import CATALOGUE
from msgrun.demo.sink import Sink
from msgrun.states import MessageState, RunStatus
from silent_server import silent

FORMATS: dict[str, Sequence[str]] = {
    "text": (),
    "verbose": ("-v",),
    "json": ("--json",),
    "junit": ("--junit", "doctor.xml"),
    "ticket": ("--ticket",),
    "masked": ("--mask", "--json"),
}
WORLDS: dict[str, tuple[Sequence[str], int]] = {
    "sent": (("CU1",), 0),
    "near-miss key": (("CU3",), 4),
    "warning": (("--fail-on", "warn"), 4),
    "ready": ((), 0),
    "unknown": (("--timeout", "1"), 5),
    "no such customer": (("nobody",), 10),
    "several": (("CU",), 10),
    "no such definition": (("CU1", "--definition", "nosuch"), 10),
    "suppressed": (("CU4",), 0),
}


@pytest.mark.parametrize("world", WORLDS)
def test_the_exit_code_is_the_same_in_every_format(msgrun: Program, world: str) -> None:
    asked, code = WORLDS[world]
    if world in {"sent", "suppressed"}:
        msgrun("start", "--yes")
        rule = '[[doctor.suppress]]\ncode = "MR123"\ncustomer = "CU4"\nreason = "in court"\n'
        msgrun.edit("[senders.billing]", f"{rule}\n[senders.billing]")
    with silent() as port:
        if world == "unknown":
            msgrun.edit(_port_line(msgrun), f"port = {port}\ntimeout = 30")
        ended = {name: msgrun("doctor", *asked, *FORMATS[name]).code for name in FORMATS}

    assert ended == dict.fromkeys(FORMATS, code)


@pytest.mark.parametrize("format_", ["text", "json", "ticket"])
def test_the_exit_code_is_the_same_when_the_reader_of_a_pipe_is_gone(
    msgrun: Program, format_: str
) -> None:
    read, write = os.pipe()
    os.close(read)
    with msgrun.open("doctor", "CU3", "--offline", *FORMATS[format_], stdout=write) as process:
        os.close(write)
        _, err = process.communicate(timeout=60)

    assert (process.returncode, err) == (4, "")


def _port_line(msgrun: Program) -> str:
    config = (msgrun.folder / "msgrun.toml").read_text()
    return next(line for line in config.splitlines() if line.startswith("port"))


def test_the_command_ends_within_a_second_of_its_time(msgrun: Program) -> None:
    """In a process of its own, its end included."""
    with silent() as port:
        msgrun.edit(_port_line(msgrun), f"port = {port}\ntimeout = 30")
        before = time.monotonic()
        base = msgrun.outside("doctor", "CU1", "--offline")
        start_up = time.monotonic() - before
        before = time.monotonic()

        done = msgrun.outside("doctor", "CU1", "--timeout", "1")

        spent = time.monotonic() - before
    assert base.code == 4  # not started yet
    assert "MR091" in done.out
    assert done.code == 4
    assert spent < start_up + 2


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "soon", "3601"])
def test_a_time_that_is_none_is_a_usage_error(msgrun: Program, seconds: str) -> None:
    assert msgrun("doctor", "--timeout", seconds).code == 2


def test_two_formats_for_one_stdout_are_a_usage_error(msgrun: Program) -> None:
    done = msgrun("doctor", "--json", "--ticket")

    assert (done.code, done.json["error"]["code"]) == (2, "usage")


def test_a_junit_file_that_cannot_be_written_is_a_usage_error(msgrun: Program) -> None:
    done = msgrun("doctor", "CU3", "--junit", "gone/doctor.xml")

    assert done.code == 2
    assert "gone/doctor.xml cannot be written: No such file or directory" in done.err
    assert done.out == ""


def test_junit_is_written_beside_what_is_printed(msgrun: Program) -> None:
    plain = msgrun("doctor", "CU3", "--offline")
    done = msgrun("doctor", "CU3", "--offline", "--junit", "doctor.xml")

    root = ET.parse(msgrun.folder / "doctor.xml").getroot()
    assert done.out == plain.out
    assert root.get("failures") == "1"
    assert "MR106" in next(root.iter("failure")).get("type", "")


def test_masked_output_shows_no_address_anywhere(msgrun: Program) -> None:
    msgrun("start", "--yes")
    for customer in ("CU1", "CU2", "CU3", "CU4", "CU5"):
        for options in FORMATS.values():
            said = msgrun("doctor", customer, "--mask", *options)
            text = said.out + said.err + _junit_text(msgrun)
            assert not re.search(r"\b(?:one|bad|good|three|four|unknown|billing)@", text)
    assert "u***@cu5.test" in said.out


def _junit_text(msgrun: Program) -> str:
    file = msgrun.folder / "doctor.xml"
    return file.read_text() if file.exists() else ""


# What it looks like.


def _steady(text: str) -> str:
    text = re.sub(r"\b[0-9]+ ms", "<n> ms", text)
    text = re.sub(r"\b[0-9A-F]{10}\b", "<id>", text)
    text = re.sub(r"[0-9-]{10}T[0-9:]{8}(?:\+[0-9:]{5}|Z)(?= local)", "<time>", text)
    text = re.sub(r"(?<=started by )\S+", "<user>", text)
    return text.replace(__version__, "<version>")


@pytest.mark.parametrize("customer", ["CU1", "CU2", "CU3", "CU4", "CU5"])
def test_text_after_a_run(msgrun: Program, customer: str) -> None:
    msgrun("start", "--yes")

    same_as_golden(f"doctor_{customer}", _steady(msgrun("doctor", customer).out))


def test_text_of_several_cases(msgrun: Program, many: Callable[[int], Sequence[str]]) -> None:
    many(2)
    msgrun("start", "--yes", "--limit", "1")

    same_as_golden("doctor_cases", _steady(msgrun("doctor", "CU1", "-v", "--offline").out))


def test_text_of_several_customers(msgrun: Program) -> None:
    same_as_golden("doctor_which", msgrun("doctor", "cu").out)


def test_text_of_what_was_and_what_is(msgrun: Program) -> None:
    msgrun("start", "--yes")
    msgrun.edit('recipient_key = "invoice"\nstatuses', 'recipient_key = "invoices"\nstatuses')
    msgrun.write("invoice.txt", "Dear customer {{ customer.name }}\n")
    file = msgrun.write("addresses-new.csv", "customer,key,address\nCU1,invoices,new@cu1.test\n")
    msgrun("import", file)

    same_as_golden("doctor_drift", _steady(msgrun("doctor", "CU1", "--offline").out))


def test_text_of_suppressed_and_expired(msgrun: Program) -> None:
    rules = (
        '[[doctor.suppress]]\ncode = "MR106"\ncustomer = "CU*"\nreason = "the key is renamed soon"'
        "\nuntil = 2199-12-31\n\n"
        '[[doctor.suppress]]\ncode = "MR123"\nreason = "was in court"\nuntil = 2020-01-31\n'
    )
    msgrun.edit("[senders.billing]", f"{rules}\n[senders.billing]")

    shown = [
        msgrun("doctor", customer, "--offline", *options).out
        for customer, options in (("CU3", ()), ("CU3", ("-v",)), ("CU4", ()))
    ]
    same_as_golden("doctor_suppressed", "\n".join(shown))


def test_ticket_after_a_run(msgrun: Program) -> None:
    msgrun("start", "--yes")

    same_as_golden("doctor_ticket", _steady(msgrun("doctor", "CU5", "--ticket", "--mask").out))


def test_help_has_examples(bare: Program) -> None:
    out = msgrun_help = bare("doctor", "--help").out

    assert "Examples:\n\n  msgrun doctor CU4242  " in re.sub(r"(?m)^ +", "  ", msgrun_help)
    for option in ("--timeout", "--fail-on", "--junit", "--ticket", "--mask", "--offline"):
        assert option in out


def test_explain_without_a_code_lists_every_code_and_state(bare: Program) -> None:
    done = bare("explain")

    assert all(f"  {code}  " in done.out for code in CATALOGUE)
    assert all(state in done.out for state in (*MessageState, *RunStatus))
    assert max(map(len, done.out.splitlines())) < 80
    told = bare("explain", "--json").json
    assert [each["code"] for each in told["findings"]] == list(CATALOGUE)
    assert told["run_statuses"] == list(RunStatus)


@pytest.mark.parametrize("word", [*CATALOGUE, *MessageState, *RunStatus])
def test_explain_fits_eighty_columns(bare: Program, word: str) -> None:
    assert max(map(len, bare("explain", word).out.splitlines())) < 80


def terminal(msgrun: Program, columns: int, *arguments: str) -> list[str]:
    """Return the lines that a terminal of so many columns gets."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MSGRUN_")}
    environment.pop("COLUMNS", None)
    command = [os.sys.executable, "-m", "msgrun", *arguments]  # type: ignore[attr-defined]
    with subprocess.Popen(
        command, cwd=msgrun.folder, stdin=theirs, stdout=theirs, stderr=theirs,
        env=environment | {"TERM": "xterm", "NO_COLOR": "1"},
    ) as process:  # fmt: skip
        os.close(theirs)
        said = b""
        while part := _read(ours):
            said += part
        process.wait(timeout=30)
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;]*m", "", said.decode())
    return text.replace("\r\n", "\n").splitlines()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other end is closed
        return b""


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_terminal_gets_whole_words_set_in_below_the_first_line(
    msgrun: Program, columns: int
) -> None:
    piped = msgrun("doctor", "CU3", "--offline").out

    lines = terminal(msgrun, columns, "doctor", "CU3", "--offline")

    assert max(map(len, lines)) <= columns
    assert " ".join(" ".join(lines).split()) == " ".join(piped.split())  # no word is broken
    (place,) = [i for i, line in enumerate(lines) if "MR106" in line and "✗" in line]
    further = lines[place + 1 : lines.index(next(x for x in lines if "remedy" in x))]
    assert all(line.startswith(" " * 17) and line[17] != " " for line in further)


def test_a_pipe_gets_lines_as_long_as_they_are(msgrun: Program) -> None:
    long = "x" * 150 + " " + "y" * 150
    file = msgrun.write("customers-new.csv", f"code,name,cluster\nCU3,{long},Europe\n")
    msgrun("import", file)

    assert f"CU3 {long} · monthly" in msgrun("doctor", "CU3", "--offline").out.splitlines()[0]


def test_the_sink_was_told_nothing(msgrun: Program, sink: Sink) -> None:
    for options in FORMATS.values():
        msgrun("doctor", "CU1", *options)

    assert sink.received == []
