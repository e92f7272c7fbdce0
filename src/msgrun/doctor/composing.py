"""The definition, its templates and the documents: can this message be composed today?"""

import stat
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

from msgrun.compose.attachments import check_document
from msgrun.compose.message import without_password
from msgrun.compose.render import Rendered, RunInfo, SenderInfo
from msgrun.doctor.asking import sight_of
from msgrun.doctor.context import Context
from msgrun.doctor.findings import Finding, Stage, Status, found, of_error, passed, skipped
from msgrun.doctor.servers import Servers
from msgrun.doctor.situation import Question
from msgrun.errors import ComposeError, PreflightError
from msgrun.ledger.rows import Frozen
from msgrun.model import Document, MessageContext, Selection
from msgrun.preflight import check_sender, try_compose
from msgrun.suggest import did_you_mean
from msgrun.workspace import Revision, Workspace

_SHORT: Final = 60  # letters of a template that are shown beside those of another
_BLOCKED: Final = """
    ade adp apk app appx appxbundle bat cab cer chm cmd com cpl dll dmg ex ex_ exe gadget hta img
    ins inf iso isp jar jnlp js jse lib lnk mde msc msi msix msixbundle msp mst nsh pif ps1 ps2
    psc1 reg scf scr sct shb sys vb vbe vbs vhd vhdx vxd wsc wsf wsh xll
"""
BLOCKED_TYPES: Final = frozenset(_BLOCKED.split())
"""Endings that the large providers turn away, whatever the file holds."""

_HOLDER: Final = "{{"
_BEFORE: Final = 20
_EXCERPT: Final = 80


class Composing:
    """The checks that need the configuration; each takes a question as the others do."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def check_definition(self, question: Question, _servers: Servers) -> list[Finding]:
        """Ask whether the definition is there, enabled, from a sender, to a key that exists."""
        context = question.context
        findings = definition_findings(self._workspace, context)
        key = context.frozen.definition["recipient_key"]
        if key in question.subject.unheld:
            findings.append(_nobodys_key(context, key, question.subject.keys))
        changed = list(settings_drift(context))
        if findings:
            return [findings[0].drifted(changed), *findings[1:]]
        sender = self._workspace.sender_of(context.frozen)
        summary = f"{context.name} from {sender.address} to key '{key}'"
        return [passed(Stage.DEFINITION, summary, subject=context.name, drift=changed)]

    def check_template(self, question: Question, _servers: Servers) -> list[Finding]:
        """Fill in the templates with this customer's data."""
        context = question.context
        faults, revision = compiled(self._workspace, context)
        changed = list(template_drift(context))
        if revision is None:
            return [faults[0].drifted(changed), *faults[1:]]
        message = question.message
        if message is None:
            told = "compiles (no invoice to fill it in with)"
            return [passed(Stage.TEMPLATE, told, drift=changed)]
        recipe = revision.recipe
        try:
            rendered = revision.renderer.render(
                without_password(message, recipe.password_key),
                SenderInfo(recipe.sender_name, recipe.sender_address),
                RunInfo(recipe.definition, recipe.period),
            )
        except ComposeError as error:
            return [_composing(error, Stage.TEMPLATE, context.name).drifted(changed)]
        told = f"subject: {rendered.subject}"
        summary = passed(Stage.TEMPLATE, told, subject=context.name, drift=changed)
        return [summary, *_left_over(rendered, context)]

    def check_documents(self, question: Question, servers: Servers) -> list[Finding]:
        """Look at each wanted document, then compose the whole message and throw it away."""
        context, message = question.context, question.message
        wanted = tuple(context.frozen.definition["documents"])
        if message is None:
            return [skipped(Stage.DOCUMENTS, "no invoice")]
        findings = list(self._missing(question, wanted, message))
        if "MR408" in question.blocked:
            findings.append(_no_password(question))
        root = self._workspace.source.documents_root
        for document in message.documents:
            try:
                check_document(document, root)
            except ComposeError as error:
                evidence = (error.message, _mode(document, root))
                findings.append(_composing(error, Stage.DOCUMENTS, question.label, *evidence))
        findings = findings or list(self._whole(question, message, servers))
        blocked = list(_often_blocked(question, message))
        if findings:
            return findings + blocked
        names = ", ".join(document.filename for document in message.documents)
        return [passed(Stage.DOCUMENTS, names or "none wanted", subject=question.label), *blocked]

    def _missing(
        self, question: Question, wanted: tuple[str, ...], message: MessageContext
    ) -> Iterator[Finding]:
        there = {document.transformation for document in message.documents}
        for transformation in wanted:
            if transformation not in there:
                text = f"invoice {question.label} has no '{transformation}' document"
                yield found(
                    "MR401", Stage.DOCUMENTS, text, subject=question.label, cause=text,
                    remedy="generate it in the billing system, or import its row",
                )  # fmt: skip

    def _whole(
        self, question: Question, message: MessageContext, servers: Servers
    ) -> Iterator[Finding]:
        """Compose as the sender would; other checks have told of templates and addresses."""
        context = question.context
        _, revision = compiled(self._workspace, context)
        if revision is None or not message.addresses:
            return
        try:
            size = try_compose(revision, message)
        except ComposeError as error:
            if error.finding[:3] not in {"MR3", "MR1", "MR2"}:
                yield _composing(error, Stage.DOCUMENTS, question.label)
            return
        report = sight_of(question, servers).report
        limit = report.size_limit if report else None
        if limit and size > limit:
            text = f"the message has {size} bytes, the server takes {limit}"
            remedy = "make the documents smaller, or ask for a higher limit"
            yield found(
                "MR405", Stage.DOCUMENTS, text, remedy=remedy, subject=question.label, cause=text
            )


