"""Header injection: no data makes a header field, and what is composed is read again to see it."""

import email.parser
import email.policy
from dataclasses import replace
from datetime import UTC, datetime
from email.header import decode_header
from email.message import EmailMessage

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from letters_written import write_message
from msgrun.compose import FORGING
from msgrun.compose.message import Recipe, compose
from msgrun.compose.mime import Head, Mailbox, mailbox
from msgrun.compose.render import Renderer, TemplateSources
from msgrun.errors import ComposeError
from msgrun.model import Address, ComposedMessage, Customer, Document, Envelope, Invoice
from msgrun.model import MessageContext as Context

DATE = datetime(2026, 11, 1, 7, tzinfo=UTC)
HELLO = "Dear {{ customer.name }}"
RENDERER = Renderer(TemplateSources("{{ invoice.number }} {{ customer.name }}", HELLO, HELLO))
FORGED = [
    "a\r\nBcc: x@evil.test",
    "a\nBcc: x@evil.test",
    "a\rBcc: x@evil.test",
    "a\r\n\r\n<p>another body",
    "a\x00b",
    "a\x0bBcc: x@evil.test",
    "a\x0cBcc: x@evil.test",
    "a\x1cBcc: x@evil.test",
    "a\x1dBcc: x@evil.test",
    "a\x1eBcc: x@evil.test",
    "a\x1b]0;title\x07",
    "a\x7fb",
    "a\x85Bcc: x@evil.test",
    "a\x9bb",
    "a\u2028Bcc: x@evil.test",
    "a\u2029Bcc: x@evil.test",
    "a\ud800b",
    "=?UTF-8?Q?hello=0ABcc:_x@e.com?=",  # CVE-2024-6923 and kin
    "=?utf-8?q?=0D=0ABcc:_x@evil.test?=",
    "=?UTF-8?B?aGVsbG8KQmNjOiB4QGUuY29t?=",
    "x =?utf-8?q?y?= z",
    "=?",
    '"=?utf-8?q?x?=" <x@evil.test>',
]

# Everything that may stand in a name; of it much that a parser could stumble over.
PIECES = st.sampled_from(
    ["\r\n", "\n", "\r", "\0", "\x0b", "\x85", "\u2028", "=?", "?=", "=?utf-8?q?=0ABcc:_x?=",
     "Bcc:", "Bcc: x@evil.test", "To:", "<x@evil.test>", "x@evil.test,", ", ", ";", ":", "@",
     "<", ">", '"', "\\", "(", ")", "%0d%0a", "=0D=0A", "&#10;", " ", "  ", "\t", "ü", "株式会社",
     "\u202e", "\u200b", "\ufeff", "--=_", "Content-Type: text/html", "a" * 80, "ä" * 40,
     "[contoso.com]", "\ud800"]
)  # fmt: skip
WORDS = st.lists(PIECES | st.text(max_size=8), max_size=8).map("".join)


def composed(
    *,
    customer: str = "Acme",
    shown: str = "Ann",
    file: str = "INV-1.pdf",
    sender: str = "Billing",
    code: str = "C1",
    number: str = "INV-1",
    redirect_to: str | None = None,
    message_id: str = "<1@us.test>",
    address: str = "a@acme.test",
) -> tuple[Envelope, ComposedMessage]:
    """A message in which each of these can be hostile."""
    recipe = Recipe(
        definition="monthly",
        sender_address="billing@us.test",
        sender_name=sender,
        reply_to="help@us.test",
        bcc=("archive@us.test",),
        documents=("pdf",),
        redirect_to=redirect_to,
    )
    context = Context(
        Customer(code, customer),
        (Address(address, shown), Address("b@acme.test", shown)),
        (Invoice("1", code, number, "Approved"),),
        (Document("1", "pdf", file, "application/pdf", content=b"%PDF-"),),
    )
    return compose(
        recipe,
        RENDERER,
        context,
        recipients=context.addresses,
        message_id=message_id,
        date=DATE,
    )


def refused(**hostile: str) -> str:
    with pytest.raises(ComposeError) as caught:
        composed(**hostile)
    return caught.value.finding


@pytest.mark.parametrize("forged", FORGED)
def test_every_header_field_refuses_what_could_forge_one(forged: str) -> None:
    assert refused(customer=forged) in {"MR303", "MR304"}  # in the subject
    assert refused(shown=forged) == "MR107"
    assert refused(sender=forged) == "MR203"
    assert refused(file=f"{forged}.pdf") == "MR403"
    assert refused(code=forged, redirect_to="me@us.test") == "MR006"
    assert refused(message_id=f"<{forged}@us.test>") == "MR006"
    assert refused(message_id=f"<1@{forged}>") == "MR006"
    assert refused(address=f"{forged}@acme.test") in {"MR107", "MR108"}
    assert refused(address=f"a@{forged}.test") in {"MR107", "MR108"}


