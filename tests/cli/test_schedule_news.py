"""News of scheduled runs: exactly what a mail server and a URL get, once for each kind."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cli.golden_text import same_as_golden
from cli.program import Program
from msgrun import database
from msgrun.demo.sink import Sink
from msgrun.errors import ExitCode

SCHEDULE = """
[notify]
url = "http://127.0.0.1:{port}/hook?key=hunter2"
mail = ["ops@acme.test", "finance@acme.test"]
sender = "billing"
timeout = 5

[schedules.first]
definition = "monthly"
cron = "0 7 1 * *"
timezone = "Europe/Amsterdam"
"""


class Hook(ThreadingHTTPServer):
    """A URL that takes what is posted to it."""

    def __init__(self) -> None:
        self.answer, self.posts = 204, list[tuple[str, dict[str, str], bytes]]()
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append((self.path, dict(self.headers.items()), body))
        self.send_response(self.server.answer)
        if self.server.answer == 302:
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/other")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


@pytest.fixture
def scheduled(msgrun: Program, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> Program:
    """The program on the slot of a schedule that is known since October."""
    msgrun.edit("[senders.billing]", SCHEDULE.format(port=hook.server_port) + "[senders.billing]")
    set_clock(monkeypatch, datetime(2026, 10, 20, tzinfo=UTC))
    assert msgrun("schedule", "run-due").code == ExitCode.DONE
    set_clock(monkeypatch, datetime(2026, 11, 1, 6, tzinfo=UTC))
    return msgrun


def set_clock(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
    monkeypatch.setattr(database, "steady_clock", lambda: lambda: moment)


def mails(sink: Sink) -> list[bytes]:
    return [each.path.read_bytes() for each in sink.received if "ops@acme.test" in each.recipients]


def test_what_is_mailed_and_posted_of_a_run_that_left_something_unsent(
    scheduled: Program, hook: Hook, sink: Sink
) -> None:
    assert scheduled("schedule", "run-due").code == ExitCode.INCOMPLETE

    (mail,) = mails(sink)
    parsed = message_from_bytes(mail, policy=default)
    headers = "".join(
        f"{name}: {value}\n" for name, value in parsed.items() if name not in ("Date", "Message-ID")
    )
    same_as_golden("schedule_news_mail", f"{headers}\n{parsed.get_content()}".replace("\r\n", "\n"))
    ((path, sent, body),) = hook.posts
    assert path == "/hook?key=hunter2"
    assert sent["Content-Type"] == "application/json"
    assert sent["User-Agent"].startswith("msgrun/")
    document = json.loads(body)
    same_as_golden("schedule_news_post", json.dumps(document, indent=1) + "\n")
    shown = scheduled("show", "--json").json
    assert {key: document[key] for key in shown} == shown


def test_what_is_told_of_a_missed_slot(
    scheduled: Program, hook: Hook, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_clock(monkeypatch, datetime(2026, 11, 3, 6, tzinfo=UTC))
    assert scheduled("schedule", "run-due").code == ExitCode.INCOMPLETE

    document = json.loads(hook.posts[0][2])
    assert (document["news"], document["run"], document["slot"]) == (
        "missed", None, "2026-11-01T06:00:00Z",
    )  # fmt: skip
    same_as_golden("schedule_news_missed", document["text"])
    assert len(mails(sink)) == 1


def test_no_kind_of_news_is_told_twice(scheduled: Program, hook: Hook, sink: Sink) -> None:
    for _ in range(3):
        scheduled("schedule", "run-due")

    assert (len(hook.posts), len(mails(sink))) == (1, 1)


def test_a_clean_finish_is_told_only_where_that_is_wanted(
    scheduled: Program, hook: Hook, sink: Sink
) -> None:
    sink.refuse.clear()
    scheduled.edit('definition = "monthly"\ncron', 'definition = "monthly"\nnotify = []\ncron')
    scheduled("schedule", "run-due")
    assert (hook.posts, mails(sink)) == ([], [])


@pytest.mark.parametrize("trouble", ["500", "302", "nobody", "silence"])
def test_news_that_do_not_arrive_are_told_and_change_nothing_of_the_run(
    scheduled: Program, hook: Hook, unused_port: int, trouble: str
) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    ports = {"nobody": unused_port, "silence": silent.getsockname()[1]}
    if trouble.isdecimal():
        hook.answer = int(trouble)
    else:
        scheduled.edit(f":{hook.server_port}/", f":{ports[trouble]}/")
    scheduled.edit("timeout = 5", "timeout = 1")

    with silent:
        done = scheduled("schedule", "run-due", "--json")

    assert done.code == ExitCode.INCOMPLETE
    assert done.json["slots"][0]["run"]["status"] == "finished"
    said = {"500": "answered 500", "302": "answered 302", "nobody": "cannot be reached",
            "silence": "no answer"}  # fmt: skip
    assert f"news not delivered: POST to 127.0.0.1: {said[trouble]}" in done.err
    assert "hunter2" not in done.err + done.out
    assert len(hook.posts) == (1 if trouble.isdecimal() else 0)
    assert re.search(said[trouble], str(events(scheduled)))


def events(program: Program) -> list[object]:
    import sqlite3

    with sqlite3.connect(program.folder / "msgrun.db") as connection:
        found = connection.execute(
            "SELECT detail FROM msgrun_event WHERE kind = 'news not delivered'"
        ).fetchall()
    connection.close()
    return found


def test_a_mail_that_is_refused_is_told(scheduled: Program, sink: Sink) -> None:
    sink.refuse["ops@acme.test"] = sink.refuse["finance@acme.test"] = "550 5.7.1 not here"

    done = scheduled("schedule", "run-due")

    assert done.code == ExitCode.INCOMPLETE
    assert "news not delivered: mail: rejected at rcpt: 550 5.7.1 not here" in done.err
