"""No password without TLS where TLS was asked for, and every fault has its name."""

import base64
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import SecretStr

from campaign import Tally
from msgrun.model import Outcome, Stage, Verdict
from msgrun.transport.smtp import SmtpTransport
from msgrun.transport.tls import client_context
from smtp.letters import Asked, envelope, letter, settings
from smtp.server import PROTOCOL_VERSION_ALERT, MakeContext, ScriptedServer

PASSWORD = "canary-4711"
UNSURE = "certificates expired, of another host, unknown; STARTTLS stripped"
HELD = "no AUTH, no MAIL, no byte of a message"
ENCODED = [
    base64.b64encode(form.encode()) for form in (PASSWORD, "billing", f"\0billing\0{PASSWORD}")
]
LOGIN = {"username": "billing", "password": SecretStr(PASSWORD)}
V = Verdict
OFFERS = ("PIPELINING", "STARTTLS", "AUTH PLAIN LOGIN")


async def send(server: ScriptedServer, **changes: Any) -> Outcome:
    transport = SmtpTransport(settings(server.port, **(LOGIN | changes)))
    outcome = await transport.send(envelope(), letter(), Asked())
    await transport.close()
    return outcome


def secrets_seen(server: ScriptedServer) -> list[str]:
    return [c for c in server.commands if c.upper().startswith("AUTH") or PASSWORD in c]


def told(server: ScriptedServer) -> list[bytes]:
    """Return what the server heard and must not hear from one that was not sure of it."""
    heard = b"".join(server.chunks)
    words = (b"AUTH", b"MAIL", b"RCPT", b"DATA", PASSWORD.encode(), *ENCODED)
    return [word for word in words if word in heard] + [each.data for each in server.messages]


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_secured_connection_logs_in_and_sends(
    security: str, ca_file: Path, server_context: MakeContext
) -> None:
    context = server_context()
    server = ScriptedServer(extensions=OFFERS, context=context, implicit_tls=security == "tls")
    async with server.running():
        outcome = await send(server, security=security, ca_file=ca_file)
    plain = base64.b64encode(f"\0billing\0{PASSWORD}".encode()).decode()
    assert outcome.verdict is Verdict.ACCEPTED
    assert f"AUTH PLAIN {plain}" in server.commands
    assert server.messages[0].data == letter().data
    assert {b"AUTH", b"MAIL", ENCODED[2]} <= set(told(server)), "what is looked for is seen"
    if security == "starttls":
        verbs = [command.split(" ")[0] for command in server.commands]
        assert verbs[:4] == ["EHLO", "STARTTLS", "EHLO", "AUTH"]


@pytest.mark.parametrize(
    "offers",
    [
        ("PIPELINING", "AUTH PLAIN LOGIN"),
        ("PIPELINING", "XXXXXXXA", "AUTH PLAIN LOGIN"),  # as a filter overwrites it
        ("STARTTLSX", "AUTH PLAIN LOGIN"),
        (),
    ],
)
async def test_a_stripped_starttls_gets_no_auth_byte(offers: tuple[str, ...], tally: Tally) -> None:
    server = ScriptedServer(extensions=offers)
    async with server.running():
        outcome = await send(server, security="starttls")
    assert outcome.verdict is Verdict.SERVER_FAULT
    assert (outcome.stage, outcome.finding) == (Stage.TLS, "MR607")
    assert told(server) == []
    assert {command.split(" ")[0] for command in server.commands} == {"EHLO"}
    tally.add(UNSURE, tried=1, messages=1, note=HELD)


@pytest.mark.parametrize(
    "refusal", ["454 4.7.0 TLS not available", "500 5.5.1 unknown command", "250 2.0.0 as you like"]
)
async def test_a_broken_starttls_gets_no_auth_byte(refusal: str, tally: Tally) -> None:
    server = ScriptedServer({"starttls": refusal}, OFFERS)
    async with server.running():
        outcome = await send(server, security="starttls")
    assert (outcome.verdict, outcome.finding) == (Verdict.SERVER_FAULT, "MR607")
    assert refusal[:3] in str(outcome.reply or outcome.text) or refusal.startswith("2")
    assert told(server) == []
    tally.add(UNSURE, tried=1, messages=1, note=HELD)


