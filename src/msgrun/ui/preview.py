"""One message as text: what stands at its head, what it encloses, what it says."""

from typing import TYPE_CHECKING

from msgrun.ui.letter import read_letter
from msgrun.ui.summary import size, title_of
from msgrun.ui.text import Printer, plural

if TYPE_CHECKING:
    from msgrun.control.preview import Preview, PreviewedInvoice

_NAMED = 10


def print_preview(printer: Printer, preview: "Preview") -> None:
    """Print the message, or why there is none."""
    about = ", ".join(each.number for each in preview.chosen)
    period = preview.period or "all periods"
    head = f"{preview.definition} · {preview.customer} · {period}"
    printer.line((f"{head} · {about}" if about else head, "bold"))
    if preview.message is None:
        _print_reason(printer, preview)
    else:
        _print_message(printer, preview)
    _print_others(printer, preview)


def _print_reason(printer: Printer, preview: "Preview") -> None:
    code = preview.reason or ""
    printer.line(("no message", "red"), ": ", (code, "bold"), f" {title_of(code)}")
    if preview.detail:
        printer.line(f"  {preview.detail}")
    if preview.hint:
        printer.line(("hint: ", "bold"), preview.hint)


def _print_message(printer: Printer, preview: "Preview") -> None:
    message, envelope = preview.message, preview.envelope
    if message is None or envelope is None:
        return
    letter = read_letter(message.data)
    fields = list(letter.fields)
    if envelope.bcc:
        fields.append(("Bcc", f"{', '.join(envelope.bcc)} (not in the message)"))
    for place, each in enumerate(letter.attachments):
        told = f"{each.filename}  {each.media_type}, {size(each.size)}"
        fields.append(("Attached" if place == 0 else "", told))
    fields.append(("Size", f"{len(message.data):,} bytes"))
    printer.fields(fields, indent=0)
    printer.line()
    if letter.derived:
        printer.line(("(there is no text part: this was read out of the HTML)", "dim"))
    for line in letter.text.splitlines():
        printer.line(line)


def _print_others(printer: Printer, preview: "Preview") -> None:
    sendable = [each for each in preview.others if each.reason is None]
    skipped = [each for each in preview.others if each.reason is not None]
    if preview.messages > 1 and preview.message is not None:
        printer.line()
        printer.line(
            f"This is one of {plural(preview.messages, 'message')}; "
            f"`--invoice ID` shows another: {_listed(sendable)}"
        )
    if skipped:
        printer.line()
        printer.line("Skipped, and not in any message:")
        for each in skipped[:_NAMED]:
            printer.line("  ", (each.reason or "", "bold"), f"  {_name(each)}  "
                         f"{title_of(each.reason)}")  # fmt: skip
        if len(skipped) > _NAMED:
            printer.line(f"  and {len(skipped) - _NAMED:,} more")


def _listed(invoices: "list[PreviewedInvoice]") -> str:
    names = [_name(each) for each in invoices[:_NAMED]]
    more = len(invoices) - len(names)
    return ", ".join(names) + (f" and {more:,} more" if more else "")


def _name(invoice: "PreviewedInvoice") -> str:
    return invoice.number if invoice.number == invoice.id else f"{invoice.number} ({invoice.id})"
