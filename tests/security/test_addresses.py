"""Addresses: one field is one address, no address is a command, none is silently encoded."""

import email.parser
import email.policy
from datetime import UTC, datetime
from email.utils import getaddresses
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_world import World, make_world
from letters_written import write_message
from msgrun.compose.mime import Head, mailbox
from msgrun.database import Database
from msgrun.errors import ComposeError
from msgrun.model import Address, Verdict
from msgrun.transport.smtp import SmtpTransport
from security.servers import serving
from smtp.letters import Asked, envelope, letter
from smtp.letters import settings as server_settings
from smtp.server import ScriptedServer

NOT_ONE_ADDRESS = [
    # CVE-2023-27043: the standard parser takes one part of these for the address.
    "alice@example.org)bob@example.com",
    "alice@example.org(bob@example.com",
    "alice@example.org<bob@example.com>",
    "alice@example.org>bob@example.com",
    "alice@example.org@bob@example.com",
    "alice@example.org,bob@example.com",
    "alice@example.org;bob@example.com",
    "alice@example.org:bob@example.com",
    "alice@example.org.bob@example.com",
    'alice@example.org"bob@example.com',
    "alice@example.org[bob@example.com",
    "alice@example.org]bob@example.com",
    "alice@example.org\\bob@example.com",
    "<alice@example.org>bob@example.com",
    "(alice@example.org)bob@example.com",
    '"alice@example.org" <bob@example.com>',
    "alice(comment)@example.org",
    "alice@(comment)example.org",
    "group: alice@example.org, bob@example.com;",
    "undisclosed-recipients:;",
    # Routes, literals and what only looks like an address.
    "@relay.example:alice@example.org",
    "<@relay.example:alice@example.org>",
    "alice%example.org@relay.example>",
    "alice@[192.0.2.1]",
    "alice@[IPv6:2001:db8::1]",
    "alice@localhost",
    "alice@192.0.2.1",
    "postmaster",
    "",
    "<>",
    "@",
    "alice@",
    "@example.org",
    "alice@@example.org",
    "mailto:alice@example.org?bcc=bob@example.com",
    '"alice"@example.org',
    '" alice"@example.org',
    '"a\\"b"@example.org',
    "alice@example..org",
    "alice@.example.org",
    "alice@example.org.",
    ".alice@example.org",
    "alice.@example.org",
    "al..ice@example.org",
    "alice@-example.org",
    "alice@exa_mple.org",
    "alice@" + "a" * 64 + ".org",
    "alice@" + ".".join(["a" * 60] * 5),
    "=?utf-8?q?bob=40example.com=2C?=@example.org",
    # What cannot be seen.
    "alice\u200b@example.org",
    "alice@exam\u200bple.org",
    "alice\u202e@example.org",
    "\ufeffalice@example.org",
    "alice\u00ad@example.org",
    "alice@example.org\u2028",
    "alice\u3000@example.org",
    "alice\ud800@example.org",
    "alice@example.org\x85RSET",
    "alice@example.org\u2028RSET",
]
COMMANDS = [
    "a@x.test>\r\nRCPT TO:<b@evil.test",
    "a@x.test\r\nDATA",
    "a@x.test>\r\nDATA\r\nSubject: x\r\n\r\n.\r\n",
    "a@x.test\nRSET",
    "a@x.test\rRSET",
    "a@x.test\0",
    "a@x.test> NOTIFY=SUCCESS",
    "a@x.test> ORCPT=rfc822;b@evil.test",
    "a@x.test><b@evil.test",
    "a\t@x.test",
    "a\x0b@x.test",
    "a\x7f@x.test",
    "\r\n.\r\nMAIL FROM:<b@evil.test>",
    "a@x.test\ud800",
]
IN_ASCII = [
    ("ann@bücher.example.com", "ann@xn--bcher-kva.example.com"),
    ("ann@straße.example.com", "ann@xn--strae-oqa.example.com"),
    ("ann@例え.example.com", "ann@xn--r8jz45g.example.com"),
    ("ann@EXAMPLE.com", "ann@example.com"),
    ("ann@BÜCHER.example.com", "ann@xn--bcher-kva.example.com"),
    ("ann@bu\u0308cher.example.com", "ann@xn--bcher-kva.example.com"),  # u and a combining ¨
    ("ann@example。com", "ann@example.com"),
    ("ann@\u0430pple.com", "ann@xn--pple-43d.com"),  # a Cyrillic а is not hidden any more
    ("ann@xn--bcher-kva.example.com", "ann@xn--bcher-kva.example.com"),
]
DATE = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize("bad", NOT_ONE_ADDRESS + COMMANDS)
def test_what_is_not_exactly_one_address_is_refused(bad: str) -> None:
    with pytest.raises(ComposeError) as caught:
        mailbox(Address(bad))

    assert caught.value.finding in {"MR107", "MR108"}
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("bad", COMMANDS)
@pytest.mark.parametrize("place", ["to", "bcc", "from"])
async def test_no_address_is_a_command_on_the_wire(bad: str, place: str) -> None:
    """The session's own fence, should an address ever come past the composer's."""
    hostile = {
        "to": envelope(bad),
        "bcc": envelope(bcc=(bad,)),
        "from": envelope(sender=bad),
    }[place]
    server = ScriptedServer()
    async with server.running():
        transport = SmtpTransport(server_settings(server.port))
        outcome = await transport.send(hostile, letter(), Asked())
        await transport.close()

    assert outcome.verdict is Verdict.REJECTED
    assert [line.split(" ")[0] for line in server.commands] == ["EHLO", "QUIT"]


