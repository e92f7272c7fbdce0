"""The catalogue of finding codes: a contract that scripts and people rely on."""

import re
from pathlib import Path

import pytest

import msgrun
from msgrun.catalogue import CATALOGUE, RESERVED, STATE_TEXTS, explain, info
from msgrun.states import MessageState, RunStatus

CONTRACT = """
MR001 | error | Database unreachable, or schema older than the program
MR002 | warning | Clock differs between database and host
MR003 | warning | Time zones unset or different
MR004 | error | Disk or spool full
MR005 | error | Unknown setting
MR006 | error | Source mapping broken
MR090 | none | A check itself crashed
MR091 | none | Not determinable
MR101 | error | No such customer
MR102 | error | Customer suspended
MR103 | error | Not in the cluster
MR104 | error | Cluster loop or orphan
MR105 | error | No address under the key
MR106 | error | Near-miss key
MR107 | error | Malformed address
MR108 | error | Address holds spaces, quotes or several addresses
MR109 | error | Non-ASCII local part
MR110 | warning | Placeholder address (noreply@, example.*)
MR111 | warning | Probable domain typo (gmial.com)
MR112 | error | Bounced or suppressed before
MR121 | error | No invoice at all
MR122 | error | Invoice in another period
MR123 | error | Invoice in the wrong status
MR124 | error | Became eligible after the selection was made
MR125 | info | Already sent under this definition
MR126 | warning | Held by another unfinished run
MR127 | info | Beyond `--limit`
MR128 | info | Its run was cancelled
MR201 | error | No such definition, or disabled
MR202 | error | From key unknown
MR203 | error | From address invalid
MR204 | error | Recipient key that no customer has
MR205 | error | Selects nobody
MR207 | warning | Definitions overlap
MR301 | error | Syntax error
MR302 | error | Undefined variable for this customer
MR303 | error | Rendering failed or took too long
MR304 | error | Subject empty, with control characters, or too long
MR305 | warning | Body empty, or `{{` left over
MR401 | error | Document missing (never generated)
MR402 | error | Unreadable
MR403 | error | Empty, or not what it says it is
MR405 | error | Larger than the server's SIZE
MR406 | warning | Type that servers block
MR407 | error | Outside the documents folder
MR408 | error | Password key without a value
MR501 | error | No run has been started for this period
MR502 | error | Run stopped, paused or with failures
MR503 | error | Run claims to be running, but nothing works on it
MR504 | error | Schedule missed
MR505 | warning | Message waits or is deferred
MR506 | error | Refused for good
MR507 | warning | In doubt
MR508 | info | Accepted by the server
MR509 | error | Bounced later
MR510 | warning | Sent to another address than today's
MR511 | error | Redirect or rehearsal was on
MR512 | error | Leak guard: documents, invoice and address of different customers
MR513 | error | Deadline passed while deferred
MR601 | error | Host, port, user or password not set
MR602 | error | Host name does not resolve
MR603 | error | Connection refused or timed out
MR604 | warning | Only one address family works
MR605 | error | No banner, late banner, or not SMTP
MR606 | error | TLS mode does not fit the port
MR607 | error | STARTTLS not offered
MR608 | error | Certificate: other host name
MR609 | error | Certificate expired
MR610 | error | Certificate not yet valid
MR611 | error | Certificate from an unknown issuer
MR612 | warning | Certificate expires within 14 days
MR613 | error | TLS older than 1.2
MR614 | error | AUTH not offered, or no common mechanism
MR615 | error | AUTH refused
MR616 | error | Sender refused
MR617 | error | Recipient refused by our own server
MR618 | warning | Throttled
MR619 | warning | EHLO name is not a full host name
MR620 | warning | Certificate check switched off
MR801 | error | Recipient's domain does not exist
MR802 | error | Null MX
MR803 | error | No MX, A or AAAA
MR811 | warning | SPF: none
MR812 | warning | SPF: several
MR813 | warning | SPF: over 10 look-ups, or a loop
MR814 | warning | SPF: declared outbound IP does not pass
MR821 | warning | DKIM: selector's record missing
MR822 | warning | DKIM: bad key
MR823 | warning | DKIM: a received sample does not verify or align
MR831 | warning | DMARC: none
MR832 | warning | DMARC: invalid
MR833 | warning | Neither SPF nor DKIM aligned with From
MR841 | warning | Declared outbound IP has no confirmed PTR
MR842 | warning | Free-mail From through another server
MR843 | info | Over the bulk threshold of a provider
"""

