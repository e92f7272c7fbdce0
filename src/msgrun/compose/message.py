"""One message, from its context to its bytes, with the leak guard around it."""

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

from msgrun.compose.attachments import Attachment, load_document
from msgrun.compose.mime import Head, Mailbox, mailbox, write_message
from msgrun.compose.protection import password_of, protect
from msgrun.compose.render import Rendered, Renderer, RunInfo, SenderInfo
from msgrun.compose.reread import ExpectedHeaders, verify_headers
from msgrun.errors import ComposeError
from msgrun.model import Address, ComposedMessage, Document, Envelope, MessageContext

REDIRECT_PREFIX: Final = "[redirected] "
REDIRECT_FIELD: Final = "X-Msgrun-Redirected-From"

_CONTENT: Final = ("Content-Type", "Content-Transfer-Encoding")
_ATTACHED: Final = (*_CONTENT, "Content-Disposition")
_INLINE: Final = (*_CONTENT, "Content-ID", "Content-Disposition")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is the same for all messages of a run.

    Attributes:
        definition: its name, for templates.
        sender_address: the From address and the reverse-path.
        sender_name: shown beside it.
        reply_to: where answers go; None for the sender.
        bcc: addresses of blind copies.
        documents: the transformations that every invoice must have, in this order.
        documents_root: the folder that paths of documents stay under.
        redirect_to: every message goes there instead, marked so, without blind copies.
        period: the period's label, for templates.
        archive: whether all documents go in one archive.
        password_key: the field of the customer's meta that protects them; "" for none.
    """

    definition: str
    sender_address: str
    sender_name: str = ""
    reply_to: str | None = None
    bcc: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    documents_root: Path = Path()
    redirect_to: str | None = None
    period: str = ""
    archive: bool = False
    password_key: str = ""


def compose(
    recipe: Recipe,
    renderer: Renderer,
    context: MessageContext,
    *,
    recipients: tuple[Address, ...],
    message_id: str,
    date: datetime,
) -> tuple[Envelope, ComposedMessage]:
    """Return the envelope and the bytes of one message; the same input makes the same bytes.

    Args:
        recipe: what is the same for all messages of the run.
        renderer: the run's templates.
        context: the customer, the invoices and the documents.
        recipients: the planned To addresses; each is one of the context's.
        message_id: with angle brackets.
        date: with a time zone.

    Raises:
        ComposeError: with the finding that says why: MR512 is the leak guard, MR105 no recipient,
            MR107 and MR108 a recipient's address, MR203 another address, MR302 to MR305 the
            templates, MR401 to MR408 the documents.
    """
    _guard(context, recipients)
    password = None
    if recipe.password_key:
        password = password_of(context.customer.meta, recipe.password_key)
        context = without_password(context, recipe.password_key)
    documents = _wanted(recipe, context)
    head_to = _to(recipe, recipients)
    rendered = renderer.render(
        context,
        SenderInfo(recipe.sender_name, recipe.sender_address),
        RunInfo(recipe.definition, recipe.period),
    )
    loaded = [load_document(document, recipe.documents_root) for document in documents]
    _guard_attachments(context, documents, loaded)
    if recipe.archive or password:
        loaded = protect(loaded, archive=recipe.archive, password=password, seed=message_id)
    head = _head(recipe, context, rendered, to=head_to, message_id=message_id, date=date)
    written = write_message(head, rendered.text, rendered.html, _distinct(loaded), rendered.images)
    data = written.data
    verify_headers(data, _expected(head, rendered, len(loaded)))
    digest = hashlib.sha256(data).hexdigest()
    return _envelope(recipe, head), ComposedMessage(data, digest, message_id, date, written.plain)


def without_password(context: MessageContext, key: str) -> MessageContext:
    """Return what templates may see: no message tells the password that protects it.

    Args:
        context: what a message is made of.
        key: the field of the customer's meta; "" for none.
    """
    if key not in context.customer.meta:
        return context
    meta = {name: value for name, value in context.customer.meta.items() if name != key}
    return replace(context, customer=replace(context.customer, meta=meta))


def _leak(message: str) -> ComposeError:
    return ComposeError("MR512", message, "correct the source: each belongs to one customer only")


def _guard(context: MessageContext, recipients: tuple[Address, ...]) -> None:
    """Refuse a message whose invoices, documents and addresses are not all one customer's."""
    customer = context.customer.code
    if not context.invoices:
        raise _leak(f"the message for customer {customer!r} has no invoice")
    for invoice in context.invoices:
        if invoice.customer != customer:
            raise _leak(
                f"invoice {invoice.id!r} belongs to customer {invoice.customer!r}, "
                f"but the message is for customer {customer!r}"
            )
    invoices = {invoice.id for invoice in context.invoices}
    for document in context.documents:
        if document.invoice not in invoices:
            raise _leak(
                f"document {document.filename!r} belongs to invoice {document.invoice!r}, "
                f"but the message for customer {customer!r} is about {sorted(invoices)}"
            )
    own = {address.address for address in context.addresses}
    for recipient in recipients:
        if recipient.address not in own:
            raise _leak(f"{recipient.address!r} is no address of customer {customer!r}")


