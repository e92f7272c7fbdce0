"""The probe walks the sender's own way, sends nothing, and names what fails."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from msgrun.model import Stage
from msgrun.transport.probe import ProbeReport, probe
from smtp.letters import settings
from smtp.server import MakeContext, ScriptedServer

LOGIN: dict[str, Any] = {"username": "billing", "password": SecretStr("canary-4711")}
OFFERS = ("PIPELINING", "STARTTLS", "AUTH PLAIN", "SIZE 1000", "SMTPUTF8")


async def ask(server: ScriptedServer, **changes: Any) -> ProbeReport:
    return await probe(
        settings(server.port, **changes),
        sender="billing@acme.test",
        recipient="customer@example.test",
    )


def statuses(report: ProbeReport) -> dict[str, str]:
    return {step.stage.value: step.status for step in report.steps}


async def test_a_good_server_passes_every_stage_in_order(
    ca_file: Path, server_context: MakeContext
) -> None:
    server = ScriptedServer(extensions=OFFERS, context=server_context())
    async with server.running():
        report = await ask(server, security="starttls", ca_file=ca_file, **LOGIN)
    assert [step.stage.value for step in report.steps] == [
        *("resolve", "connect", "banner", "ehlo", "tls", "auth", "mail", "rcpt", "rset")
    ]
    assert set(statuses(report).values()) == {"pass"}
    assert (report.finding, report.failure, report.warnings) == ("", None, [])
    assert (report.size_limit, report.smtputf8) == (1000, True)
    evidence = " ".join(line for step in report.steps for line in step.evidence)
    assert "TLSv1.3" in evidence
    assert "canary-4711" not in evidence


async def test_the_probe_never_says_data_and_leaves_in_order() -> None:
    server = ScriptedServer()
    async with server.running():
        await ask(server)
    verbs = [command.split(" ")[0] for command in server.commands]
    assert verbs == ["EHLO", "MAIL", "RCPT", "RSET", "QUIT"]


async def test_without_addresses_the_envelope_is_skipped() -> None:
    server = ScriptedServer()
    async with server.running():
        report = await probe(settings(server.port))
    assert [statuses(report)[stage] for stage in ("tls", "auth", "mail", "rcpt", "rset")] == [
        "skipped"
    ] * 5
    assert report.finding == ""


@pytest.mark.parametrize(
    ("answers", "stage", "finding"),
    [
        ({"banner": "554 5.7.1 listed & close"}, Stage.BANNER, "MR605"),
        ({"banner": "raw HTTP/1.1 400 Bad Request"}, Stage.BANNER, "MR605"),
        ({"ehlo": "501 5.5.4 invalid name"}, Stage.EHLO, "MR619"),
        ({"ehlo": "silent"}, Stage.EHLO, "MR603"),
        ({"auth": "535 5.7.8 no"}, Stage.AUTH, "MR615"),
        ({"mail": "550 5.1.8 bad sender"}, Stage.MAIL, "MR616"),
        ({"mail": "silent"}, Stage.MAIL, "MR603"),
        ({"mail": "354 what"}, Stage.MAIL, "MR605"),
        ({"rcpt": "554 5.7.1 Relay access denied"}, Stage.RCPT, "MR617"),
        ({"rcpt": "421 4.7.0 slow down & close"}, Stage.RCPT, "MR618"),
    ],
)
async def test_the_first_failure_is_named(
    answers: dict[str, str], stage: Stage, finding: str
) -> None:
    server = ScriptedServer(answers, ("AUTH PLAIN",))
    async with server.running():
        report = await ask(server, timeout=0.3, **LOGIN)
    assert report.failure is not None
    assert (report.failure.stage, report.finding) == (stage, finding)
    assert report.failure.evidence != []
    assert len(report.steps) == 9


async def test_a_refused_connection_shows_every_address_and_skips_the_rest() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        report = await probe(settings(port))
    assert (report.failure.stage, report.finding) == (Stage.CONNECT, "MR603")  # type: ignore[union-attr]
    assert f"127.0.0.1 port {port}" in report.failure.evidence[0]  # type: ignore[union-attr]
    assert list(statuses(report).values()) == ["pass", "fail", *["skipped"] * 7]


async def test_a_stripped_starttls_is_named_and_nothing_is_sent_in_clear() -> None:
    server = ScriptedServer(extensions=("AUTH PLAIN",))
    async with server.running():
        report = await ask(server, security="starttls", **LOGIN)
    assert (report.failure.stage, report.finding) == (Stage.TLS, "MR607")  # type: ignore[union-attr]
    assert [command.split(" ")[0] for command in server.commands] == ["EHLO"]


@pytest.mark.parametrize(
    ("recipient", "finding"),
    [
        ("x@example.test>\r\nDATA", "MR107"),
        ("a b@example.test", "MR107"),
        ("jørgen@example.test", "MR109"),
    ],
)
async def test_an_address_that_cannot_be_said_is_not_said(recipient: str, finding: str) -> None:
    server = ScriptedServer(extensions=("PIPELINING",))
    async with server.running():
        report = await probe(settings(server.port), sender="b@acme.test", recipient=recipient)
    assert report.finding == finding
    assert [command.split(" ")[0] for command in server.commands] == ["EHLO", "QUIT"]


async def test_a_message_over_the_size_is_told_without_mail() -> None:
    server = ScriptedServer(extensions=("SIZE 1000",))
    async with server.running():
        report = await probe(settings(server.port), sender="b@acme.test", message_size=1001)
    assert report.finding == "MR405"
    assert [command.split(" ")[0] for command in server.commands] == ["EHLO", "QUIT"]


@pytest.mark.parametrize(
    ("changes", "days", "finding"),
    [({}, (-1, 10), "MR612"), ({"verify": False}, (-1, 365), "MR620")],
)
async def test_a_risky_certificate_is_a_warning(
    changes: dict[str, Any],
    days: tuple[int, int],
    finding: str,
    ca_file: Path,
    server_context: MakeContext,
) -> None:
    server = ScriptedServer(extensions=OFFERS, context=server_context(days=days))
    async with server.running():
        report = await ask(server, security="starttls", ca_file=ca_file, **changes)
    assert [step.finding for step in report.warnings] == [finding]
    assert report.finding == ""


async def test_a_short_ehlo_name_is_a_warning() -> None:
    server = ScriptedServer()
    async with server.running():
        report = await ask(server, ehlo="billinghost")
    assert [step.finding for step in report.warnings] == ["MR619"]


async def test_one_dead_address_family_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    server = ScriptedServer()
    async with server.running():

        async def both(*_: object, **__: object) -> list[tuple[Any, ...]]:
            dead = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", server.port, 0, 0))
            live = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))
            return [dead, live]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)
        report = await ask(server)
    assert [step.finding for step in report.warnings] == ["MR604"]
