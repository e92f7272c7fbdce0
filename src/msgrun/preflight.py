"""What is checked before anything is written or sent; the doctor asks the same questions."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from msgrun.compose.message import compose
from msgrun.errors import ComposeError, PreflightError, ServerDownError
from msgrun.ledger.rows import Frozen
from msgrun.model import Address, MessageContext, Stage
from msgrun.planning.comparison import Comparison
from msgrun.planning.draft import Draft, Plan
from msgrun.transport.probe import ProbeReport, probe
from msgrun.workspace import Revision, Workspace

SAMPLE: Final = 100
"""How many messages are composed for a try."""

_UNREACHABLE: Final = frozenset({Stage.RESOLVE, Stage.CONNECT, Stage.BANNER})
_HELD: Final = frozenset({"MR125", "MR126", "MR127"})
_TEMPLATE: Final = frozenset({"MR302", "MR303", "MR304", "MR305"})


@dataclass(frozen=True, slots=True)
class Note:
    """Something about one customer that does not block the run."""

    code: str
    customer: str
    message: str


@dataclass(frozen=True, slots=True)
class Preflight:
    """What the checks found.

    Attributes:
        notes: sampled messages that cannot be composed.
        tried: how many messages were composed for a try.
        average_size: bytes of one of them; 0 when none could be.
        comparison: with the definition's last run; None where there was none, or nobody asked.
    """

    notes: Sequence[Note]
    tried: int
    average_size: int
    comparison: Comparison | None = None


def try_compose(
    revision: Revision, context: MessageContext, recipients: Sequence[Address] | None = None
) -> int:
    """Compose a message as the sender would, and throw it away; return its size in bytes.

    Args:
        revision: the definition.
        context: what the source has now.
        recipients: the planned ones; None for the customer's addresses of now.

    Raises:
        ComposeError: why it cannot be composed.
    """
    _, message = compose(
        revision.recipe,
        revision.renderer,
        context,
        recipients=tuple(context.addresses if recipients is None else recipients),
        message_id="<preflight@localhost>",
        date=datetime.now(UTC),
    )
    return len(message.data)


Candidate = tuple[Revision, str, MessageContext | None]
"""A message to compose for a try: by which definition, for which customer, of what."""


def check_contexts(candidates: Sequence[Candidate]) -> Preflight:
    """Compose a sample of messages.

    Raises:
        PreflightError: not one of them can be composed.
    """
    notes: list[Note] = []
    sizes: list[int] = []
    last: ComposeError | None = None
    for revision, customer, context in candidates:
        if context is None:
            continue
        try:
            sizes.append(try_compose(revision, context))
        except ComposeError as error:
            notes.append(Note(error.finding, customer, error.message))
            last = error
    template_fails = {note.code for note in notes} <= _TEMPLATE
    if last is not None and not sizes and (template_fails or len(notes) > 1):
        raise PreflightError(
            f"none of the first {len(notes)} messages can be composed; the last: "
            f"{last.message} ({last.finding})",
            last.hint,
        )
    return Preflight(notes, len(candidates), sum(sizes) // len(sizes) if sizes else 0)


def check_draft(workspace: Workspace, frozen: Frozen, draft: Draft) -> Preflight:
    """Check definition and templates of a planned run.

    Raises:
        PreflightError: an error that concerns the whole run.
    """
    check_sender(workspace, frozen)
    revision = workspace.revision(frozen, draft.plan.selection)
    samples = draft.sample(SAMPLE)
    if revision.renderer.languages:  # of every language one, wherever it comes
        seen = {customer for customer, _ in samples}
        samples += [each for each in draft.sample_languages() if each[0] not in seen]
    return check_contexts([(revision, *each) for each in samples])


def check_sender(workspace: Workspace, frozen: Frozen) -> None:
    """Check whom the messages are from, and by which server they leave.

    Raises:
        PreflightError: unknown from key (MR202), bad address (MR203), no server (MR601).
    """
    from email_validator import EmailNotValidError, validate_email

    sender = workspace.sender_of(frozen)
    for role, address in (("address", sender.address), ("reply_to", sender.reply_to)):
        if not address and role == "reply_to":
            continue
        try:
            validate_email(address, check_deliverability=False, test_environment=True)
        except EmailNotValidError as error:
            key = frozen.definition["from_key"]
            raise PreflightError(
                f"sender '{key}': {role} '{address}' is no mail address: {error} (MR203)",
                f"correct [senders.{key}]",
            ) from error
    workspace.server_of(frozen)


def check_funnel(workspace: Workspace, frozen: Frozen, plan: Plan) -> None:
    """Refuse a run that would send nothing for a reason other than that it was sent already.

    Raises:
        PreflightError: MR204 or MR205.
    """
    if plan.messages or (plan.in_scope and _HELD & plan.skipped.keys()):
        return
    key = frozen.definition["recipient_key"]
    with workspace.database.read(attach=True) as connection, connection.begin():
        keys = workspace.source.keys_histogram(connection)
    if key not in keys:
        known = ", ".join(f"{name} ({number})" for name, number in keys.items()) or "none at all"
        raise PreflightError(
            f"no customer has an address under the key '{key}' (MR204); keys there are: {known}",
            f"correct recipient_key of definition '{frozen.name}'",
        )
    funnel = ", ".join(f"{code}: {number}" for code, number in plan.skipped.items())
    raise PreflightError(
        f"definition '{frozen.name}' selects nobody (MR205): {plan.in_scope} invoices in scope"
        + (f", all skipped ({funnel})" if funnel else ""),
        "widen cluster, period or statuses; `msgrun plan` shows who falls where",
    )


def check_server(workspace: Workspace, frozen: Frozen) -> ProbeReport:
    """Talk to the server as the sender would, up to MAIL FROM; nothing is sent.

    Raises:
        ServerDownError: it cannot be reached (exit 12).
        PreflightError: it does not let us send: TLS, credentials, sender.
    """
    name, _ = workspace.server_of(frozen)
    settings = workspace.server_settings(name)
    report = asyncio.run(probe(settings, sender=workspace.sender_of(frozen).address))
    failure = report.failure
    if failure is None:
        return report
    evidence = str(failure.reply or "; ".join(failure.evidence))
    text = f"server '{name}' ({settings.host}:{settings.port}), at {failure.stage}: {evidence}"
    hint = f"`msgrun doctor` walks through it; `msgrun explain {failure.finding}`"
    for_now = failure.reply is not None and failure.reply.code < 500
    error = ServerDownError if for_now or failure.stage in _UNREACHABLE else PreflightError
    raise error(f"{text} ({failure.finding})", hint)
