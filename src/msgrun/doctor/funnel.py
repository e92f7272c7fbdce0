"""`doctor --all`: how the rules narrow all customers down, for one definition or for each."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from threading import Thread
from typing import Final

from sqlalchemy import Connection, func, select

from msgrun.catalogue import CATALOGUE
from msgrun.doctor.context import Asked, Context, choose_all
from msgrun.doctor.deadline import Deadline
from msgrun.doctor.dialogue import Letter
from msgrun.doctor.domains import look_up_domains
from msgrun.doctor.everybody import Narrowing, narrow
from msgrun.doctor.findings import (
    Finding,
    Stage,
    Status,
    crashed,
    exit_code_of,
    first_cause,
    found,
    of_error,
    skipped,
)
from msgrun.doctor.missing import Missing, missing
from msgrun.doctor.names import Names
from msgrun.doctor.places import Places
from msgrun.doctor.servers import Servers
from msgrun.doctor.suppression import accepted_for_all
from msgrun.doctor.verdict import FailOn, ending_of
from msgrun.errors import DatabaseError, ExitCode, PreflightError, SourceError
from msgrun.model import Selection
from msgrun.source import Live
from msgrun.source.snapshot import transaction
from msgrun.workspace import Workspace

SECONDS: Final = 60.0
"""How long others are waited for, unless told otherwise."""

_MORE_MEMORY: Final = (
    "SELECT set_config('work_mem', '64MB', true) "
    "WHERE pg_size_bytes(current_setting('work_mem')) < pg_size_bytes('64MB')"
)
"""Lets PostgreSQL hash addresses and documents, for one transaction, in place of a probe each."""

Sink = Callable[[Iterator[Missing]], None]
"""Takes the rows of one definition, and must have used them up when it returns."""


@dataclass(frozen=True, slots=True)
class Domains:
    """The recipients' domains of one definition.

    Attributes:
        distinct: how many there are.
        findings: what came of looking them up; empty where nobody did.
    """

    definition: str
    distinct: int
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Funnel:
    """The answer about everybody.

    Attributes:
        scopes: one for each definition looked at.
        servers: what is known of their servers.
        faults: why the database or the source cannot be read.
        verdict: one sentence.
        primary: the code that stops most; "" where nothing is wrong.
        suppressed: the codes met that the configuration accepts for every customer; they do not
            decide, and a suppression for some customers alone is not applied to everybody.
    """

    scopes: tuple[Narrowing, ...]
    servers: tuple[Finding, ...] = ()
    domains: tuple[Domains, ...] = ()
    faults: tuple[Finding, ...] = ()
    verdict: str = ""
    primary: str = ""
    suppressed: tuple[str, ...] = ()
    exit_code: int = ExitCode.DONE

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is not about single customers: faults, servers, domains."""
        looked_up = (finding for domains in self.domains for finding in domains.findings)
        return (*self.faults, *self.servers, *looked_up)

    def ending(self, fail_on: FailOn) -> int:
        """Return the exit code of the command."""
        counting = [each for each in self.findings if each.code not in self.suppressed]
        return ending_of(self.exit_code, counting, fail_on)