def _guard_attachments(
    context: MessageContext, documents: list[Document], loaded: list[Attachment]
) -> None:
    """Check what was really loaded, so that no fault in between can swap a document."""
    invoices = {invoice.id for invoice in context.invoices}
    for document, attachment in zip(documents, loaded, strict=True):
        if attachment.invoice != document.invoice or attachment.invoice not in invoices:
            raise _leak(
                f"attachment {attachment.filename!r} belongs to invoice {attachment.invoice!r}, "
                f"but the message for customer {context.customer.code!r} is about "
                f"{sorted(invoices)}"
            )


def _wanted(recipe: Recipe, context: MessageContext) -> list[Document]:
    """Return the documents by invoice, then in the definition's order; none may be missing."""
    wanted = []
    for invoice in context.invoices:
        for transformation in recipe.documents:
            found = [
                document
                for document in context.documents
                if document.invoice == invoice.id and document.transformation == transformation
            ]
            if not found:
                message = f"invoice {invoice.id!r} ({invoice.label}) has no {transformation!r}"
                raise ComposeError("MR401", f"{message} document", "generate it")
            wanted += found
    return wanted


def _to(recipe: Recipe, recipients: tuple[Address, ...]) -> tuple[Mailbox, ...]:
    """Return the mailboxes for To and the envelope, each address once."""
    if not recipients:
        raise ComposeError("MR105", "the message has no recipient", "add an address for it")
    checked = {box.address: box for box in reversed([mailbox(each) for each in recipients])}
    if recipe.redirect_to:
        return (_own_mailbox(recipe.redirect_to),)
    return tuple(reversed(checked.values()))


@lru_cache(maxsize=64)
def _own_mailbox(address: str, name: str = "") -> Mailbox:
    """Check an address of the configuration: a fault in it is not the customer's."""
    try:
        return mailbox(Address(address, name))
    except ComposeError as error:
        raise ComposeError("MR203", error.message, "correct the address in msgrun.toml") from error


def _head(
    recipe: Recipe,
    context: MessageContext,
    rendered: Rendered,
    *,
    to: tuple[Mailbox, ...],
    message_id: str,
    date: datetime,
) -> Head:
    redirected = bool(recipe.redirect_to)
    return Head(
        sender=_own_mailbox(recipe.sender_address, recipe.sender_name),
        to=to,
        subject=(REDIRECT_PREFIX if redirected else "") + rendered.subject,
        date=date,
        message_id=message_id,
        reply_to=_own_mailbox(recipe.reply_to) if recipe.reply_to else None,
        # The code, not the address: where redirected mail goes, no real domain is to be seen.
        extra=((REDIRECT_FIELD, context.customer.code),) if redirected else (),
    )


def _distinct(attachments: list[Attachment]) -> list[Attachment]:
    """Number file names that occur twice, whatever their case: "a.pdf", "a (2).pdf"."""
    taken: set[str] = set()
    seen: Counter[str] = Counter()
    distinct = []
    for attachment in attachments:
        name = attachment.filename
        stem, dot, extension = name.rpartition(".")
        stem, extension = (stem, dot + extension) if stem else (name, "")
        while name.casefold() in taken:
            seen[attachment.filename.casefold()] += 1
            name = f"{stem} ({seen[attachment.filename.casefold()] + 1}){extension}"
        taken.add(name.casefold())
        distinct.append(
            Attachment(name, attachment.media_type, attachment.content, attachment.invoice)
        )
    return distinct


def _envelope(recipe: Recipe, head: Head) -> Envelope:
    to = tuple(box.address for box in head.to)
    hidden = () if recipe.redirect_to else tuple(_own_mailbox(each).address for each in recipe.bcc)
    bcc = tuple(dict.fromkeys(address for address in hidden if address not in to))
    named = [head.sender.address, *to, *bcc, head.reply_to.address if head.reply_to else ""]
    return Envelope(head.sender.address, to, bcc, smtputf8=not all(map(str.isascii, named)))


def _expected(head: Head, rendered: Rendered, attachments: int) -> ExpectedHeaders:
    top = ["From", "To", *(["Reply-To"] if head.reply_to else [])]
    top += ["Subject", "Date", "Message-ID", "MIME-Version", "Auto-Submitted"]
    top += [name for name, _ in head.extra]
    parts: list[tuple[str, ...]] = [_CONTENT]
    if rendered.images:
        parts = [_CONTENT[:1], _CONTENT, *[_INLINE] * len(rendered.images)]
    if rendered.text is not None and rendered.html is not None:
        parts = [_CONTENT[:1], _CONTENT, *parts]
    if attachments:
        parts = [_CONTENT[:1], *parts, *[_ATTACHED] * attachments]
    blocks = ((*top, *parts[0]), *parts[1:])
    return ExpectedHeaders(blocks, frozenset(box.address for box in head.to))
