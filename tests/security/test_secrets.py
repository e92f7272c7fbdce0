"""Secrets: no password is in anything that is printed, logged, stored or raised, in no form."""

import json
import logging
import socket
import struct
import sys
import threading
import types
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from pydantic import SecretStr
from sqlalchemy import MetaData, make_url, select

from cli.program import CONFIG, DATA
from msgrun.cli.app import run
from msgrun.config import load_config
from msgrun.database import Database
from msgrun.transport.session import Session
from msgrun.workspace import Workspace
from security.servers import serving
from smtp.server import Answer, ScriptedServer

SECRET = "Canary~4711/+&=x"  # in it what base64, URLs, HTML and JSON write differently
USER = "billing"
URL_SECRET = "Dbcanary~0815"
OFFERS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "AUTH PLAIN LOGIN")


def forms(secret: str) -> set[str]:
    """Return every way in which a secret may stand in a text."""
    raw = secret.encode()
    spelt = {
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        escape(secret),
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
        raw.hex(),
        secret[::-1],
        secret.lower(),
        b64encode(f"\0{USER}\0{secret}".encode()).decode(),
    }
    for shift in range(3):  # wherever it stands in something longer that is base64
        encoded = b64encode(b"\0" * shift + raw).decode()
        spelt.add(encoded[4 * bool(shift) + 1 : -4])
    return spelt | {quote(each, safe="") for each in spelt}


FORMS = {each: name for name in (SECRET, URL_SECRET) for each in forms(name)}


def leaks(text: str) -> list[str]:
    """Return the forms of a secret that are in a text."""
    return sorted(each for each in FORMS if each in text or each in text.lower())


ECHO = " ".join(
    (
        SECRET,
        b64encode(SECRET.encode()).decode(),
        b64encode(f"\0{USER}\0{SECRET}".encode()).decode(),
    )
)


def test_the_search_would_find_it() -> None:
    for text in (SECRET, ECHO, quote_plus(SECRET), repr({"password": SECRET}), f"x{URL_SECRET}"):
        assert leaks(f"some {text} words")
    assert leaks("a b c Canary") == []


Place = Callable[[Path, pytest.MonkeyPatch], str]