def definition_findings(workspace: Workspace, context: Context) -> list[Finding]:
    """Return what is wrong with a definition whoever its customers are (MR201 to MR203)."""
    name, findings = context.name, []
    if context.today is None:
        known = ", ".join(workspace.config.definitions) or "none"
        text = f"the run's definition '{name}' is gone from msgrun.toml; there are: {known}"
        meant = did_you_mean(name, workspace.config.definitions)
        findings.append(
            found("MR201", Stage.DEFINITION, text, subject=name,
                  remedy=f"{meant} Write it as the run has it, or start a new run".strip(),
                  cause=f"the definition '{name}' is gone from msgrun.toml")
        )  # fmt: skip
    elif not context.today.enabled:
        text = f"definition '{name}' has enabled = false"
        remedy = f"set enabled = true under [definitions.{name}]"
        findings.append(
            found("MR201", Stage.DEFINITION, text, remedy=remedy, subject=name,
                  cause=f"the definition '{name}' is disabled")
        )  # fmt: skip
    try:
        check_sender(workspace, context.frozen)
    except PreflightError as error:
        finding = of_error(error, Stage.DEFINITION, "MR202", name)
        if finding.code != "MR601":  # the server's own stage tells of it
            findings.append(finding)
    return findings


def compiled(workspace: Workspace, context: Context) -> tuple[list[Finding], Revision | None]:
    """Return the definition ready to compose with, or why it is not (MR301)."""
    today = context.today
    if today is not None and today.fault is not None and context.frozen is today.frozen:
        fault = today.fault
        return [
            found("MR301", Stage.TEMPLATE, *fault.message.splitlines(), remedy=fault.hint,
                  subject=context.name, cause="a template file cannot be read")
        ], None  # fmt: skip
    try:
        return [], workspace.revision(context.frozen, context.selection or Selection())
    except PreflightError as error:
        finding = of_error(error, Stage.TEMPLATE, "MR301", context.name)
        if finding.code != "MR301":
            return [skipped(Stage.TEMPLATE, "the definition's sender is not known")], None
        return [finding], None


def _often_blocked(question: Question, message: MessageContext) -> Iterator[Finding]:
    """Yield MR406 for each attachment of a type that mail servers turn away."""
    for document in message.documents:
        ending = document.filename.strip().rstrip(".").rpartition(".")[2].casefold()
        if ending in BLOCKED_TYPES:
            yield found(
                "MR406", Stage.DOCUMENTS, f"{document.filename!r}: many servers block '.{ending}'",
                status=Status.WARN, subject=question.label,
                remedy=f"send a PDF in place of the '{document.transformation}' document",
            )  # fmt: skip


def _no_password(question: Question) -> Finding:
    key, customer = question.context.frozen.definition["password_key"], question.subject.customer
    return found(
        "MR408", Stage.DOCUMENTS, f"customer {customer.code} has no '{key}' in its meta",
        remedy=f"fill in '{key}' for the customer; nothing is sent unprotected",
        subject=customer.code, cause=f"the customer has no '{key}' to protect the documents with",
    )  # fmt: skip


