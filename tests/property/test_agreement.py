"""Promise 8: the planner and the doctor evaluate one list of rules, in any world."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select

from doctor_world import PDF, TODAY, World
from msgrun.database import Database
from msgrun.doctor import Case, diagnose
from msgrun.doctor.funnel import examine
from msgrun.eligibility import FUNNEL, RULES, InvoiceVerdict, verdicts
from msgrun.model import Selection
from msgrun.planning.scope import fill_scope
from msgrun.selection import parse_period
from msgrun.states import HOLDING, MessageState, RunStatus
from msgrun.workspace import Workspace

CUSTOMERS = ("C1", "C2", "C3")
NOW = datetime(2026, 9, 1, tzinfo=UTC)
CODES = [rule.code for rule in RULES]
OUTSIDE = {rule.code for rule in RULES if not rule.in_scope}

GOOD = ("invoice", "a@one.test")

clusters = st.sampled_from(["A", "B", "C"])
addresses = st.sampled_from(
    [
        {GOOD},
        {GOOD},
        set(),
        {("invoice", "nobody")},
        {GOOD, ("invoice", "a@one.test, b@one.test")},
        {("invoices", "c@one.test")},
        {("Invoice", "d@one.test")},
        {("legal", "e@one.test")},
        {GOOD, ("invoices", "c@one.test")},
    ]
)


@dataclass(frozen=True)
class Billed:
    """One invoice, and the state of an earlier run's message with it."""

    customer: str
    status: str
    period_end: str
    document: bool
    state: MessageState | None


billed = st.builds(
    Billed,
    customer=st.sampled_from([*CUSTOMERS, *CUSTOMERS, "GHOST"]),
    status=st.sampled_from(["Approved", "Approved", "Approved", "Open"]),
    period_end=st.sampled_from(["2026-10-31", "2026-10-31", "2026-10-01", "2026-09-30"]),
    document=st.sampled_from([True, True, False]),
    state=st.sampled_from([None] * 10 + list(MessageState)),
)
people = st.fixed_dictionaries(
    {
        code: st.tuples(
            st.sampled_from(["A", "A", "B", "C", None, "Gone"]),
            st.sampled_from([False, False, False, True]),
            addresses,
        )
        for code in CUSTOMERS
    }
)
trees = st.dictionaries(clusters, st.none() | clusters | st.just("Gone"), max_size=3)


@pytest.fixture
def world(sqlite_database: Database, tmp_path: Path) -> World:
    return World(sqlite_database, tmp_path)


@settings(
    max_examples=60,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # worlds are small: shrinking is slow
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    tree=trees,
    customers=people,
    invoices=st.lists(billed, min_size=3, max_size=8),
    root=st.sampled_from([None, None, "A", "B"]),
)
def test_the_doctor_blames_the_rule_that_the_planner_skips_by(
    world: World,
    tree: Mapping[str, str | None],
    customers: Mapping[str, tuple[str | None, bool, set[tuple[str, str]]]],
    invoices: list[Billed],
    root: str | None,
) -> None:
    fill(world, tree, customers, invoices)
    world.definition.pop("cluster", None)
    if root is not None:
        world.definition["cluster"] = root
    workspace = world.workspace

    planned, blocked = plan(workspace, root)

    cases: list[Case] = []
    for code in CUSTOMERS:
        report = diagnose(workspace, code, today=TODAY, period="2026-10", offline=True)
        told = {case.invoice_id: case for case in report.cases}
        cases += report.cases
        for number, invoice in enumerate(invoices):
            if invoice.customer == code:
                agree(f"I{number}", planned, blocked, told)
    agree_on_everybody(workspace, root, planned, cases)
    ghosts = [f"I{n}" for n, each in enumerate(invoices) if each.customer == "GHOST"]
    assert {planned[each] for each in ghosts if each in planned} <= {"MR101"}
    assert diagnose(workspace, "GHOST", today=TODAY, offline=True).primary == "MR101"


def agree(
    invoice: str,
    planned: Mapping[str, str | None],
    blocked: Mapping[str, tuple[str, ...]],
    told: Mapping[str | None, Case],
) -> None:
    """Hold planner and rules against the doctor's base codes for one invoice."""
    if invoice not in told:  # the doctor speaks of another period
        assert invoice not in planned
        return
    blamed = [code for code in CODES if code in {each.base for each in told[invoice].findings}]
    assert blamed == list(blocked[invoice])
    if OUTSIDE & set(blamed):
        assert invoice not in planned
    else:
        assert planned[invoice] == (blamed[0] if blamed else None)


