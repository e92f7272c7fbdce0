"""Without a customer: is every definition, and every server, ready for a run?"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from msgrun.deliverability.providers import BULK
from msgrun.doctor.bulk import bulk_finding
from msgrun.doctor.composing import compiled, definition_findings
from msgrun.doctor.context import Asked, Context, definition_today, usual_selection
from msgrun.doctor.dialogue import Letter
from msgrun.doctor.findings import (
    Finding,
    Report,
    Stage,
    Status,
    crashed,
    exit_code_of,
    first_cause,
    found,
    in_order,
    of_error,
    passed,
    skipped,
)
from msgrun.doctor.overlaps import check_overlaps
from msgrun.doctor.schedules import missed_schedules
from msgrun.doctor.sender import sender_findings
from msgrun.doctor.servers import Servers
from msgrun.errors import DatabaseError, NotFoundError, PreflightError, SourceError, UsageError
from msgrun.planning.draft import draft_run
from msgrun.preflight import Note, check_draft, check_funnel
from msgrun.workspace import Workspace


def check_everything(
    workspace: Workspace,
    servers: Servers,
    asked: Asked,
    around: Sequence[Finding] = (),
    *,
    readable: bool = True,
) -> Report:
    """Look at the definitions and the servers.

    Args:
        around: what was found about the machine, or why database or source cannot be read.
        readable: whether they can; what needs neither is still checked.

    Raises:
        NotFoundError: no such definition.
        UsageError: the period named is none.
    """
    names = [asked.definition] if asked.definition else list(workspace.config.definitions)
    findings = list(around)
    for name in names:
        findings += _guarded(Stage.DEFINITION, partial(_definition, workspace, asked, name))
        if readable and not any(_unreadable(each) for each in findings):
            findings += _guarded(Stage.DOCUMENTS, partial(_funnel, workspace, asked, name))
            findings += _guarded(Stage.RUN, partial(_schedules, workspace, asked, name))
    if readable and not any(_unreadable(each) for each in findings):
        findings += _guarded(Stage.DEFINITION, partial(_overlaps, workspace, asked, names))
    if not names:
        text = "msgrun.toml has no [definitions.NAME]"
        findings.append(found("MR201", Stage.DEFINITION, text, cause="there is no definition"))
    used = _servers_of(workspace, names)
    for server, sender in used:
        findings += _guarded(Stage.SMTP, partial(_server, servers, server, sender))
    for key in _senders_of(workspace, names):
        findings += _guarded(Stage.SENDER, partial(_sender, servers, key))
    ordered = in_order(findings)
    cause = first_cause(ordered)
    verdict = _ready(len(names), len({server for server, _ in used}))
    if cause is not None:
        verdict = f"Not ready: {cause.cause}"
    return Report(
        None, "", verdict, cause.code if cause else "", ordered, (), exit_code_of(ordered)
    )


def _guarded(stage: Stage, check: Callable[[], list[Finding]]) -> list[Finding]:
    """Ask a check; one that crashes does not hide the others (MR090)."""
    try:
        return check()
    except (NotFoundError, UsageError):
        raise
    except (DatabaseError, SourceError) as error:
        default = "MR006" if isinstance(error, SourceError) else "MR001"
        return [of_error(error, Stage.ENVIRONMENT, default)]
    except Exception as error:  # noqa: BLE001 - one check must not hide the others
        return [crashed(stage, error)]


def _server(servers: Servers, name: str, sender: str | None) -> list[Finding]:
    return list(servers.named(name, Letter(sender)).findings)


def _senders_of(workspace: Workspace, names: list[str]) -> list[str]:
    """Return the keys of the senders in use, each once."""
    config = workspace.config
    keys = dict.fromkeys(config.definitions[name].from_key for name in names)
    return [key for key in keys if key in config.senders]


def _sender(servers: Servers, key: str) -> list[Finding]:
    sender = servers.workspace.config.senders[key]
    return sender_findings(servers.workspace, servers.names, key, sender)


def _unreadable(finding: Finding) -> bool:
    """Tell whether a finding says that database or source cannot be read."""
    return finding.code in {"MR001", "MR006"} and finding.status is Status.FAIL


def _context(workspace: Workspace, asked: Asked, name: str) -> Context:
    today = definition_today(workspace, name)
    definition = workspace.config.definitions[name]
    return Context(name, today.frozen, today, selection=usual_selection(definition, asked))


def _definition(workspace: Workspace, asked: Asked, name: str) -> list[Finding]:
    """Check what needs neither database nor server."""
    context = _context(workspace, asked, name)
    findings = definition_findings(workspace, context)
    if all(each.status is not Status.FAIL for each in findings):
        sender = workspace.sender_of(context.frozen)
        key = context.frozen.definition["recipient_key"]
        text = f"{name} from {sender.address} to key '{key}'"
        findings.append(passed(Stage.DEFINITION, text, subject=name))
    if context.today is not None and not context.today.enabled:
        # Disabled may well be meant: nobody asked for this one.
        findings = [_as_meant(each) if asked.definition is None else each for each in findings]
    faults, revision = compiled(workspace, context)
    if revision is not None:
        faults = [passed(Stage.TEMPLATE, f"{name}: the templates compile", subject=name)]
    return findings + faults


def _as_meant(finding: Finding) -> Finding:
    if finding.code != "MR201":
        return finding
    return replace(finding, status=Status.WARN)


def _funnel(workspace: Workspace, asked: Asked, name: str) -> list[Finding]:
    """Plan a run without writing it, and compose a sample (MR204, MR205, MR302 to MR407)."""
    context = _context(workspace, asked, name)
    if context.today is None or not context.today.enabled or context.today.fault:
        return []
    if definition_findings(workspace, context) or compiled(workspace, context)[1] is None:
        return []
    if context.selection is None:
        reason = f"{name} has no usual period: give --period to see whom it selects"
        return [skipped(Stage.DEFINITION, reason, name)]
    criteria = workspace.criteria(context.frozen, context.selection)
    try:
        with draft_run(workspace.database, workspace.source, context.frozen, criteria) as draft:
            check_funnel(workspace, context.frozen, draft.plan)
            checked = check_draft(workspace, context.frozen, draft)
            plan = draft.plan
            bulk = draft.addresses() if plan.messages >= BULK else []
    except PreflightError as error:
        finding = of_error(error, Stage.DEFINITION, "MR205", name)
        if finding.code == "MR601":  # the servers' own stage tells of it
            return []
        stage = Stage.TEMPLATE if finding.code.startswith("MR3") else Stage.DEFINITION
        return [replace(finding, stage=stage)]
    told = f"{name} selects {plan.invoices} of {plan.in_scope} invoices in scope"
    return [
        passed(Stage.DEFINITION, told, subject=name),
        *_notes(name, checked.notes, checked.tried),
        *bulk_finding(name, (each.rpartition("@")[2] for each in bulk)),
    ]


def _overlaps(workspace: Workspace, asked: Asked, names: list[str]) -> list[Finding]:
    """Look for invoices that two of the definitions would send (MR207)."""
    contexts = [_context(workspace, asked, name) for name in names]
    return check_overlaps(
        workspace,
        [each for each in contexts if each.today and each.today.enabled and each.selection],
    )


def _schedules(workspace: Workspace, asked: Asked, name: str) -> list[Finding]:
    """Look for slots that went by without a run (MR504)."""
    if not workspace.config.schedules:
        return []
    context = _context(workspace, asked, name)
    with workspace.database.read() as connection, connection.begin():
        now = workspace.database.now(connection)
        return missed_schedules(connection, workspace, context, now)


def _notes(name: str, notes: Sequence[Note], tried: int) -> Iterator[Finding]:
    """Yield one warning for each reason why sampled messages cannot be composed."""
    for code, number in sorted(Counter(note.code for note in notes).items()):
        first = next(note for note in notes if note.code == code)
        yield found(
            code,
            Stage.TEMPLATE if code.startswith("MR3") else Stage.DOCUMENTS,
            f"{number} of the first {tried} messages of '{name}' cannot be composed",
            f"{first.customer}: {first.message}",
            status=Status.WARN,
            remedy=f"msgrun doctor {first.customer} --definition {name}",
            subject=name,
        )


def _servers_of(workspace: Workspace, names: list[str]) -> list[tuple[str, str | None]]:
    """Return every server with a sender that uses it; all of them where nothing was named."""
    config = workspace.config
    used: dict[tuple[str, str | None], None] = {}
    for name in names:
        sender = config.senders.get(config.definitions[name].from_key)
        if sender is not None:
            used[sender.server, sender.address] = None
    if len(names) == len(config.definitions):
        idle = config.servers.keys() - {server for server, _ in used}
        used |= dict.fromkeys((server, None) for server in sorted(idle))
    return list(used)


def _ready(definitions: int, servers: int) -> str:
    def counted(number: int, word: str) -> str:
        return f"{number} {word}{'' if number == 1 else 's'}"

    return f"Ready: {counted(definitions, 'definition')}, {counted(servers, 'server')}"