@pytest.mark.parametrize("forged", FORGED)
def test_the_writer_itself_refuses_it_too(forged: str) -> None:
    head = Head(
        Mailbox("billing@us.test"), (Mailbox("a@acme.test"),), "Invoice", DATE, "<1@us.test>"
    )
    for hostile in (
        replace(head, subject=forged),
        replace(head, extra=(("X-Note", forged),)),
        replace(head, message_id=f"<{forged}@us.test>"),
    ):
        with pytest.raises(ComposeError):
            write_message(hostile, "t", None, [])
    with pytest.raises(ComposeError):
        mailbox(Address("a@acme.test", forged))


def parsed(data: bytes) -> EmailMessage:
    message = email.parser.BytesParser(policy=email.policy.default).parsebytes(data)
    assert isinstance(message, EmailMessage)
    return message


TOP = ["From", "To", "Reply-To", "Subject", "Date", "Message-ID", "MIME-Version", "Auto-Submitted"]
PARTS = [["Content-Type"], *[["Content-Type", "Content-Transfer-Encoding"]] * 2,
         ["Content-Type", "Content-Transfer-Encoding", "Content-Disposition"]]  # fmt: skip


def assert_only_what_was_meant(data: bytes, redirected: bool) -> None:
    """The standard parser finds exactly the meant fields and recipients, also after decoding."""
    message = parsed(data)
    top, *parts = list(message.walk())
    extra = ["X-Msgrun-Redirected-From"] if redirected else []
    assert top.keys() == [*TOP, *extra, "Content-Type"]
    assert [part.keys() for part in parts] == PARTS
    assert not any(part.defects for part in message.walk())
    to = ["me@us.test"] if redirected else ["a@acme.test", "b@acme.test"]
    assert [each.addr_spec for each in message["To"].addresses] == to
    assert [each.addr_spec for each in message["From"].addresses] == ["billing@us.test"]
    for name in ("Subject", "From", "To", *extra):
        raw = str(email.parser.BytesHeaderParser().parsebytes(data)[name])
        once = "".join(
            piece.decode(charset or "ascii") if isinstance(piece, bytes) else piece
            for piece, charset in decode_header(raw.replace("\r\n", ""))
        )
        assert not FORGING.search(once)  # a second decoding finds nothing to decode


@settings(max_examples=400, deadline=None)
@given(WORDS, WORDS, WORDS, WORDS, WORDS, st.booleans())
def test_whatever_the_data_holds_it_is_refused_or_stays_in_its_field(
    customer: str, shown: str, file: str, sender: str, code: str, redirected: bool
) -> None:
    try:
        envelope, message = composed(
            customer=customer, shown=shown, file=file, sender=sender, code=code,
            redirect_to="me@us.test" if redirected else None,
        )  # fmt: skip
    except ComposeError as error:
        finding = error.finding
    else:
        finding = ""
    event(finding or "sent")
    if finding:
        assert finding in {"MR006", "MR107", "MR203", "MR303", "MR304", "MR403"}
        return
    assert_only_what_was_meant(message.data, redirected)
    assert envelope.recipients == (
        ("me@us.test",) if redirected else ("a@acme.test", "b@acme.test")
    )
    assert b"archive@us.test" not in message.data


HARMLESS = WORDS.map(lambda word: FORGING.sub("", word)).filter(lambda w: not FORGING.search(w))


@settings(max_examples=200, deadline=None)
@given(HARMLESS, HARMLESS, HARMLESS, HARMLESS)
def test_what_is_merely_odd_is_sent_and_stays_in_its_field(
    customer: str, shown: str, file: str, sender: str
) -> None:
    _, message = composed(customer=customer[:200], shown=shown, file=f"{file}.pdf", sender=sender)

    assert_only_what_was_meant(message.data, redirected=False)


def test_the_known_string_makes_a_header_of_this_python_and_not_of_msgrun() -> None:
    """Show that the danger is real where it is: the standard library may decode and write it."""
    subject = "=?UTF-8?Q?hello=0ABcc:_x@e.com?="
    assert "\n" in decode_header(subject)[0][0].decode()

    assert refused(customer=subject) == "MR304"
    with pytest.raises(ComposeError):
        composed(shown=subject)