def examine(
    workspace: Workspace,
    *,
    today: date,
    definition: str | None = None,
    run: str | None = None,
    cluster: str | None = None,
    period: str | None = None,
    offline: bool = False,
    deadline: Deadline | None = None,
    sink: Sink | None = None,
) -> Funnel:
    """Say of everybody at which rule they fall. Nothing is sent.

    Args:
        workspace: configuration, database, source.
        today: from which words such as "previous-month" are seen.
        definition: None takes every enabled one.
        run: a number or "last"; None takes the latest of a definition, or its usual selection.
        cluster: None takes the run's, or the definition's usual one.
        period: likewise.
        offline: leave mail servers and name servers alone.
        deadline: after which no server is waited for; None for a minute from now.
        sink: where everybody without a message is written; None for nowhere.

    Raises:
        NotFoundError: no such definition, run or cluster.
        UsageError: `period` names no period.
    """
    asked = Asked(today, definition, run, cluster, period)
    deadline = deadline or Deadline.after(SECONDS)
    names = Names(workspace.config.doctor.nameserver, offline=offline, deadline=deadline)
    servers = Servers(workspace, offline=offline, names=names, deadline=deadline)
    accepted = accepted_for_all(workspace.config.doctor.suppress, today)
    scopes: list[Narrowing] = []
    domains: list[Domains] = []
    try:
        workspace.database.ensure()
        with workspace.database.connect(attach=True) as connection:
            with transaction(connection, "read"):
                contexts = choose_all(connection, workspace, asked)
            facts = workspace.source.live(connection)
            for context in contexts:
                looking = _Looking(connection, workspace, facts, context)
                scopes.append(looking.narrowed())
                if sink is not None and not scopes[-1].skipped:
                    sink(looking.missing())
                if not offline and not scopes[-1].skipped:
                    domains.append(looking.domains(names))
    except (DatabaseError, SourceError) as error:
        default = "MR006" if isinstance(error, SourceError) else "MR001"
        fault = of_error(error, Stage.ENVIRONMENT, default)
        return _judged(Funnel(tuple(scopes), faults=(fault,)), accepted)
    if not contexts:
        text = "msgrun.toml has no enabled definition"
        fault = found("MR201", Stage.DEFINITION, text, cause="there is no enabled definition")
        return _judged(Funnel((), faults=(fault,)), accepted)
    seen = _ask_servers(workspace, servers, contexts, deadline)
    return _judged(Funnel(tuple(scopes), seen, tuple(domains)), accepted)


class _Looking:
    """One definition, looked at through one connection that is in no transaction."""

    def __init__(
        self, connection: Connection, workspace: Workspace, facts: Live, context: Context
    ) -> None:
        self._connection = connection
        self._tables = workspace.database.tables
        self._facts = facts
        self._context = context
        self._criteria = workspace.criteria(
            context.frozen,
            context.selection or Selection(),
            own_run=context.run.id if context.run else None,
        )
        self._places = Places(connection)

    def narrowed(self) -> Narrowing:
        """Ask the rules about everybody, and count.

        Raises:
            SourceError: rows break the contract (MR006).
        """
        context, connection = self._context, self._connection
        if context.selection is None:
            return Narrowing(context, skipped="the definition has no usual period: give --period")
        with transaction(connection, "plain"):
            self._places.create()
        with transaction(connection, "read"):
            if connection.dialect.name == "postgresql":  # checked and judged as of one moment
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                connection.exec_driver_sql(_MORE_MEMORY)
            self._facts.check(connection)
            self._places.fill(self._facts, self._tables, self._criteria, context.run)
        with connection.begin():
            return narrow(connection, self._tables, self._facts, context, self._places)

    def missing(self) -> Iterator[Missing]:
        """Yield everybody without a message."""
        with transaction(self._connection, "plain"):
            self._places.index()
        yield from missing(self._connection, self._tables, self._facts, self._context, self._places)

    def domains(self, names: Names) -> Domains:
        """Count the domains of those who would get a message, and have them looked up."""
        name, connection = self._context.name, self._connection
        with connection.begin():
            domains = self._places.domains(self._facts, self._criteria.recipient_key)
            distinct = connection.execute(select(func.count()).select_from(domains)).scalar_one()
            rows = connection.execute(
                select(domains).order_by(domains.c.customers.desc(), domains.c.domain),
                execution_options={"yield_per": 1000},
            )
            with rows:
                findings = look_up_domains(names, ((row.domain, row.customers) for row in rows))
        return Domains(name, distinct, tuple(findings))