@pytest.mark.parametrize(("given_", "wire"), IN_ASCII)
def test_a_domain_goes_on_the_wire_in_ascii(given_: str, wire: str) -> None:
    box = mailbox(Address(given_, "Ann"))

    data = write_message(Head(box, (box,), "s", DATE, "<1@us.test>"), "t", None, [])

    assert box.address == wire
    assert not box.smtputf8
    assert data.isascii()
    assert f"To: Ann <{wire}>\r\n".encode() in data


def recipients_as_read(data: bytes) -> list[list[str]]:
    """To, as the strict and the old parser read it."""
    strict = email.parser.BytesParser(policy=email.policy.default).parsebytes(data)
    old = email.parser.BytesParser(policy=email.policy.compat32).parsebytes(data)
    assert strict["To"].defects == ()
    return [
        [each.addr_spec for each in strict["To"].addresses],
        [address for _, address in getaddresses([str(old["To"])])],
    ]


@pytest.mark.parametrize(
    "name",
    [
        "Müller, Söhne & Töchter GmbH, Abteilung Rechnungswesen, z. Hd. Frau Größe, " * 3,
        "Acme, Inc., " * 20,
        "株式会社、テスト, x@evil.test, " * 10,
        "x@evil.test, y@evil.test",
        "<x@evil.test>, Acme",
        'Acme" <x@evil.test>, "',
        "Acme\\",
        "Acme (x@evil.test)",
        "group: x@evil.test;",
        "ä, <x@evil.test>" * 9,
        "a," * 60,
        ", " * 60,
    ],
)
def test_no_name_however_long_makes_a_second_recipient(name: str) -> None:
    boxes = (mailbox(Address("a@acme.test", name)), mailbox(Address("b@acme.test", name)))

    data = write_message(Head(boxes[0], boxes, "s", DATE, "<1@us.test>"), "t", None, [])

    assert recipients_as_read(data) == [["a@acme.test", "b@acme.test"]] * 2


SEPARATORS = st.sampled_from(
    [",", ", ", ";", "<", ">", '"', "\\", "@", "(", ")", ":", "[", "]", " "]
)
NAMES = st.lists(
    SEPARATORS | st.sampled_from(["ü", "x@evil.test", "<y@evil.test>", "a" * 70, "Ä" * 30]),
    max_size=30,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=4))
def test_whatever_the_names_the_recipients_are_those_of_the_envelope(names: list[str]) -> None:
    boxes = tuple(mailbox(Address(f"c{n}@acme.test", name)) for n, name in enumerate(names))

    data = write_message(Head(boxes[0], boxes, "s", DATE, "<1@us.test>"), "t", None, [])

    assert recipients_as_read(data) == [[box.address for box in boxes]] * 2


def readdressed(world: World, address: str) -> World:
    world.change("addresses", {"customer": "C002"}, address=address)
    return world


def test_a_local_part_outside_ascii_is_held_where_the_server_cannot_take_it(
    database: Database, tmp_path: Path
) -> None:
    server = ScriptedServer(extensions=("PIPELINING", "8BITMIME"))
    with serving(server):
        world = readdressed(make_world(database, tmp_path, server.port), "stanisław@wp.test")
        world.start()

    assert {m.reason for m in world.messages() if m.customer == "C002"} == {"MR109"}
    assert len(server.messages) == 3  # it stopped nobody else
    on_the_wire = b"".join(server.chunks)
    for form in (b"stanis", b"=?utf-8", b"SMTPUTF8"):
        assert form not in on_the_wire


def test_a_local_part_outside_ascii_goes_unencoded_where_the_server_takes_it(
    database: Database, tmp_path: Path
) -> None:
    server = ScriptedServer()
    with serving(server):
        world = readdressed(make_world(database, tmp_path, server.port), "stanisław@wp.test")
        world.start()

    (one,) = [each for each in server.messages if "stanis" in each.rcpts[0]]
    assert one.rcpts == ["RCPT TO:<stanisław@wp.test>"]
    assert one.mail.endswith("SMTPUTF8")
    assert "\r\nTo: stanisław@wp.test\r\n".encode() in one.data
    assert all(each.data.isascii() for each in server.messages if each is not one)
