"""`msgrun bounces`: read what came back, and write it down."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msgrun.cli import options
from msgrun.cli.opening import open_workspace, printer_for
from msgrun.errors import UsageError

if TYPE_CHECKING:
    from msgrun.bounces.mailboxes import Mailbox
    from msgrun.control.bounces import Taken
    from msgrun.ledger.returned import Returned
    from msgrun.ui.text import Printer
    from msgrun.workspace import Workspace

Paths = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[PATH]…", help="Maildirs, mbox files or mails; else those of [bounces]."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be written down.")]


def bounces(
    ctx: typer.Context, paths: Paths = None, dry_run: DryRun = False, json: options.Json = False
) -> None:
    """Read delivery status notifications, and write down which messages came back.

    A message that none of its recipients has becomes `bounced`; `msgrun doctor` then says so.
    What is in the ledger is marked as read in the mailboxes of [bounces]; what is named on the
    command line is never changed.
    """
    from msgrun.control.bounces import take_in

    workspace = open_workspace(ctx)
    mailboxes = _mailboxes(workspace, paths or [])
    found: list[Returned] = []
    taken = take_in(workspace, mailboxes, told=found.append, dry_run=dry_run)
    if json:
        from msgrun.ui.json import bounces_document, write

        write(bounces_document(taken, found, dry_run=dry_run), sys.stdout)
    _print(printer_for(json=json), taken, found, dry_run=dry_run)


def _mailboxes(workspace: "Workspace", paths: list[Path]) -> "list[Mailbox]":
    from msgrun.bounces.mailboxes import File, Folder, ImapFolder, mailbox_at

    if paths:
        return [mailbox_at(path) for path in paths]
    config, told = workspace.config, workspace.config.bounces
    found: list[Mailbox] = []
    if told.maildir:
        found.append(Folder(config.resolve(told.maildir)))
    if told.mbox:
        found.append(File(config.resolve(told.mbox)))
    if told.imap:
        imap = told.imap
        port = imap.port or (993 if imap.security == "tls" else 143)
        tokens = workspace.tokens_of(imap)
        found.append(
            ImapFolder(
                imap.host, port, imap.security, imap.username, config.imap_password(imap),
                imap.folder, imap.timeout, tokens.token if tokens else None,
            )
        )  # fmt: skip
    if not found:
        raise UsageError(
            "there is no mailbox to read",
            "name a Maildir, an mbox or a mail, or put one under [bounces] in msgrun.toml: "
            'maildir = "…", mbox = "…", or [bounces.imap]',
        )
    return found


def _print(printer: "Printer", taken: "Taken", found: "list[Returned]", *, dry_run: bool) -> None:
    from msgrun.ledger.returned import Effect
    from msgrun.ui.text import plural

    for one in found:
        if one.effect in (Effect.BOUNCED, Effect.PARTLY):
            words = "came back" if one.effect is Effect.BOUNCED else "came back from one of several"
            invoices = ", ".join(one.invoices)
            printer.line((words, "red"), f"  {one.customer} {invoices}  {one.address}")
            printer.line(f"  run {one.run}, message {one.message}: {one.status} {one.diagnostic}")
    would = "would be " if dry_run else ""
    new = taken.effects[Effect.BOUNCED] + taken.effects[Effect.PARTLY]
    printer.line(
        f"{plural(taken.mails, 'mail')} read, {plural(taken.notices, 'notice')} among them; "
        f"{plural(new, 'recipient')} {would}written down as not reached"
    )
    for effect, words in _WORDS.items():
        if taken.effects[Effect(effect)]:
            printer.line(f"  {taken.effects[Effect(effect)]:>6,}  {words}")
    if new and not dry_run:
        printer.line("`msgrun doctor CUSTOMER` says why; `msgrun restart RUN --failed` sends again")


_WORDS = {
    "delayed": "delayed: a server on the way still tries",
    "known": "known: written down before",
    "others": "about no recipient of ours: a forwarding, or a blind copy",
    "unsent": "about messages that are to be sent again, or were given up",
    "foreign": "about no message of this ledger",
}
