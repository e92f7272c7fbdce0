"""Planning: who gets what, who is skipped and why; the plan is what the run then has."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from billing_world import DEFINITION, World, address, bill, code, make_world
from msgrun.control.start import plan_run
from msgrun.control.work import take_on
from msgrun.database import Database
from msgrun.eligibility import RULES
from msgrun.errors import AlreadyRunningError, NotFoundError, UsageError
from msgrun.ledger import runs
from msgrun.ledger.rows import RunRow
from msgrun.model import Selection
from msgrun.planning.draft import Draft, Plan, draft_run
from msgrun.states import MessageState, RunStatus

M = MessageState


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return make_world(database, tmp_path, 1)


@pytest.fixture
def collating(database: Database, tmp_path: Path) -> World:
    return make_world(database, tmp_path, 1, customers=2, collate=True)


@contextmanager
def drafted(world: World, **selection: Any) -> Iterator[Draft]:
    chosen = world.selection(**selection)
    criteria = world.workspace.criteria(world.frozen, chosen)
    with draft_run(world.database, world.workspace.source, world.frozen, criteria) as draft:
        yield draft


def planned(world: World, **selection: Any) -> Plan:
    with drafted(world, **selection) as draft:
        return draft.plan


def commit(world: World, draft: Draft, to: RunStatus = RunStatus.STOPPED) -> RunRow:
    """Write a draft and leave the run at rest, as if it had been stopped before its first dot."""
    run, _ = draft.commit(
        "acme.test", lambda writing, run: (run, take_on(world.workspace, writing, run))
    )
    with world.database.write() as connection:
        now = world.database.now(connection)
        for status in (RunStatus.STOPPING, to):
            runs.move_run(connection, world.database.tables, run.id, status, now)
    return run


def write(world: World, **selection: Any) -> RunRow:
    with drafted(world, **selection) as draft:
        return commit(world, draft)


def set_state(world: World, invoice: str, state: MessageState) -> None:
    """Say that the message with this invoice came to a state."""
    tables = world.database.tables
    (found,) = [each for each in world.messages() if invoice in each.invoices]
    with world.database.write() as connection:
        connection.execute(
            tables.message.update().where(tables.message.c.id == found.id).values(state=state)
        )


def reasons(world: World, **selection: Any) -> dict[str, int]:
    return dict(planned(world, **selection).skipped)


# The rules.


def test_without_faults_every_invoice_is_sent(world: World) -> None:
    found = planned(world)
    assert (found.in_scope, found.invoices, found.messages, found.skipped) == (4, 4, 4, {})


def test_a_plan_writes_nothing(world: World) -> None:
    plan_run(world.workspace, DEFINITION, world.selection())
    assert [world.count(name) for name in ("run", "message", "event")] == [0, 0, 0]


def test_the_invoice_of_an_unknown_customer_is_in_scope_and_skipped(world: World) -> None:
    world.add("invoices", id="stray", customer="nobody", status="Approved", date="2026-10-05")
    assert reasons(world) == {"MR101": 1}


def test_a_suspended_customer_is_skipped(world: World) -> None:
    world.change("customers", {"code": code(1)}, suspended=True)
    assert reasons(world) == {"MR102": 1}


def test_an_other_cluster_is_out_of_scope(world: World) -> None:
    found = planned(world, cluster="DE")
    assert (found.in_scope, found.messages, found.skipped) == (2, 2, {})


def test_a_cluster_covers_its_descendants_unless_told_not_to(world: World) -> None:
    assert planned(world, cluster="All").in_scope == 4
    assert planned(world, cluster="All", children=False).in_scope == 2


def test_a_loop_in_the_cluster_tree_ends(world: World) -> None:
    world.change("clusters", {"name": "All"}, parent="DE")
    assert planned(world, cluster="DE").in_scope == 4


def test_no_address_under_the_key_is_skipped(world: World) -> None:
    world.change("addresses", {"customer": code(1)}, key="invoices")
    assert reasons(world) == {"MR105": 1}


@pytest.mark.parametrize("broken", ["nobody", "a@b", "a b@c.test", "a@b.test, c@d.test", "<a@b.c>"])
def test_a_malformed_address_is_skipped(world: World, broken: str) -> None:
    world.change("addresses", {"customer": code(1)}, address=broken)
    assert reasons(world) == {"MR107": 1}


@pytest.mark.parametrize(
    ("day", "scope"),
    [("2026-09-30", 3), ("2026-10-01", 4), ("2026-10-31T23:59:59", 4), ("2026-11-01", 3)],
)
def test_an_invoice_belongs_to_the_period_of_its_day(world: World, day: str, scope: int) -> None:
    world.change("invoices", {"id": bill(1)}, date=day)
    assert planned(world).in_scope == scope


def test_the_end_of_an_invoices_period_decides_before_its_date(world: World) -> None:
    world.change("invoices", {"id": bill(1)}, period_end="2026-11-30")
    assert planned(world).in_scope == 3


def test_an_invoice_in_another_status_is_skipped(world: World) -> None:
    world.change("invoices", {"id": bill(1)}, status="Pending")
    assert reasons(world) == {"MR123": 1}


def test_a_missing_documents_row_is_skipped(world: World) -> None:
    world.change("documents", {"invoice": bill(1)}, transformation="ubl")
    assert reasons(world) == {"MR401": 1}


@pytest.mark.parametrize("state", [M.SENT, M.BOUNCED, M.IN_DOUBT])
def test_an_invoice_that_was_sent_or_is_in_doubt_is_not_sent_again(
    world: World, state: MessageState
) -> None:
    write(world, customers=[code(1)])
    set_state(world, bill(1), state)
    assert reasons(world) == {"MR125": 1}


@pytest.mark.parametrize("state", [M.PENDING, M.DEFERRED])
def test_an_invoice_held_by_an_unfinished_run_is_skipped_and_the_run_is_named(
    world: World, state: MessageState
) -> None:
    run = write(world, customers=[code(1)])
    set_state(world, bill(1), state)
    found = planned(world)
    assert (found.skipped, found.held_by) == ({"MR126": 1}, [run.id])


def test_the_first_rule_that_excludes_names_the_reason(world: World) -> None:
    """Break everything at once, then repair it in the order of the rules."""
    write(world, customers=[code(1)])
    world.change("customers", {"code": code(1)}, suspended=True)
    world.change("addresses", {"customer": code(1)}, key="other")
    world.change("invoices", {"id": bill(1)}, status="Pending")
    world.change("documents", {"invoice": bill(1)}, transformation="ubl")
    world.change("invoices", {"id": bill(1)}, customer="nobody")
    repairs: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("invoices", {"id": bill(1)}, {"customer": code(1)}),
        ("customers", {"code": code(1)}, {"suspended": False}),
        ("addresses", {"customer": code(1)}, {"key": "invoice", "address": "broken"}),
        ("addresses", {"customer": code(1)}, {"address": address(1)}),
        ("invoices", {"id": bill(1)}, {"status": "Approved"}),
        ("documents", {"invoice": bill(1)}, {"transformation": "pdf"}),
    ]
    seen = [*reasons(world)]
    for relation, key, values in repairs:
        world.change(relation, key, **values)
        seen += reasons(world)
    assert seen == ["MR101", "MR102", "MR105", "MR107", "MR123", "MR401", "MR126"]
    in_order = [rule.code for rule in RULES if rule.in_scope]
    assert [code_ for code_ in in_order if code_ in seen] == seen


# The selection.


def test_the_limit_comes_after_the_rules_in_order_of_customer_and_invoice(world: World) -> None:
    world.change("customers", {"code": code(1)}, suspended=True)
    run = write(world, limit=2)
    assert world.states(run.id) == {
        bill(1): "MR102",
        bill(2): "pending",
        bill(3): "pending",
        bill(4): "MR127",
    }


def test_what_the_limit_left_out_is_free_for_the_next_run(world: World) -> None:
    write(world, limit=3)
    assert reasons(world) == {"MR126": 3}


def test_only_the_named_customers_are_covered(world: World) -> None:
    run = write(world, customers=[code(3), code(2)])
    assert set(world.states(run.id)) == {bill(2), bill(3)}


def test_an_unknown_customer_or_cluster_is_not_found(world: World) -> None:
    with pytest.raises(NotFoundError, match="MR101"):
        world.selection(customers=["C00"])
    with pytest.raises(NotFoundError, match="no cluster 'Alll'"):
        world.selection(cluster="Alll")


def test_all_periods_must_be_typed(world: World) -> None:
    world.change("invoices", {"id": bill(1)}, date="2020-01-01")
    assert planned(world, period="all").in_scope == 4
    world.reconfigure('period = "2026-10"', "")
    with pytest.raises(UsageError, match="which period"):
        world.selection()
    assert world.selection(customers=[code(1)]).period is None


def test_totals_add_up_exactly_for_each_currency(world: World) -> None:
    world.change("invoices", {"id": bill(1)}, total="0.10")
    world.change("invoices", {"id": bill(2)}, total="0.20")
    world.change("invoices", {"id": bill(3)}, total="-5", currency="USD")
    world.change("invoices", {"id": bill(4)}, total=None)
    assert planned(world).totals == {"EUR": Decimal("0.3"), "USD": Decimal(-5)}


def test_examples_name_the_first_of_each_reason(world: World) -> None:
    world.change("invoices", {"status": "Approved"}, status="Pending")
    assert planned(world).examples["MR123"][:2] == [(code(1), "INV-1"), (code(2), "INV-2")]


# Messages.


def test_every_invoice_in_scope_has_a_row_and_every_unsent_row_a_reason(world: World) -> None:
    world.change("invoices", {"id": bill(2)}, status="Pending")
    run = write(world)
    found = {message.invoices: message for message in world.messages(run.id)}
    assert len(found) == 4
    skipped = found[(bill(2),)]
    assert (skipped.state, skipped.reason, skipped.message_id) == (M.SKIPPED, "MR123", None)
    sendable = found[(bill(1),)]
    assert (sendable.state, sendable.reason) == (M.PENDING, None)
    assert sendable.message_id == f"<{run.uid}.1@acme.test>"


def test_several_addresses_under_the_key_are_one_message_to_all_of_them(world: World) -> None:
    world.add("addresses", customer=code(1), key="invoice", address="b@x.test", display_name="B")
    run = write(world, customers=[code(1)])
    (message,) = world.messages(run.id)
    assert [each.address for each in message.recipients] == ["b@x.test", address(1)]
    assert message.recipients[0].display_name == "B"


def test_collating_makes_one_message_a_customer_and_each_skipped_invoice_its_own_row(
    collating: World,
) -> None:
    for name, status in (("x1", "Approved"), ("x2", "Pending"), ("x3", "Pending")):
        collating.add("invoices", id=name, customer=code(1), status=status, date="2026-10-09")
        collating.add(
            "documents", invoice=name, transformation="pdf", filename=name, content=b"%PDF"
        )
    run = write(collating)
    rows = [(each.customer, each.invoices, each.reason) for each in collating.messages(run.id)]
    assert rows == [
        (code(1), (bill(1), "x1"), None),
        (code(1), ("x2",), "MR123"),
        (code(1), ("x3",), "MR123"),
        (code(2), (bill(2),), None),
    ]


def test_collated_a_limit_counts_messages(collating: World) -> None:
    collating.add("invoices", id="x1", customer=code(1), status="Approved", date="2026-10-09")
    collating.add("documents", invoice="x1", transformation="pdf", filename="x", content=b"%PDF")
    found = planned(collating, limit=1)
    assert (found.messages, found.invoices, found.skipped) == (1, 2, {"MR127": 1})


# The guard.


def generations(world: World, run: RunRow) -> set[tuple[int, bool]]:
    message, link = world.database.tables.message, world.database.tables.message_invoice
    with world.database.read() as connection, connection.begin():
        rows = connection.execute(
            link.select().where(
                link.c.message_id.in_(
                    message.select()
                    .with_only_columns(message.c.id)
                    .where(message.c.run_id == run.id)
                )
            )
        ).mappings()
        return {(row["generation"], row["holds"]) for row in rows}


def test_resend_raises_the_generation_with_a_new_message_id(world: World) -> None:
    first = write(world, customers=[code(1)])
    set_state(world, bill(1), M.SENT)
    second = write(world, customers=[code(1)], resend=True)
    assert generations(world, first) == {(1, True)}
    assert generations(world, second) == {(2, True)}
    ids = [message.message_id for message in world.messages()]
    assert len(set(ids)) == 2


def test_resend_does_not_take_what_an_unfinished_run_still_holds(world: World) -> None:
    write(world, customers=[code(1)])
    assert reasons(world, resend=True) == {"MR126": 1}


def test_a_redirected_run_takes_no_guard_and_ignores_it(world: World) -> None:
    write(world, customers=[code(1)])
    set_state(world, bill(1), M.SENT)
    rehearsal = write(world, redirect_to="me@acme.test")
    assert set(world.states(rehearsal.id).values()) == {"pending"}
    assert generations(world, rehearsal) == {(1, False)}
    assert reasons(world) == {"MR125": 1}


def test_what_another_run_took_since_the_plan_is_not_taken_twice(world: World) -> None:
    with drafted(world) as draft:
        assert draft.plan.messages == 4
        write(world, customers=[code(1)])
        set_state(world, bill(1), M.SENT)
        write(world, customers=[code(2)])
        run = commit(world, draft)
    assert world.states(run.id) == {
        bill(1): "MR125",
        bill(2): "MR126",
        bill(3): "pending",
        bill(4): "pending",
    }


def test_losing_the_race_to_a_live_run_writes_nothing(world: World) -> None:
    with drafted(world) as draft:
        with drafted(world, customers=[code(1)]) as quicker:
            live, _ = quicker.commit(
                "acme.test", lambda writing, run: (run, take_on(world.workspace, writing, run))
            )
        before = [world.count(name) for name in ("run", "message", "event", "worker")]
        with pytest.raises(AlreadyRunningError) as lost:
            commit(world, draft)
    assert lost.value.exit_code == 11
    assert [world.count(name) for name in ("run", "message", "event", "worker")] == before
    assert [run.id for run in world.runs()] == [live.id]


def test_the_run_remembers_what_it_was_asked_to_cover(world: World) -> None:
    run = write(world, cluster="DE", children=False, limit=7, bcc=["b@acme.test"], resend=True)
    (stored,) = world.runs()
    assert stored.selection == world.selection(
        cluster="DE", children=False, limit=7, bcc=["b@acme.test"], resend=True
    )
    assert isinstance(stored.selection, Selection)
    assert stored.id == run.id