def agree_on_everybody(
    workspace: Workspace, root: str | None, planned: Mapping[str, str | None], cases: list[Case]
) -> None:
    """Hold the figures of `doctor --all` against planner, rules and the doctor's own cases."""
    (scope,) = examine(workspace, today=TODAY, period="2026-10", offline=True).scopes
    in_scope = Counter({rule.code: rule.invoices for rule in scope.rules if rule.in_scope})

    assert in_scope == Counter(reason or "" for reason in planned.values())
    assert Counter({r.code: r.invoices for r in scope.rules if r.invoices}) == Counter(
        first_of(each.blocked_by) for each in judged(workspace, root) if each.invoice is not None
    )
    blamed = [{each.base for each in case.findings} for case in cases if case.invoice_id in planned]
    del in_scope["MR101"]  # nobody can be asked about a customer that there is not
    assert in_scope == Counter(first_of(codes) for codes in blamed)
    assert sum(rule.customers for rule in scope.rules) == scope.customers + scope.unknown


def first_of(codes: Collection[str]) -> str:
    return next((rule.code for rule in FUNNEL if rule.code in codes), "")


def judged(workspace: Workspace, root: str | None) -> list[InvoiceVerdict]:
    """Return what each rule says of every invoice, of whatever period and customer."""
    selection = Selection(cluster=root, period=parse_period("2026-10", TODAY))
    criteria = workspace.criteria(workspace.freeze("monthly"), selection)
    tables = workspace.database.tables
    with workspace.database.connect() as connection:
        snapshot = workspace.source.snapshot(connection)
        with connection.begin():
            return [
                each
                for code in (*CUSTOMERS, "GHOST")
                for each in verdicts(connection, snapshot, tables, criteria, code)
            ]


def plan(
    workspace: Workspace, root: str | None
) -> tuple[dict[str, str | None], dict[str, tuple[str, ...]]]:
    """Return what the planner would write for each invoice in scope, and what each rule says."""
    selection = Selection(cluster=root, period=parse_period("2026-10", TODAY))
    criteria = workspace.criteria(workspace.freeze("monthly"), selection)
    tables = workspace.database.tables
    with workspace.database.connect() as connection:
        snapshot = workspace.source.snapshot(connection, period=selection.period)
        with connection.begin():
            scope = fill_scope(connection, snapshot, tables, criteria, collate=False)
            rows = connection.execute(select(scope.c.invoice, scope.c.reason)).all()
            blocked = {
                str(each.invoice): each.blocked_by
                for code in CUSTOMERS
                for each in verdicts(connection, snapshot, tables, criteria, code)
            }
    return {row[0]: row[1] for row in rows}, blocked


def fill(
    world: World,
    tree: Mapping[str, str | None],
    customers: Mapping[str, tuple[str | None, bool, set[tuple[str, str]]]],
    invoices: list[Billed],
) -> None:
    """Make the database hold just this world."""
    tables = world.database.tables
    with world.database.write() as connection:
        for table in (tables.message_invoice, tables.message, tables.run_revision, tables.run,
                      tables.customers, tables.addresses, tables.clusters, tables.invoices,
                      tables.documents):  # fmt: skip
            connection.execute(delete(table))
        for name, parent in tree.items():
            connection.execute(insert(tables.clusters).values(name=name, parent=parent))
        for code, (cluster, suspended, keys) in customers.items():
            row = {"code": code, "name": code, "cluster": cluster, "suspended": suspended}
            connection.execute(insert(tables.customers).values(**row))
            for key, address in keys:
                row = {"customer": code, "key": key, "address": address}
                connection.execute(insert(tables.addresses).values(**row))
        connection.execute(insert(tables.run).values(**EARLIER_RUN))
        for number, invoice in enumerate(invoices, 1):
            connection.execute(
                insert(tables.invoices).values(
                    id=f"I{number - 1}", customer=invoice.customer, status=invoice.status,
                    period_end=invoice.period_end,
                )
            )  # fmt: skip
            if invoice.document:
                document = {"transformation": "pdf", "filename": "i.pdf", "content": PDF}
                connection.execute(
                    insert(tables.documents).values(invoice=f"I{number - 1}", **document)
                )
            if invoice.state is None:
                continue
            connection.execute(
                insert(tables.message).values(
                    id=number, run_id=1, number=number, revision=1, customer=invoice.customer,
                    recipients=[], state=invoice.state, attempts=0, updated_at=NOW,
                )
            )  # fmt: skip
            connection.execute(
                insert(tables.message_invoice).values(
                    message_id=number, invoice=f"I{number - 1}", definition="monthly",
                    generation=1, holds=invoice.state in HOLDING,
                )
            )  # fmt: skip


EARLIER_RUN = {
    "id": 1,
    "uid": "earlier",
    "definition": "monthly",
    "status": RunStatus.STOPPED,
    "children": True,
    "period": "2026-08",
    "period_start": date(2026, 8, 1),
    "period_end": date(2026, 8, 31),
    "customers": [],
    "bcc": [],
    "resend": False,
    "created_by": "test",
    "created_at": NOW,
}
