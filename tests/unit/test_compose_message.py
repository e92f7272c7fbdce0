"""One message: the leak guard, documents, redirection, envelope."""

import email
import email.policy
import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from msgrun.compose import message as message_module
from msgrun.compose.attachments import Attachment
from msgrun.compose.message import Recipe, compose
from msgrun.compose.mime import Written
from msgrun.compose.render import Renderer, TemplateSources
from msgrun.compose.reread import ExpectedHeaders, verify_headers
from msgrun.errors import ComposeError
from msgrun.model import Address, ComposedMessage, Customer, Document, Envelope, Invoice
from msgrun.model import MessageContext as Context

DATE = datetime(2026, 11, 1, 7, tzinfo=UTC)
RENDERER = Renderer(
    TemplateSources("Invoice {{ invoice.number }}", "Dear {{ customer.name }}", "<p>Hello</p>")
)
RECIPE = Recipe(
    definition="monthly",
    sender_address="billing@us.test",
    sender_name="Billing",
    reply_to="help@us.test",
    bcc=("archive@us.test",),
    documents=("pdf", "ubl"),
)


def document(invoice: str, kind: str, filename: str = "") -> Document:
    content = b"%PDF-" + invoice.encode() if kind == "pdf" else b"<ubl/>" + invoice.encode()
    media_type = "application/pdf" if kind == "pdf" else "application/xml"
    name = filename or f"INV-{invoice}.{kind}"
    return Document(invoice, kind, name, media_type, content=content)


CONTEXT = Context(
    customer=Customer("C1", "Acme"),
    addresses=(Address("a@acme.test", "Ann"), Address("b@acme.test")),
    invoices=(Invoice("1", "C1", "INV-1", "Approved"), Invoice("2", "C1", None, "Approved")),
    documents=tuple(document(i, kind) for kind in ("ubl", "pdf") for i in ("2", "1")),
)


def composed(
    recipe: Recipe = RECIPE, context: Context = CONTEXT, **changes: Any
) -> tuple[Envelope, ComposedMessage]:
    arguments = {"recipients": context.addresses, "message_id": "<1@us.test>", "date": DATE}
    return compose(recipe, RENDERER, context, **(arguments | changes))


def parsed(message: ComposedMessage) -> EmailMessage:
    result = email.message_from_bytes(message.data, policy=email.policy.default)
    assert isinstance(result, EmailMessage)
    return result


def finding(recipe: Recipe = RECIPE, context: Context = CONTEXT, **changes: Any) -> str:
    with pytest.raises(ComposeError) as caught:
        composed(recipe, context, **changes)
    return caught.value.finding


def test_a_message_goes_to_the_customer_with_its_documents():
    envelope, message = composed()

    read = parsed(message)
    assert envelope == Envelope(
        "billing@us.test", ("a@acme.test", "b@acme.test"), ("archive@us.test",)
    )
    assert [a.addr_spec for a in read["To"].addresses] == ["a@acme.test", "b@acme.test"]
    assert (read["Subject"], read["Reply-To"]) == ("Invoice INV-1", "help@us.test")
    assert (message.message_id, message.date) == ("<1@us.test>", DATE)
    assert message.sha256 == hashlib.sha256(message.data).hexdigest()
    assert b"archive@us.test" not in message.data
    assert b"bcc" not in message.data.lower()


def test_documents_stand_by_invoice_then_in_the_definitions_order():
    _, message = composed()

    assert [part.get_filename() for part in parsed(message).iter_attachments()] == [
        "INV-1.pdf",
        "INV-1.ubl",
        "INV-2.pdf",
        "INV-2.ubl",
    ]


def test_composing_again_makes_the_same_bytes():
    assert composed()[1] == composed()[1]


def test_unwanted_documents_are_left_out():
    _, message = composed(replace(RECIPE, documents=("ubl",)))

    assert [part.get_filename() for part in parsed(message).iter_attachments()] == [
        "INV-1.ubl",
        "INV-2.ubl",
    ]


def test_every_invoice_must_have_every_wanted_document():
    lacking = replace(CONTEXT, documents=CONTEXT.documents[:-1])

    assert finding(context=lacking) == "MR401"