def _left_over(rendered: Rendered, context: Context) -> Iterator[Finding]:
    """Yield MR305 for each part in which a place holder is left over as it was written."""
    parts = {"subject": rendered.subject, "text": rendered.text, "html": rendered.html}
    for part, words in parts.items():
        for number, line in enumerate((words or "").splitlines(), 1):
            if _HOLDER in line:
                place = max(0, line.index(_HOLDER) - _BEFORE)
                excerpt = line[place : place + _EXCERPT]
                yield found(
                    "MR305", Stage.TEMPLATE,
                    f"the {part}, line {number}, still holds '{_HOLDER}': {excerpt!r}",
                    status=Status.WARN, subject=context.name,
                    remedy=f"correct the {part} of [definitions.{context.name}] at that place",
                )  # fmt: skip
                break


def _nobodys_key(context: Context, key: str, keys: Mapping[str, int]) -> Finding:
    known = ", ".join(f"'{name}' ({number})" for name, number in keys.items()) or "none at all"
    return found(
        "MR204", Stage.DEFINITION, f"wants '{key}'; keys and their customers: {known}",
        remedy=f"correct recipient_key under [definitions.{context.name}]",
        subject=context.name, cause=f"no customer has an address under the key '{key}'",
    )  # fmt: skip


def settings_drift(context: Context) -> Iterator[str]:
    """Yield which settings of the definition differ between the run and today's `msgrun.toml`."""
    if context.was is None or context.today is None or context.run is None:
        return
    then, now = _settings(context.was), _settings(context.today.frozen)
    for name in sorted({*then} & {*now}):  # a run of an earlier version has fewer settings
        old, new = then[name], now[name]
        if old != new:
            has = f"run {context.run.id} had {old!r}; msgrun.toml has {new!r} now"
            yield f"{name}: {has}"


def template_drift(context: Context) -> Iterator[str]:
    """Yield which templates differ between the run and today's files."""
    today, run = context.today, context.run
    if context.was is None or today is None or today.fault is not None or run is None:
        return
    then, now = context.was.templates, today.frozen.templates
    for part in sorted({*then, *now}):
        old, new = then.get(part, ("", ""))[1], now.get(part, ("", ""))[1]
        if old == new:
            continue
        if not new:
            yield f"{part}: run {run.id} had it; it is gone now"
        elif not old:
            yield f"{part}: run {run.id} did not have it; it is there now"
        elif part.startswith("image:"):
            yield f"{part}: differs from that of run {run.id}"
        elif max(len(old), len(new)) <= _SHORT and "\n" not in old + new:
            yield f"{part}: run {run.id} had {old!r}; it is {new!r} now"
        else:
            yield f"{part}: {_first_difference(old, new, run.id)}"


def _first_difference(old: str, new: str, run: int) -> str:
    """Return the first line in which two templates differ, as it was and as it is."""
    before, after = old.splitlines(), new.splitlines()
    for number, (then, now) in enumerate(zip_longest(before, after), 1):
        if then != now:
            pairs = enumerate(zip(then or "", now or "", strict=False))
            place = next((place for place, (a, b) in pairs if a != b), 0)
            was = "no such line" if then is None else repr(_part(then, place))
            has = "is gone" if now is None else f"is {_part(now, place)!r}"
            return f"line {number}: run {run} had {was}; it {has} now"
    return f"differs from that of run {run} in line ends only"


def _part(line: str, place: int) -> str:
    """Return a line, of a long one what stands around `place`."""
    start = max(0, min(place - _SHORT // 3, len(line) - _SHORT))
    cut = line[start : start + _SHORT]
    return f"{'…' if start else ''}{cut}{'…' if start + _SHORT < len(line) else ''}"


def _settings(frozen: Frozen) -> dict[str, Any]:
    return {name: value for name, value in frozen.definition.items() if name != "subject"}


def _composing(error: ComposeError, stage: Stage, subject: str, *evidence: str) -> Finding:
    return found(
        error.finding, stage, *(evidence or (error.message,)), remedy=error.hint or None,
        subject=subject, cause=error.message, status=Status.FAIL,
    )  # fmt: skip


def _mode(document: Document, root: Path) -> str:
    """Return owner and mode of a document's file, where they can be seen."""
    if document.path is None:
        return ""
    try:
        seen = (root / document.path).lstat()
    except (OSError, ValueError):
        return ""
    return f"owner {seen.st_uid}, mode {stat.filemode(seen.st_mode)}, {seen.st_size} bytes"