def in_variable(_folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SMTP_PASSWORD", SECRET)
    return 'password_env = "SMTP_PASSWORD"'


def in_msgruns_variable(_folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MSGRUN_SMTP_PASSWORD", SECRET)
    return 'password_env = "MSGRUN_SMTP_PASSWORD"'


def in_file(folder: Path, _monkeypatch: pytest.MonkeyPatch) -> str:
    (folder / "password.txt").write_text(SECRET + "\n", encoding="utf-8")
    return 'password_file = "password.txt"'


def in_keyring(_folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    fake, errors = types.ModuleType("keyring"), types.ModuleType("keyring.errors")
    vars(fake)["get_password"] = lambda _service, _username: SECRET
    vars(errors)["KeyringError"] = RuntimeError
    monkeypatch.setitem(sys.modules, "keyring", fake)
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)
    return 'keyring = "acme-smtp"'


PLACES = [in_variable, in_msgruns_variable, in_file, in_keyring]
COMMANDS: Sequence[Sequence[str]] = (
    ("plan",),
    ("plan", "--json"),
    ("start", "--yes"),
    ("start", "--yes", "--resend", "--json"),
    ("start", "--once"),
    ("runs", "--json"),
    ("show", "--json"),
    ("results", "--json"),
    ("results", "--csv", "out.csv"),
    ("restart", "--yes", "--json"),
    ("restart", "--failed", "--yes"),
    ("watch", "--json"),
    ("stop", "--json"),
    ("cancel", "--yes", "--json"),
    ("doctor", "--json"),
    ("doctor", "-v"),
    ("doctor", "CU1", "--json"),
    ("doctor", "CU5", "-v"),
    ("doctor", "CU1", "--ticket"),
    ("doctor", "--ticket", "--mask"),
    ("doctor", "CU5", "--junit", "doctor.xml", "--mask"),
    ("db", "current"),
    ("start", "nosuch", "--yes", "--json"),
    ("doctor", "nosuch", "--json"),
)
SOME: Sequence[Sequence[str]] = (
    ("start", "--yes", "--json"),
    ("start", "--yes", "--resend"),
    ("results", "--json"),
    ("doctor", "--json"),
    ("doctor", "CU5", "-v"),
    ("doctor", "CU5", "--ticket", "--junit", "doctor.xml"),
)


class Ear:
    """Runs commands with --debug and keeps all that can be heard of them."""

    def __init__(
        self, folder: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        self.folder = folder
        self._capsys, self._caplog = capsys, caplog
        caplog.set_level(logging.DEBUG)
        self.heard = ""

    def hear(self, *arguments: str) -> str:
        self._capsys.readouterr()
        code = run(["--debug", *arguments])
        out, err = self._capsys.readouterr()
        self.heard += f"\n$ {' '.join(arguments)} -> {code}\n{out}{err}"
        assert "No such command" not in err
        assert "No such option" not in err
        return out + err

    def assert_nothing_leaked(self) -> None:
        assert leaks(self.heard) == []
        assert leaks(self._caplog.text) == []
        for file in self.folder.rglob("*"):
            if file.is_file() and file.name not in {"password.txt", "msgrun.toml"}:
                assert leaks(file.read_bytes().decode("latin-1")) == [], file


@pytest.fixture
def ear(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> Ear:
    monkeypatch.chdir(tmp_path)
    for relation, text in DATA.items():
        (tmp_path / f"{relation}.csv").write_text(text, encoding="utf-8")
    (tmp_path / "invoice.txt").write_text("Dear {{ customer.name }}\n", encoding="utf-8")
    return Ear(tmp_path, capsys, caplog)


def write_config(ear: Ear, port: int, password: str, *further: str, url: str = "") -> None:
    lines = [f'username = "{USER}"', password, "timeout = 2", "dot_timeout = 2", *further]
    text = CONFIG.format(port=port).replace('ehlo = "localhost"', "\n".join(lines))
    if any(line.startswith("security") for line in further):
        text = text.replace('security = "none"\n', "")
    (ear.folder / "msgrun.toml").write_text(
        text.replace("sqlite:///msgrun.db", url or "sqlite:///msgrun.db")
    )


def hear_all(ear: Ear, commands: Sequence[Sequence[str]] = COMMANDS) -> None:
    ear.hear("import", *(f"{relation}.csv" for relation in DATA), "--json")
    for command in commands:
        ear.hear(*command)


FAILURES: dict[str, dict[str, Answer]] = {
    "all is well": {},
    "wrong password, echoed": {"auth": f"535 5.7.8 authentication failed: {ECHO}"},
    "wrong password, echoed on lines of their own": {
        "auth": "535 5.7.8 no\n" + "\n".join(f"5.7.8 {each}" for each in ECHO.split())
    },
    "echoed with another code": {"auth": f"454 4.7.0 later: {ECHO}"},
    "echoed with a code that is none": {"auth": f"299 {ECHO}"},
    "not an answer": {"auth": f"raw {ECHO}"},
    "closed": {"auth": "close"},
    "reset": {"auth": "reset"},
    "echoed, then closed": {"auth": f"421 4.7.0 {ECHO} & close"},
    "unknown mechanism, then wrong": {"auth": ["504 5.5.4 " + ECHO, "535 5.7.8 " + ECHO] * 40},
}


@pytest.mark.parametrize("failure", FAILURES)
def test_no_failure_of_the_login_shows_the_password(
    ear: Ear, failure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ScriptedServer(FAILURES[failure], OFFERS)
    with serving(server):
        write_config(ear, server.port, in_variable(ear.folder, monkeypatch))
        hear_all(ear, SOME)

    assert any(command.startswith("AUTH") for command in server.commands)
    ear.assert_nothing_leaked()


@pytest.mark.parametrize("place", PLACES)
def test_wherever_the_password_is_kept_it_is_not_shown(
    ear: Ear, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"auth": ["235 ok"] * 3 + [f"535 5.7.8 {ECHO}"] * 99}
    server = ScriptedServer(answers, OFFERS)
    with serving(server):
        write_config(ear, server.port, place(ear.folder, monkeypatch))
        hear_all(ear, COMMANDS if place is in_variable else SOME)

    plain = b64encode(f"\0{USER}\0{SECRET}".encode()).decode()
    assert f"AUTH PLAIN {plain}" in server.commands
    ear.assert_nothing_leaked()


@pytest.mark.parametrize("offers", [("STARTTLS", *OFFERS), OFFERS, ("AUTH XOAUTH2",)])
def test_no_failure_of_tls_shows_the_password(
    ear: Ear, offers: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ScriptedServer({"starttls": "454 4.7.0 TLS is broken"}, offers)
    with serving(server):
        password = in_variable(ear.folder, monkeypatch)
        write_config(ear, server.port, password, 'security = "starttls"')
        hear_all(ear, SOME)

    assert not any(command.startswith("AUTH") for command in server.commands)
    ear.assert_nothing_leaked()


@pytest.mark.parametrize(
    ("stage", "code"), [("mail", "550 5.7.1"), ("rcpt", "451 4.3.0"), ("dot", "250 2.0.0")]
)
def test_a_server_that_knows_the_password_cannot_have_it_kept(
    ear: Ear, stage: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could only be malice: the server would have to repeat what it was told at AUTH."""
    server = ScriptedServer({stage: f"{code} {ECHO}"}, OFFERS)
    with serving(server):
        write_config(ear, server.port, in_variable(ear.folder, monkeypatch))
        hear_all(ear, SOME)

    ear.assert_nothing_leaked()


def test_an_exception_in_the_middle_of_a_run_shows_no_password(
    ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def break_down(session: Session, *_arguments: object) -> None:
        raise RuntimeError(f"unforeseen, in {session!r}")

    server = ScriptedServer(extensions=OFFERS)
    with serving(server):
        write_config(ear, server.port, in_variable(ear.folder, monkeypatch))
        monkeypatch.setattr(Session, "send", break_down)
        hear_all(ear, SOME)

    assert "RuntimeError: unforeseen" in ear.heard
    ear.assert_nothing_leaked()


@pytest.mark.parametrize(
    "toml",
    [
        f'password = "{SECRET}"',
        f'pasword = "{SECRET}"',
        f'password_env = "{SECRET}"',
        f'password_env = ["{SECRET}"]',
        f'keyring = "x"\npassword_file = "{SECRET}',
        f'smtp_secret = "{SECRET}"\ntoken = "{SECRET}"',
    ],
)
def test_a_password_in_the_wrong_place_is_not_repeated(ear: Ear, toml: str) -> None:
    write_config(ear, 25, toml)
    for command in (("runs", "--json"), ("doctor", "--json"), ("start", "--yes")):
        ear.hear(*command)

    assert "msgrun.toml" in ear.heard
    ear.assert_nothing_leaked()


def test_a_password_file_that_is_none_is_not_repeated(ear: Ear) -> None:
    (ear.folder / "password.txt").write_bytes(SECRET.encode("utf-16"))
    write_config(ear, 25, 'password_file = "password.txt"')
    ear.hear("import", *(f"{relation}.csv" for relation in DATA))
    for command in (("start", "--yes", "--json"), ("doctor", "--json")):
        ear.hear(*command)

    assert "MR601" in ear.heard
    ear.assert_nothing_leaked()


# The database's password.


@contextmanager
def refusing_database() -> Iterator[int]:
    """Speak PostgreSQL just far enough to take a password and refuse it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    _refuse(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            over.set()
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def _refuse(connection: socket.socket) -> None:
    connection.settimeout(5)
    while True:
        head = connection.recv(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack("!ii", head)
        if kind == 80877103:  # SSLRequest
            connection.sendall(b"N")
            continue
        if length > 8:
            connection.recv(length - 8)
        break
    connection.sendall(b"R" + struct.pack("!ii", 8, 3))  # the password in clear, please
    connection.recv(1024)
    text = b'SFATAL\0C28P01\0Mpassword authentication failed for user "me"\0\0'
    connection.sendall(b"E" + struct.pack("!i", len(text) + 4) + text)


ABOUT_DATABASE = (
    ("runs", "--json"),
    ("doctor", "--json"),
    ("doctor", "-v"),
    ("doctor", "CU1", "--ticket", "--junit", "doctor.xml"),
    ("start", "--yes", "--json"),
    ("import", "customers.csv", "--json"),
    ("db", "current"),
    ("db", "upgrade"),
)


def test_a_refused_database_password_is_not_repeated(ear: Ear) -> None:
    with refusing_database() as port:
        write_config(ear, 25, "", url=f"postgresql://me:{URL_SECRET}@127.0.0.1:{port}/billing")
        for command in ABOUT_DATABASE:
            ear.hear(*command)

    assert "password authentication failed" in ear.heard
    assert "me:***@127.0.0.1" in ear.heard
    ear.assert_nothing_leaked()


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{URL_SECRET}@127.0.0.1:1/billing",
        f"postgresql://me:x@{URL_SECRET}@127.0.0.1:1/billing",
        f"postgresql://me:x%40{URL_SECRET}@127.0.0.1:1/billing",
        f"postgresql://me:x/{URL_SECRET}@127.0.0.1:1/billing",
        f"postgresql://me:x#{URL_SECRET}@127.0.0.1:1/billing",
        f"postgresql://me:x:{URL_SECRET}@127.0.0.1:1/billing",
        f"postgresql://me:x?{URL_SECRET}@127.0.0.1:1/billing",
        f"postgresql://me@127.0.0.1:1/billing?password={URL_SECRET}",
        f"postgresql://me@127.0.0.1:1/billing?sslmode=prefer&password={URL_SECRET}",
        f"postgresql://me@127.0.0.1:1/billing?sslpassword={URL_SECRET}",
        f"postgresql://me:{URL_SECRET}@127.0.0.1:port/billing",
        f"postgresql://me:{URL_SECRET}@[::1/billing",
        f"postgresql://me:{URL_SECRET}@127.0.0.1:1/",
        f"postgres://me:{URL_SECRET}@127.0.0.1:1/billing",
        f"mysql://me:{URL_SECRET}@127.0.0.1:1/billing",
        f"postgresql+asyncpg://me:{URL_SECRET}@127.0.0.1:1/billing",
        f"me:{URL_SECRET}@127.0.0.1:1/billing",
    ],
)
def test_no_database_url_is_repeated_with_its_password(ear: Ear, url: str) -> None:
    write_config(ear, 25, "", url=url)
    for command in ABOUT_DATABASE:
        assert "internal error" not in ear.hear(*command)

    ear.assert_nothing_leaked()


def test_the_tables_on_postgresql_hold_no_password(
    ear: Ear, postgresql_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgresql_database.url.set(drivername="postgresql", password=URL_SECRET)
    server = ScriptedServer({"auth": ["235 ok"] * 3 + [f"535 5.7.8 {ECHO}"] * 99}, OFFERS)
    with serving(server):
        write_config(
            ear, server.port, in_variable(ear.folder, monkeypatch),
            url=url.render_as_string(hide_password=False),
        )  # fmt: skip
        hear_all(ear)

    assert len(server.messages) > 0
    assert len(dump(postgresql_database)) > 2000
    assert leaks(dump(postgresql_database)) == []
    ear.assert_nothing_leaked()


def dump(database: Database) -> str:
    """Return every value of every table that is there."""
    texts = []
    with database.read() as connection, connection.begin():
        for schema in (None, "msgrun"):
            found = MetaData()
            found.reflect(connection, schema=schema)
            for table in found.tables.values():
                texts += [repr(tuple(row)) for row in connection.execute(select(table))]
    return "\n".join(texts)


def test_no_object_shows_a_password_of_itself(ear: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"postgresql://me:{URL_SECRET}@127.0.0.1:1/billing"
    write_config(ear, 25, in_variable(ear.folder, monkeypatch), url=url)
    config = load_config(ear.folder / "msgrun.toml")
    workspace = Workspace.of(config)
    settings = workspace.server_settings("default")
    assert settings.password == SecretStr(SECRET)

    for each in (config, config.database, config.servers["default"], workspace, workspace.database,
                 settings, settings.password, workspace.database.url, make_url(url)):  # fmt: skip
        assert leaks(f"{each!r} {each}") == [], type(each)
    for inside in (config, workspace.database, settings):
        assert leaks(repr(vars(inside))) == [], type(inside)
    assert leaks(workspace.database.describe()) == []
    assert leaks(config.model_dump_json()) == []