@pytest.mark.parametrize(
    "leaking",
    [
        replace(CONTEXT, customer=Customer("C2", "Other")),
        replace(CONTEXT, invoices=(*CONTEXT.invoices, Invoice("3", "C2", "INV-3", "Approved"))),
        replace(CONTEXT, documents=(*CONTEXT.documents, document("3", "pdf"))),
        replace(CONTEXT, documents=(*CONTEXT.documents, document("3", "unwanted"))),
        replace(CONTEXT, invoices=(), documents=()),
    ],
    ids=["customer", "invoice", "document", "unwanted document", "no invoice"],
)
def test_what_belongs_to_another_customer_never_leaves(leaking):
    assert finding(context=leaking) == "MR512"


def test_an_address_of_another_customer_gets_nothing():
    with pytest.raises(ComposeError) as caught:
        composed(recipients=(Address("a@acme.test"), Address("x@other.test")))

    assert caught.value.finding == "MR512"
    assert "x@other.test" in caught.value.message
    assert "C1" in caught.value.message


def test_the_leak_guard_comes_before_every_other_fault():
    leaking = replace(CONTEXT, customer=Customer("C2", "Other"), documents=())

    assert finding(context=leaking, recipients=()) == "MR512"


def test_an_attachment_loaded_for_another_invoice_never_leaves(monkeypatch):
    def mistaken(wanted: Document, root: Path) -> Attachment:
        return Attachment(wanted.filename, wanted.media_type, b"%PDF-", "another")

    monkeypatch.setattr(message_module, "load_document", mistaken)

    assert finding() == "MR512"


@pytest.mark.parametrize(
    ("meant", "written"),
    [
        (b"\r\nSubject:", b"\r\nBcc: x@evil.test\r\nSubject:"),
        (b"b@acme.test", b"b@acme.test, x@evil.test"),
        (b"\r\nContent-Disposition", b"\r\nX: y\r\nContent-Disposition"),
    ],
)
def test_a_fault_of_the_writer_is_found_before_the_message_leaves(monkeypatch, meant, written):
    really_write = message_module.write_message

    def faulty(*parts: Any) -> Written:
        really = really_write(*parts)
        return replace(really, data=really.data.replace(meant, written, 1))

    monkeypatch.setattr(message_module, "write_message", faulty)

    assert finding() == "MR512"


def test_without_a_recipient_there_is_no_message():
    assert finding(recipients=()) == "MR105"


def test_an_address_given_twice_gets_one_copy():
    twice = replace(CONTEXT, addresses=(Address("a@acme.test", "Ann"), Address("a@acme.test")))

    envelope, message = composed(replace(RECIPE, bcc=("a@acme.test",)), twice)

    assert (envelope.recipients, envelope.bcc) == (("a@acme.test",), ())
    assert parsed(message)["To"] == "Ann <a@acme.test>"


@pytest.mark.parametrize(
    ("address", "code"), [("a@acme", "MR107"), ("a@acme.test, b@acme.test", "MR108")]
)
def test_a_recipients_bad_address_is_its_own_fault(address, code):
    assert finding(context=replace(CONTEXT, addresses=(Address(address),))) == code


@pytest.mark.parametrize(
    "recipe",
    [
        replace(RECIPE, sender_address="billing"),
        replace(RECIPE, sender_name="a\r\nBcc: x@evil.test"),
        replace(RECIPE, reply_to="a@us.test, b@us.test"),
        replace(RECIPE, bcc=("archive",)),
        replace(RECIPE, redirect_to="me"),
    ],
)
def test_a_bad_address_of_the_configuration_is_not_the_customers_fault(recipe):
    assert finding(recipe) == "MR203"


def test_a_redirected_message_shows_no_real_domain():
    envelope, message = composed(replace(RECIPE, redirect_to="me@us.test"))

    read = parsed(message)
    assert envelope == Envelope("billing@us.test", ("me@us.test",))
    assert read["To"] == "me@us.test"
    assert read["Subject"] == "[redirected] Invoice INV-1"
    assert read["X-Msgrun-Redirected-From"] == "C1"
    assert b"acme.test" not in message.data


def test_a_redirected_message_passes_the_leak_guard_too():
    redirected = replace(RECIPE, redirect_to="me@us.test")

    assert finding(redirected, recipients=(Address("x@other.test"),)) == "MR512"