COMMANDS = {
    *("init", "demo", "db upgrade", "db current", "import", "plan", "start", "stop", "restart"),
    *("cancel", "resolve", "runs", "show", "results", "watch", "doctor", "explain", "send-test"),
    *("worker", "workers", "bounces", "evidence"),
    *("report", "events", "metrics", "purge"),
    *("schedule list", "schedule run-due", "schedule install"),
    *("schedule pause", "schedule resume"),
    *("preview", "rehearse"),
    *("show-context",),
}

TEXTS = {
    **{code: f"{entry.explanation} {entry.remedy}" for code, entry in CATALOGUE.items()},
    **STATE_TEXTS,
}


def test_codes_titles_and_severities_are_the_published_ones() -> None:
    published = [tuple(line.split(" | ")) for line in CONTRACT.strip().splitlines()]

    assert [(e.code, e.severity, e.title) for e in CATALOGUE.values()] == published


def test_codes_stand_in_ascending_order_under_their_own_key() -> None:
    assert list(CATALOGUE) == sorted(CATALOGUE)
    assert all(code == entry.code for code, entry in CATALOGUE.items())


def test_no_code_is_listed_twice() -> None:
    assert len(CATALOGUE) == len(CONTRACT.strip().splitlines())


def test_retired_numbers_are_never_used_again() -> None:
    assert {"MR206", "MR404"} == RESERVED
    assert RESERVED.isdisjoint(CATALOGUE)
    assert all(explain(code) is None for code in RESERVED)


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.code)
def test_every_code_is_explained_in_two_to_five_sentences_with_a_remedy(entry) -> None:
    sentences = re.findall(r"[.!?](?= [A-Z\"`]| msgrun|$)", entry.explanation)

    assert 2 <= len(sentences) <= 5
    assert entry.explanation.endswith(".")
    assert entry.remedy.endswith(".")


@pytest.mark.parametrize("word", TEXTS)
def test_texts_name_only_commands_that_exist(word: str) -> None:
    named = re.findall(r"`msgrun ((?:db )?[a-z-]+)", TEXTS[word])

    assert set(named) <= COMMANDS


@pytest.mark.parametrize("word", TEXTS)
def test_texts_are_printable_and_free_of_stray_spaces(word: str) -> None:
    assert TEXTS[word].isprintable()
    assert "  " not in TEXTS[word]
    assert TEXTS[word].count("`") % 2 == 0


@pytest.mark.parametrize("word", TEXTS)
def test_texts_name_only_codes_of_the_catalogue(word: str) -> None:
    assert set(re.findall(r"MR[0-9]{3}", TEXTS[word])) <= set(CATALOGUE)


def test_an_in_doubt_message_is_said_never_to_be_sent_again_by_itself() -> None:
    assert "never sends it again by itself" in info("MR507").explanation


def test_every_state_and_status_has_a_text() -> None:
    assert set(STATE_TEXTS) == set(MessageState) | set(RunStatus)


def test_no_word_is_both_a_message_state_and_a_run_status() -> None:
    assert set(map(str, MessageState)).isdisjoint(map(str, RunStatus))


@pytest.mark.parametrize("asked", ["MR106", "mr106", "106", " Mr106 "])
def test_a_code_is_explained_however_it_is_written(asked: str) -> None:
    explanation = explain(asked)

    assert explanation is not None
    assert (explanation.word, explanation.kind) == ("MR106", "finding")
    assert explanation.text == CATALOGUE["MR106"].explanation
    assert explanation.remedy == CATALOGUE["MR106"].remedy


@pytest.mark.parametrize("asked", ["in_doubt", "In doubt", "in-doubt"])
def test_a_message_state_is_explained_however_it_is_written(asked: str) -> None:
    explanation = explain(asked)

    assert explanation is not None
    assert (explanation.word, explanation.kind) == ("in_doubt", "message state")
    assert explanation.title == "Message state: in doubt"


def test_a_run_status_is_explained() -> None:
    explanation = explain("paused")

    assert explanation is not None
    assert (explanation.kind, explanation.severity) == ("run status", "none")
    assert explanation.text == STATE_TEXTS["paused"]


@pytest.mark.parametrize("asked", ["", "MR", "MR999", "1106", "MR106x", "١٠٦", "delivered"])
def test_an_unknown_word_has_no_explanation(asked: str) -> None:
    assert explain(asked) is None


def test_info_of_an_unknown_code_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        info("MR999")


def test_every_code_that_the_program_can_name_has_its_text():
    package = Path(msgrun.__file__).parent
    named = {
        code
        for file in package.rglob("*.py")
        if "catalogue" not in file.parts
        for code in re.findall(r"MR\d{3}", file.read_text("utf-8"))
    }

    assert named - set(CATALOGUE) == set()
