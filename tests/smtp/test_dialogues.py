"""Every stage times every failure: the dialogues beside this file, each with its verdict."""

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from msgrun.model import Verdict
from msgrun.transport.smtp import SmtpTransport
from smtp.letters import Asked, envelope, letter, settings
from smtp.server import ScriptedServer

EXTENSIONS = ("PIPELINING", "SIZE 10000000", "8BITMIME")
DIALOGUES = [
    pytest.param(dialogue, id=f"{path.stem}: {dialogue['promise']}")
    for path in sorted((Path(__file__).parent / "dialogues").glob("*.toml"))
    for dialogue in tomllib.loads(path.read_text())["dialogue"]
]


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "one by one"])
@pytest.mark.parametrize("dialogue", DIALOGUES)
async def test_each_dialogue_has_its_verdict_and_harms_no_later_message(
    dialogue: dict[str, Any], pipelining: bool
) -> None:
    script = {stage: [widen(a) for a in given] for stage, given in dialogue["answers"].items()}
    server = ScriptedServer(script, EXTENSIONS[0 if pipelining else 1 :])
    to = envelope(*dialogue.get("to", ()), bcc=tuple(dialogue.get("bcc", ())))
    first, second = Asked(), Asked()

    async with server.running():
        usual = settings(server.port)
        impatient = any(
            answer.startswith(("silent", "drip")) for given in script.values() for answer in given
        )
        if impatient:
            usual = replace(usual, timeout=0.3, dot_timeout=0.3)
        transport = SmtpTransport(usual)
        outcome = await transport.send(to, letter("<one@acme.test>"), first)
        seen = list(server.messages)
        server.behave()
        later = await transport.send(
            envelope("later@example.test"), letter("<two@acme.test>"), second
        )
        await transport.close()

    assert outcome.verdict == dialogue["verdict"], outcome
    assert outcome.stage == dialogue["stage"], outcome
    assert outcome.finding == dialogue.get("finding", ""), outcome
    code = outcome.reply.code if outcome.reply else None
    assert code == dialogue.get("code", 250 if outcome.verdict is Verdict.ACCEPTED else None)
    assert [refusal.address for refusal in outcome.refused] == dialogue.get("refused", [])
    assert [refusal.address for refusal in outcome.refused_bcc] == dialogue.get("refused_bcc", [])
    assert outcome.queue_id == dialogue.get("queue_id", outcome.queue_id)
    assert outcome.reply is not None or outcome.text
    assert first.times == dialogue.get("intent", 0)
    assert len(seen) == dialogue.get("delivered", dialogue.get("intent", 0))
    if "reached" in dialogue:
        assert seen[0].rcpts == [f"RCPT TO:<{address}>" for address in dialogue["reached"]]
    kept = dialogue.get("kept") or (not pipelining and dialogue.get("kept_one_by_one"))
    assert server.connections == (1 if kept else 2)
    assert later.verdict is Verdict.ACCEPTED
    assert b"<two@acme.test>" in server.messages[-1].data
    assert second.times == 1


def widen(answer: str) -> str:
    """Spell out `x*400` as so many x."""
    text, star, times = answer.rpartition("*")
    return text[: -len("x" * 16)] + "x" * 16 * int(times) if star and times.isdigit() else answer