def test_a_local_part_that_is_not_ascii_asks_for_smtputf8():
    polish = replace(CONTEXT, addresses=(Address("stanisław@wp.pl", "Stanisław"),))

    envelope, _ = composed(context=polish)

    assert envelope.smtputf8
    assert envelope.recipients == ("stanisław@wp.pl",)


def test_a_domain_that_is_not_ascii_needs_no_smtputf8():
    german = replace(CONTEXT, addresses=(Address("a@bücher.example.com"),))

    envelope, message = composed(context=german)

    assert envelope.recipients == ("a@xn--bcher-kva.example.com",)
    assert not envelope.smtputf8
    assert message.data.isascii()


def test_equal_file_names_are_numbered_before_the_extension():
    same = tuple(
        document(invoice, kind, filename)
        for invoice, kind, filename in [
            ("1", "pdf", "invoice.pdf"),
            ("1", "ubl", "README"),
            ("2", "pdf", "Invoice.pdf"),
            ("2", "ubl", "README"),
        ]
    )

    _, message = composed(context=replace(CONTEXT, documents=same))

    assert [part.get_filename() for part in parsed(message).iter_attachments()] == [
        "invoice.pdf",
        "README",
        "Invoice (2).pdf",
        "README (2)",
    ]


def test_numbering_does_not_take_a_name_that_is_there():
    names = ["a.pdf", "a (2).pdf", "a.pdf"]
    files = [Attachment(name, "application/pdf", b"x", "1") for name in names]

    numbered = [each.filename for each in message_module._distinct(files)]

    assert numbered == ["a.pdf", "a (2).pdf", "a (3).pdf"]


EXPECTED = ExpectedHeaders(
    blocks=(
        ("From", "To", "Content-Type"),
        ("Content-Type", "Content-Transfer-Encoding"),
    ),
    recipients=frozenset({"a@acme.test"}),
)
GOOD = (
    b'From: b@us.test\r\nTo: "x, y" <a@acme.test>\r\n'
    b'Content-Type: multipart/mixed;\r\n boundary="=_1"\r\n\r\n--=_1\r\n'
    b"Content-Type: text/plain\r\nContent-Transfer-Encoding: 7bit\r\n\r\nx\r\n--=_1--\r\n"
)


def test_headers_as_meant_are_accepted():
    verify_headers(GOOD, EXPECTED)


@pytest.mark.parametrize(
    "data",
    [
        GOOD.replace(b"\r\nTo", b"\r\nBcc: x@evil.test\r\nTo"),
        GOOD.replace(b"\r\nTo", b"\nBcc: x@evil.test\r\nTo"),
        GOOD.replace(b"\r\nTo", b"\rBcc: x@evil.test\r\nTo"),
        GOOD.replace(b"<a@acme.test>", b"<a@acme.test>, x@evil.test"),
        GOOD.replace(b"a@acme.test", b"x@evil.test"),
        GOOD.replace(b"text/plain", b"text/plain\r\nContent-Disposition: inline"),
        GOOD.replace(b"7bit", b"7bit\r\n\r\n--=_1\r\nContent-Type: text/html"),
        GOOD.replace(b"From: b@us.test\r\n", b""),
        GOOD.replace(b"\r\nTo", b"\r\nno field\r\nTo"),
        GOOD.replace(b"\r\nTo", b"\r\n \r\nTo"),
        GOOD.replace(b"7bit", b"7\0bit"),
        GOOD.replace(b"x, y", b"x, \xff"),
        GOOD.replace(b"x, y", b"y" * 1000),
        GOOD.replace(b"x, y", b"\r\n x"),
        GOOD.replace(b"; boundary", b";\r\n boundary").replace(b'boundary="=_1"', b"charset=utf-8"),
        GOOD.replace(b'"=_1"', b'"=_1"; boundary="=_2"'),
        GOOD.replace(b"multipart/mixed", b'multipart/mixed"'),
        GOOD.replace(b"text/plain", b"text/plain; boundary=x"),
        GOOD.replace(b"<a@acme.test>", b"<a@acme.test>, a@acme.test"),
        GOOD.removesuffix(b"--=_1--\r\n"),
        GOOD.partition(b"\r\n\r\n")[0],
        b"",
    ],
)
def test_headers_that_were_not_meant_never_leave(data):
    with pytest.raises(ComposeError) as caught:
        verify_headers(data, EXPECTED)

    assert caught.value.finding == "MR512"