async def test_an_ehlo_that_is_not_understood_gets_no_auth_byte(tally: Tally) -> None:
    server = ScriptedServer({"ehlo": "502 5.5.1 HELO only"}, OFFERS)
    async with server.running():
        outcome = await send(server, security="starttls")
    assert (outcome.verdict, outcome.stage) == (Verdict.SERVER_FAULT, Stage.EHLO)
    assert told(server) == []
    tally.add(UNSURE, tried=1, messages=1, note=HELD)


async def test_words_put_behind_the_starttls_answer_are_not_believed(
    ca_file: Path, server_context: MakeContext
) -> None:
    answer = "220 go\r\n250-evil.example\r\n250 AUTH PLAIN"
    server = ScriptedServer({"starttls": "2" + answer[1:]}, OFFERS[:2], server_context())
    async with server.running():
        outcome = await send(server, security="starttls", ca_file=ca_file)
    assert outcome.verdict is Verdict.SERVER_FAULT
    assert told(server) == []


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize(
    ("host", "days", "finding"),
    [
        ("mail.example.test", (-1, 365), "MR608"),
        ("127.0.0.1", (-20, -10), "MR609"),
        ("127.0.0.1", (10, 20), "MR610"),
    ],
)
async def test_a_bad_certificate_has_its_name_and_gets_no_auth_byte(
    security: str,
    host: str,
    days: tuple[int, int],
    finding: str,
    ca_file: Path,
    server_context: MakeContext,
    tally: Tally,
) -> None:
    context = server_context(host, days)
    server = ScriptedServer(extensions=OFFERS, context=context, implicit_tls=security == "tls")
    async with server.running():
        outcome = await send(server, security=security, ca_file=ca_file)
    assert outcome.verdict is Verdict.SERVER_FAULT
    assert (outcome.stage, outcome.finding) == (Stage.TLS, finding)
    assert told(server) == []
    tally.add(UNSURE, tried=1, messages=1, note=HELD)


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_an_unknown_issuer_has_its_name_and_gets_no_auth_byte(
    security: str, ca_file: Path, server_context: MakeContext, tally: Tally
) -> None:
    context = server_context(signer=trustme.CA())
    server = ScriptedServer(extensions=OFFERS, context=context, implicit_tls=security == "tls")
    async with server.running():
        outcome = await send(server, security=security, ca_file=ca_file)
        heard = told(server)
        by_the_system = await send(server, security=security)
        heard += told(server)
        unchecked = await send(server, security=security, verify=False)
    assert {(each.stage, each.finding) for each in (outcome, by_the_system)} == {
        (Stage.TLS, "MR611")
    }
    assert heard == []
    assert unchecked.verdict is Verdict.ACCEPTED
    tally.add(UNSURE, tried=2, messages=2, note=HELD)


async def test_a_ca_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    server = ScriptedServer()
    async with server.running():
        outcome = await send(server, security="tls", ca_file=tmp_path / "none.pem")
    assert (outcome.stage, outcome.finding) == (Stage.TLS, "MR611")
    assert "none.pem" in outcome.text


async def test_a_server_without_tls_1_2_is_refused_after_starttls(ca_file: Path) -> None:
    server = ScriptedServer(extensions=OFFERS)  # without a context it knows no TLS of today
    async with server.running():
        outcome = await send(server, security="starttls", ca_file=ca_file)
    assert (outcome.stage, outcome.finding) == (Stage.TLS, "MR613")
    assert told(server) == []


async def test_a_server_without_tls_1_2_is_refused(ca_file: Path) -> None:
    server = ScriptedServer({"banner": f"raw {PROTOCOL_VERSION_ALERT.decode()}"})
    async with server.running():
        outcome = await send(server, security="tls", ca_file=ca_file)
    assert (outcome.stage, outcome.finding) == (Stage.TLS, "MR613")
    assert told(server) == []


def test_our_side_speaks_tls_1_2_or_later() -> None:
    assert client_context(None, True).minimum_version is ssl.TLSVersion.TLSv1_2
    assert client_context(None, False).minimum_version is ssl.TLSVersion.TLSv1_2


async def test_implicit_tls_on_a_starttls_port_is_told_apart(ca_file: Path) -> None:
    server = ScriptedServer(extensions=OFFERS)
    async with server.running():
        outcome = await send(server, security="tls", ca_file=ca_file)
    assert (outcome.stage, outcome.finding) == (Stage.TLS, "MR606")
    assert told(server) == []


