"""`--mask`: with it no mail address of the data is in anything that the doctor says."""

import io
import json
import re
import string
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from doctor_world import SENT_AT, World
from msgrun.database import Database
from msgrun.doctor import Report, masked
from msgrun.doctor.masking import Mask
from msgrun.states import MessageState, RunStatus
from msgrun.ui.doctor import print_report, report_document
from msgrun.ui.junit import document
from msgrun.ui.text import Printer, safe
from msgrun.ui.ticket import ticket_lines

NOW = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)


@pytest.fixture
def world(sqlite_database: Database, tmp_path: Path) -> World:
    return World(sqlite_database, tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("to anna@acme.test", "to a***@acme.test"),
        ("<anna.b+c@acme.test>", "<a***@acme.test>"),
        ("'anna@acme.test'", "'a***@acme.test'"),
        ("RCPT TO:<anna@a.test> a@b.test;c@d", "RCPT TO:<a***@a.test> a***@b.test;c***@d"),
        ("(o'neil@acme.test)", "(o***@acme.test)"),
        ('"anna b"@acme.test', "a***@acme.test"),
        ("mailto:anna%40acme.test", "mailto:a***%40acme.test"),
        ("SRS0=ab=acme.test=anna@relay.test", "S***@relay.test"),
        ("bjørn@acme.test, ü@ö.test", "b***@acme.test, ü***@ö.test"),
        ("a@[127.0.0.1]", "a***@[127.0.0.1]"),
        ("anna＠acme.test", "a***＠acme.test"),
        ("@acme.test, noreply@, example.*", "@acme.test, noreply@, example.*"),
        ("user@host:25 root@localhost", "u***@host:25 r***@localhost"),
    ],
)  # fmt: skip
def test_an_address_is_found_by_its_form(text: str, expected: str) -> None:
    assert Mask().text(text) == expected


def test_message_ids_are_left_for_those_who_search_for_them() -> None:
    text = "Message-ID <0123456789abcdef0123456789abcdef.12.r2@sender.test>"

    assert Mask().text(text) == text


@pytest.mark.parametrize("address", ["anna b@acme.test", "a,b@c.test; d@c.test", "x\ty@c.test"])
def test_a_known_address_is_masked_whatever_its_form(address: str) -> None:
    mask = Mask([address])

    for said in (address, f"{address!r}", address.upper()):
        assert address.lower() not in mask.text(f"about {said} it is").lower()
        assert repr(address)[1:-1] not in mask.text(f"about {said} it is")


def test_masking_twice_changes_nothing_more() -> None:
    for address in ("anna@acme.test", "'@acme.test", "\x1b@acme.test"):
        mask = Mask([address])
        once = mask.text(f"to {address}")

        assert mask.text(once) == once


def test_long_texts_are_masked_in_no_time() -> None:
    for text in ("a" * 300_000, '"' * 300_000, "a@" * 150_000, "'" * 300_000):
        Mask(["b@c.test"]).text(text)


def formats(report: Report) -> dict[str, str]:
    """Return the report in every format, each as its reader reads it."""
    texts = {}
    for verbose in (False, True):
        stream = io.StringIO()
        print_report(Printer(stream), report, verbose=verbose)
        texts[f"text {verbose}"] = stream.getvalue()
    told = report_document(report)
    texts["json"] = json.dumps(told)
    texts["json, read"] = "\n".join(leaves(told))
    root = ET.fromstring(ET.tostring(document(report, NOW)))
    texts["junit"] = "\n".join(
        part for each in root.iter() for part in (each.text or "", *each.attrib.values())
    )
    texts["ticket"] = "\n".join(ticket_lines(report, NOW))
    return texts


def leaves(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in leaves(each)]
    if isinstance(value, list):
        return [leaf for each in value for leaf in leaves(each)]
    return [str(value)]


def plant(world: World, addresses: list[str]) -> None:
    """Let these addresses be everywhere: in the data, the run's record, the replies."""
    world.empty("addresses")
    for number, address in enumerate(addresses):
        key = "invoice" if number % 2 == 0 else f"key{number}"
        world.add("addresses", customer="C1", key=key, address=address)


usual = st.builds(
    lambda local, domain: f"{local}@{domain}.test",
    st.text(alphabet=string.ascii_letters + string.digits + ".+-_'", min_size=1, max_size=20),
    st.text(alphabet=string.ascii_lowercase, min_size=1, max_size=10),
)
odd = st.builds(
    lambda local, domain: f"{local}@{domain}",
    # an asterisk cannot be told from the mask; NUL fits no column
    st.text(
        alphabet=st.characters(exclude_characters="*\x00", exclude_categories=["Cs"]),
        min_size=1,
        max_size=12,
    ),
    st.text(alphabet=string.ascii_lowercase + "., ;<>", min_size=1, max_size=8),
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(usual | odd, min_size=1, max_size=4, unique=True))
@example(["a b@acme.test", "noreply@acme.com", "anna@gmial.com"])
@example(['"quoted @ local"@acme.test', "x@y@z.test", "'@x.test"])
def test_no_address_of_the_data_is_in_any_format(world: World, addresses: list[str]) -> None:
    plant(world, addresses)
    report = world.ask()
    spelt = {
        form
        for each in addresses
        for form in (each, safe(each), repr(each)[1:-1], json.dumps(each)[1:-1])
        if form.rpartition("@")[0].strip()
    }

    shown = formats(report)["json, read"]
    hidden = formats(masked(report))

    assert not spelt or any(form in shown for form in spelt)
    for name, text in hidden.items():
        assert [form for form in spelt if form in text] == [], name


def test_replies_records_and_commands_are_masked_too(world: World) -> None:
    run = world.run()
    world.settle(
        run, MessageState.REJECTED, reason="MR506", stage="rcpt", code=550, enhanced="5.1.1",
        reply="<Secret.Person@acme.test>: unknown; ask boss@acme.test, not A@ACME.test",
        refused=[{"address": "other@acme.test", "code": 550, "enhanced": "5.1.1", "text": "no"}],
        sent_at=SENT_AT,
    )  # fmt: skip
    world.move(run, RunStatus.FINISHED)
    world.change("addresses", address="new.person@acme.test")

    for name, text in formats(masked(world.ask())).items():
        found = set(re.findall(r"[^\s<>'\",;(]+@[a-z.]+", text, re.IGNORECASE))
        for each in found:
            local = each.partition("@")[0]
            assert local.endswith("***") or re.match(r"[0-9a-f]{32}\.", local), (name, each)
    assert "S***@acme.test" in formats(masked(world.ask()))["ticket"]


def test_codes_stages_and_verdicts_are_as_without_a_mask(world: World) -> None:
    world.change("addresses", key="invoices")
    plain = world.ask()

    hidden = masked(plain)

    assert [(e.code, e.status, e.stage) for e in hidden.findings] == [
        (e.code, e.status, e.stage) for e in plain.findings
    ]
    assert (hidden.primary, hidden.exit_code) == (plain.primary, plain.exit_code)
    assert hidden.cases[0].record.message == plain.cases[0].record.message