def _ask_servers(
    workspace: Workspace, servers: Servers, contexts: Sequence[Context], deadline: Deadline
) -> tuple[Finding, ...]:
    """Ask every server that the definitions use, all at once, each once for a sender."""
    wanted: dict[tuple[str, str], None] = {}
    findings: list[Finding] = []
    for context in contexts:
        try:
            sender = workspace.sender_of(context.frozen)
        except PreflightError:
            reason = "the definition's sender is not known"
            findings.append(skipped(Stage.SMTP, reason, context.name))
            continue
        wanted[sender.server, sender.address] = None
    seen: dict[tuple[str, str], Sequence[Finding]] = {}

    def look(name: str, sender: str) -> None:
        try:
            seen[name, sender] = servers.named(name, Letter(sender)).findings
        except Exception as error:  # noqa: BLE001 - one check must not hide the others
            seen[name, sender] = [crashed(Stage.SMTP, error)]

    # Nobody waits for the threads beyond the deadline, not even the end of the process.
    threads = {key: Thread(target=look, args=key, daemon=True) for key in wanted}
    for thread in threads.values():
        thread.start()
    for key, thread in threads.items():
        thread.join(deadline.left(float("inf")))
        findings += seen.get(key) or [_too_slow(key[0])]
    return tuple(dict.fromkeys(findings))


def _too_slow(server: str) -> Finding:
    return found(
        "MR091", Stage.SMTP, f"server '{server}' had not answered when the time was up",
        status=Status.UNKNOWN, subject=server,
        remedy="try again, with a longer --timeout; `--offline` leaves the server out",
        cause="a mail server is too slow to tell whether it works",
    )  # fmt: skip


def _judged(funnel: Funnel, accepted: Collection[str]) -> Funnel:
    """Put it into one sentence, and an exit code; accepted codes decide nothing."""
    wrong = list(_wrong(funnel.scopes))
    met = {code for code, _ in wrong} | {each.code for each in funnel.findings}
    funnel = replace(funnel, suppressed=tuple(sorted(met.intersection(accepted))))
    asked = [each for each in funnel.findings if each.code not in accepted]
    cause = first_cause(asked)
    if funnel.faults and cause is not None:
        return _with(funnel, f"Not determinable: {cause.cause}", cause.code, exit_code_of(asked))
    stopped: dict[str, int] = {}
    for code, number in wrong:
        if code in accepted:
            continue
        stopped[code] = stopped.get(code, 0) + number
    if not stopped:
        verdict = "Nothing is wrong: no rule that needs correction stops anybody in scope"
        if cause is not None:
            unknown = cause.status in {Status.UNKNOWN, Status.CRASHED}
            verdict = f"{'Not determinable' if unknown else 'Not ready'}: {cause.cause}"
        elif all(scope.skipped for scope in funnel.scopes):
            verdict = "Nothing was looked at: no definition has a period; give --period"
        return _with(funnel, verdict, cause.code if cause else "", exit_code_of(asked))
    primary = max(sorted(stopped), key=lambda code: stopped[code])
    title = CATALOGUE[primary].title
    verdict = (
        f"Not everybody: {sum(stopped.values()):,} in scope need correction; "
        f"most of them {primary} {title[:1].lower()}{title[1:]} ({stopped[primary]:,})"
    )
    return _with(funnel, verdict, primary, ExitCode.DOCTOR_ERRORS)


def _with(funnel: Funnel, verdict: str, primary: str, exit_code: int) -> Funnel:
    return replace(funnel, verdict=verdict, primary=primary, exit_code=exit_code)


def _wrong(scopes: Sequence[Narrowing]) -> Iterator[tuple[str, int]]:
    """Yield the codes of severity error that stop somebody in scope, and how many."""
    for scope in scopes:
        for rule in scope.rules:
            if rule.in_scope and rule.code and CATALOGUE[rule.code].severity == "error":
                yield rule.code, rule.invoices
        for state in scope.states:
            told = state.code and state.state.value != "skipped"
            if told and CATALOGUE[state.code].severity == "error":
                yield state.code, state.messages
