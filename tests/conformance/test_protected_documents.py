"""Documents leave protected or not at all, and a resend makes the same bytes or is refused."""

import json
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from io import BytesIO
from pathlib import Path

import pikepdf
import pytest
import pyzipper

from billing_world import World, address, bill, code
from msgrun.compose.message import compose
from msgrun.demo.sink import Sink
from msgrun.model import ComposedMessage
from msgrun.planning.draft import draft_run

PIN = "4711 straße"
MOMENT = datetime(2026, 11, 3, tzinfo=UTC)


def protected(world: World, settings: str) -> None:
    """Protect the documents; customer 1 and 2 have a password, 3 a blank one, 4 none."""
    world.reconfigure('documents = ["pdf"]', f'documents = ["pdf"]\npassword_key = "pin"{settings}')
    world.change("customers", {"code": code(1)}, meta=json.dumps({"pin": PIN}))
    world.change("customers", {"code": code(2)}, meta=json.dumps({"pin": 22}))
    world.change("customers", {"code": code(3)}, meta=json.dumps({"pin": " "}))
    world.change("customers", {"code": code(4)}, meta=json.dumps({"pn": "x", "a": {"pin": 1}}))


def attachments(sink: Sink) -> dict[str, EmailMessage]:
    found = {}
    for entry in sink.received:
        message = message_from_bytes(Path(entry.path).read_bytes(), policy=policy.default)
        assert isinstance(message, EmailMessage)
        (part,) = message.iter_attachments()
        assert isinstance(part, EmailMessage)
        found[message["To"].addresses[0].addr_spec] = part
    return found


def composed(world: World) -> ComposedMessage:
    selection = world.selection(customers=[code(1)])
    criteria = world.workspace.criteria(world.frozen, selection)
    with draft_run(world.database, world.workspace.source, world.frozen, criteria) as draft:
        ((_, context),) = draft.sample(1)
    assert context is not None
    revision = world.workspace.revision(world.frozen, selection)
    return compose(
        revision.recipe,
        revision.renderer,
        context,
        recipients=context.addresses,
        message_id="<1@acme.test>",
        date=MOMENT,
    )[1]


def test_customers_get_an_archive_that_their_password_opens_and_nobody_an_open_one(
    world: World, sink: Sink
) -> None:
    protected(world, "\nzip = true")

    ending = world.start()

    assert ending.summary.counts.sent == 2
    assert world.states() == {
        bill(1): "sent",
        bill(2): "sent",
        bill(3): "MR408",
        bill(4): "MR408",
    }
    for number, password in ((1, PIN), (2, "22")):
        part = attachments(sink)[address(number)]
        assert part.get_filename() == "documents.zip"
        with pyzipper.AESZipFile(BytesIO(part.get_payload(decode=True))) as archive:
            archive.setpassword(password.encode())
            assert code(number).encode() in archive.read("document-1.pdf")
            archive.setpassword(b"wrong")
            with pytest.raises(RuntimeError, match="password"):
                archive.read("document-1.pdf")


def test_a_pdf_is_given_the_customers_password(world: World, sink: Sink) -> None:
    protected(world, "")
    made = BytesIO()
    with pikepdf.new() as document:
        document.add_blank_page()
        document.save(made)
    for number in (1, 2):
        (world.folder / "documents" / f"{bill(number)}.pdf").write_bytes(made.getvalue())

    assert world.start().summary.counts.sent == 2

    content = attachments(sink)[address(1)].get_payload(decode=True)
    with pytest.raises(pikepdf.PasswordError):
        pikepdf.open(BytesIO(content))
    with pikepdf.open(BytesIO(content), password=PIN) as document:
        assert (len(document.pages), document.encryption.R) == (1, 6)


def test_a_password_that_is_filled_in_later_lets_the_message_go(world: World, sink: Sink) -> None:
    protected(world, "\nzip = true")
    world.start()
    world.change("customers", {"code": code(4)}, meta=json.dumps({"pin": "four"}))

    ending, _ = world.restart(failed=True)

    assert (ending.summary.counts.sent, ending.summary.skipped) == (3, {"MR408": 1})


def test_the_password_is_in_no_message(world: World, sink: Sink) -> None:
    protected(world, "\nzip = true")
    (world.folder / "monthly.txt").write_text("{{ customer.meta.pin | default('none') }}\n")

    world.start(customers=[code(1)])

    (entry,) = sink.received
    message = message_from_bytes(Path(entry.path).read_bytes(), policy=policy.default)
    assert isinstance(message, EmailMessage)
    body = message.get_body(("plain",))
    assert body is not None
    assert body.get_content().strip() == "none"


def test_an_archive_is_made_again_to_the_byte(world: World) -> None:
    protected(world, "\nzip = true")

    assert composed(world).sha256 == composed(world).sha256