async def test_a_server_that_never_shakes_hands_is_waited_for_only_so_long(ca_file: Path) -> None:
    server = ScriptedServer({"banner": "silent"})
    async with server.running():
        outcome = await send(server, security="tls", ca_file=ca_file, timeout=0.3)
    assert (outcome.stage, outcome.finding) == (Stage.TLS, "MR606")
    assert told(server) == []


async def test_clear_text_on_a_tls_port_ends_without_a_banner(server_context: MakeContext) -> None:
    server = ScriptedServer(context=server_context(), implicit_tls=True)
    async with server.running():
        outcome = await send(server, timeout=0.3)
    assert (outcome.stage, outcome.finding) == (Stage.BANNER, "MR605")
    assert told(server) == []


async def test_no_auth_offered_is_named() -> None:
    server = ScriptedServer(extensions=("PIPELINING",))
    async with server.running():
        outcome = await send(server)
    assert (outcome.stage, outcome.finding) == (Stage.AUTH, "MR614")


async def test_no_common_mechanism_is_named() -> None:
    server = ScriptedServer(extensions=("AUTH XOAUTH2 NTLM",))
    async with server.running():
        outcome = await send(server)
    assert (outcome.stage, outcome.finding) == (Stage.AUTH, "MR614")
    assert "XOAUTH2" in outcome.text
    assert told(server) == []


async def test_login_is_used_where_plain_is_not_offered() -> None:
    server = ScriptedServer(extensions=("AUTH LOGIN",))
    async with server.running():
        outcome = await send(server)
    assert outcome.verdict is Verdict.ACCEPTED
    assert base64.b64encode(PASSWORD.encode()).decode() in server.commands


async def test_a_wrong_password_is_tried_once_a_connection() -> None:
    server = ScriptedServer({"auth": "535 5.7.8 Error: authentication failed"}, OFFERS)
    async with server.running():
        outcome = await send(server)
    assert (outcome.stage, outcome.finding) == (Stage.AUTH, "MR615")
    assert len(secrets_seen(server)) == 1


async def test_the_next_mechanism_is_tried_where_the_first_is_unknown_after_all() -> None:
    server = ScriptedServer({"auth": ["504 5.5.4 unrecognized mechanism"]}, OFFERS)
    async with server.running():
        outcome = await send(server)
    assert outcome.verdict is Verdict.ACCEPTED
    assert [command.split(" ")[1] for command in secrets_seen(server)] == ["PLAIN", "LOGIN"]


@pytest.mark.parametrize("answer", ["close", "silent", "421 4.7.0 too many & close"])
async def test_a_connection_lost_at_auth_is_a_fault(answer: str) -> None:
    server = ScriptedServer({"auth": answer}, OFFERS)
    async with server.running():
        outcome = await send(server, timeout=0.3)
    assert outcome.verdict is Verdict.SERVER_FAULT
    assert outcome.stage is Stage.AUTH


async def test_a_password_that_the_server_echoes_is_not_kept() -> None:
    blob = base64.b64encode(f"\0billing\0{PASSWORD}".encode()).decode()
    refusal = f"535 5.7.8 no: {PASSWORD} {blob}"
    server = ScriptedServer({"auth": refusal}, OFFERS)
    async with server.running():
        outcome = await send(server)
    assert PASSWORD not in repr(outcome)
    assert blob not in repr(outcome)
    assert PASSWORD not in repr(settings(1, **LOGIN))


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "one by one"])
@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_one_message_after_the_other_flows_over_a_secured_connection(
    security: str, pipelining: bool, ca_file: Path, server_context: MakeContext
) -> None:
    offers = OFFERS if pipelining else OFFERS[1:]
    server = ScriptedServer(
        {"rcpt": ["250 ok", "550 5.1.1 no such user"]},
        offers,
        server_context(),
        implicit_tls=security == "tls",
    )
    async with server.running():
        transport = SmtpTransport(settings(server.port, security=security, ca_file=ca_file))
        verdicts = [
            (await transport.send(envelope(), letter(f"<{number}@acme.test>"), Asked())).verdict
            for number in range(6)
        ]
        await transport.close()
    assert verdicts == [V.ACCEPTED, V.REJECTED, V.ACCEPTED, V.ACCEPTED, V.ACCEPTED, V.ACCEPTED]
    assert server.connections == 1
