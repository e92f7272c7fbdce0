"""Access tokens in place of passwords: fetched when needed, never shown, never in clear."""

import base64
import sys
from pathlib import Path
from typing import Any

import pytest

from msgrun.model import Outcome, Stage, Verdict
from msgrun.transport.smtp import SmtpTransport
from msgrun.transport.tokens import TokenError, TokenSource
from smtp.letters import Asked, envelope, letter, settings
from smtp.server import MakeContext, ScriptedServer

TOKEN = "ya29.canary-4711"
OFFERS = ("PIPELINING", "STARTTLS", "AUTH LOGIN XOAUTH2")
USER = "billing@acme.test"
PRINTS = "import sys, pathlib; pathlib.Path('asked').open('a').write('x'); print({!r})"


def source(folder: Path, printed: str = TOKEN) -> TokenSource:
    """Return what runs a command that prints a token, and keeps count in a file."""
    return TokenSource((sys.executable, "-c", PRINTS.format(printed)), None, folder)


def asked(folder: Path) -> int:
    return len((folder / "asked").read_text())


async def send(server: ScriptedServer, tokens: TokenSource, **changes: Any) -> Outcome:
    given = {"username": USER, "tokens": tokens, "security": "starttls", **changes}
    transport = SmtpTransport(settings(server.port, **given))
    outcome = await transport.send(envelope(), letter(), Asked())
    await transport.close()
    return outcome


async def test_a_token_logs_in_over_tls(
    ca_file: Path, server_context: MakeContext, tmp_path: Path
) -> None:
    server = ScriptedServer(extensions=OFFERS, context=server_context())
    async with server.running():
        outcome = await send(server, source(tmp_path), ca_file=ca_file)
    said = base64.b64encode(f"user={USER}\1auth=Bearer {TOKEN}\1\1".encode()).decode()
    assert outcome.verdict is Verdict.ACCEPTED
    assert f"AUTH XOAUTH2 {said}" in server.commands


async def test_one_token_serves_many_connections_until_it_is_refused(
    ca_file: Path, server_context: MakeContext, tmp_path: Path
) -> None:
    tokens = source(tmp_path)
    server = ScriptedServer(
        {"auth": ["235 ok", "235 ok", "535 5.7.3 expired", "235 ok"]}, OFFERS, server_context()
    )
    async with server.running():
        outcomes = [await send(server, tokens, ca_file=ca_file) for _ in range(4)]
    verdicts = [each.verdict for each in outcomes]
    assert verdicts == [Verdict.ACCEPTED] * 2 + [Verdict.SERVER_FAULT, Verdict.ACCEPTED]
    assert outcomes[2].finding == "MR615"
    assert asked(tmp_path) == 2


async def test_a_token_that_the_server_echoes_is_not_shown(
    ca_file: Path, server_context: MakeContext, tmp_path: Path
) -> None:
    said = base64.b64encode(f"user={USER}\1auth=Bearer {TOKEN}\1\1".encode()).decode()
    server = ScriptedServer({"auth": f"535 5.7.8 bad: {TOKEN} {said}"}, OFFERS, server_context())
    async with server.running():
        outcome = await send(server, source(tmp_path), ca_file=ca_file)
    assert outcome.finding == "MR615"
    shown = f"{outcome.text} {outcome.reply}"
    assert TOKEN not in shown
    assert said not in shown


async def test_where_xoauth2_is_not_offered_no_token_is_fetched(
    ca_file: Path, server_context: MakeContext, tmp_path: Path
) -> None:
    server = ScriptedServer(extensions=("STARTTLS", "AUTH PLAIN"), context=server_context())
    async with server.running():
        outcome = await send(server, source(tmp_path), ca_file=ca_file)
    assert (outcome.stage, outcome.finding) == (Stage.AUTH, "MR614")
    assert not (tmp_path / "asked").exists()


async def test_a_command_that_fails_is_a_fault_of_the_configuration(
    ca_file: Path, server_context: MakeContext, tmp_path: Path
) -> None:
    failing = (sys.executable, "-c", "import sys; print('half'); sys.exit('please log in first')")
    server = ScriptedServer(extensions=OFFERS, context=server_context())
    async with server.running():
        outcome = await send(server, TokenSource(failing, None, tmp_path), ca_file=ca_file)
    assert (outcome.stage, outcome.finding) == (Stage.AUTH, "MR601")
    assert "please log in first" in outcome.text
    assert "half" not in outcome.text


@pytest.mark.parametrize(
    "printed", [TOKEN, f'{{"access_token": "{TOKEN}", "expires_in": 3599}}',
                f'{{"accessToken": "{TOKEN}", "tokenType": "Bearer"}}']
)  # fmt: skip
def test_a_token_comes_alone_or_in_json(tmp_path: Path, printed: str) -> None:
    assert source(tmp_path, printed).token().get_secret_value() == TOKEN


@pytest.mark.parametrize("printed", ["", "{}", "two words", '{"access_token": 7}', "{broken"])
def test_what_is_no_token_is_said_without_showing_it(tmp_path: Path, printed: str) -> None:
    with pytest.raises(TokenError) as caught:
        source(tmp_path, printed).token()
    assert not printed.strip("{}") or printed not in str(caught.value)


def test_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    file = tmp_path / "token"
    tokens = TokenSource((), file, tmp_path)
    file.write_text("one\n")
    first = tokens.token().get_secret_value()
    file.write_text("two\n")
    assert (first, tokens.token().get_secret_value()) == ("one", "two")
    file.unlink()
    with pytest.raises(TokenError, match="cannot be read: No such file"):
        tokens.token()
