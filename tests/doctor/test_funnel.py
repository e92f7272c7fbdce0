"""`doctor --all`: where everybody comes to rest, on both databases and for mapped sources too."""

import io
import json
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, insert

from doctor_world import TODAY, World
from msgrun.config import load_config
from msgrun.database import Database
from msgrun.demo.sink import running_sink
from msgrun.doctor.deadline import Deadline
from msgrun.doctor.findings import Status
from msgrun.doctor.funnel import Funnel, examine
from msgrun.doctor.missing import Missing
from msgrun.states import MessageState, RunStatus
from msgrun.ui.funnel import COLUMNS, funnel_documents, print_funnel, write_header, write_missing
from msgrun.ui.text import Printer
from msgrun.workspace import Workspace


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(database, tmp_path)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """The port of a server that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def ask(world: World, **asked: Any) -> Funnel:
    return examine(world.workspace, today=TODAY, **{"offline": True, **asked})


def fallen(funnel: Funnel) -> dict[str, tuple[int, int]]:
    """Return invoices and customers by code, of the only scope."""
    (scope,) = funnel.scopes
    return {rule.code: (rule.invoices, rule.customers) for rule in scope.rules}


def rows_of(world: World, **asked: Any) -> list[tuple[str, str | None, str, str]]:
    rows: list[Missing] = []
    ask(world, sink=rows.extend, **asked)
    return [(row.who.customer, row.who.invoice_id, row.code, row.state) for row in rows]


def customer(world: World, code: str, address: str | None = "x@y.test", **values: Any) -> None:
    world.add("customers", **{"code": code, "name": f"Name {code}", "cluster": "DE",
                              "suspended": False, **values})  # fmt: skip
    if address is not None:
        world.add("addresses", customer=code, key="invoice", address=address)


def plant_each_rule(world: World) -> None:
    """Let one customer fall at each rule; C1 is well."""
    customer(world, "OUT", cluster="US")
    world.add_invoice("OUT1", "N-OUT1", customer="OUT")
    customer(world, "NONE")
    customer(world, "OTHER")
    world.add_invoice("OTHER1", "N-OTHER1", customer="OTHER", period_end="2026-09-30")
    customer(world, "SUSP", suspended=True)
    world.add_invoice("SUSP1", "N-SUSP1", customer="SUSP")
    customer(world, "NOADDR", address=None)
    world.add_invoice("NOADDR1", "N-NOADDR1", customer="NOADDR")
    customer(world, "BAD", address="nobody")
    world.add_invoice("BAD1", "N-BAD1", customer="BAD")
    customer(world, "OPEN")
    world.add_invoice("OPEN1", None, customer="OPEN", status="Open")
    customer(world, "NODOC")
    world.add("invoices", id="NODOC1", customer="NODOC", number="N", status="Approved",
              period_end="2026-10-31")  # fmt: skip
    world.add_invoice("GHOST1", "N-GHOST1", customer="GHOST")
    world.definition["cluster"] = "Europe"


EACH_RULE = {
    "MR103": (1, 1),
    "MR121": (0, 1),
    "MR122": (1, 1),
    "MR101": (1, 1),
    "MR102": (1, 1),
    "MR105": (1, 1),
    "MR107": (1, 1),
    "MR123": (1, 1),
    "MR401": (1, 1),
    "": (1, 1),
}


class TestRules:
    def test_every_rule_is_counted_and_the_customers_add_up_to_everybody(
        self, world: World
    ) -> None:
        plant_each_rule(world)

        funnel = ask(world)

        (scope,) = funnel.scopes
        assert fallen(funnel) == EACH_RULE
        assert list(fallen(funnel)) == list(EACH_RULE)  # in the funnel's order
        assert (scope.customers, scope.unknown, scope.invoices) == (9, 1, 9)
        assert sum(rule.customers for rule in scope.rules) == 10
        assert scope.rules[-1].customers_left == 0
        assert [rule.customers_left for rule in scope.rules[:3]] == [9, 8, 7]
        assert scope.in_scope == 7
        assert funnel.exit_code == 4

    def test_a_mapped_source_gives_the_same(self, database: Database, tmp_path: Path) -> None:
        world = World(database, tmp_path)
        plant_each_rule(world)
        own = ask(world)

        mapped = examine(with_mapped_source(world), today=TODAY, offline=True)

        assert fallen(mapped) == fallen(own) == EACH_RULE

    def test_a_customer_rests_where_the_furthest_invoice_does(self, world: World) -> None:
        world.add_invoice("I2", None, status="Open")
        world.add_invoice("I3", "N3", period_end="2026-08-31")
        world.add_invoice("I4", "N4", period_end="2026-07-31")

        assert fallen(ask(world)) == {"MR122": (2, 0), "MR123": (1, 0), "": (1, 1)}

    def test_examples_are_named_and_no_more_than_three(self, world: World) -> None:
        for number in range(5):
            world.add_invoice(f"O{number}", f"N-{number}", status="Open")

        (rule,) = [each for each in ask(world).scopes[0].rules if each.code == "MR123"]

        assert [(e.customer, e.name, e.invoice, e.invoice_id) for e in rule.examples] == [
            ("C1", "Acme GmbH", f"N-{number}", f"O{number}") for number in range(3)
        ]

    def test_a_period_and_a_cluster_that_were_named_go_before_the_usual_ones(
        self, world: World
    ) -> None:
        world.add_invoice("I2", "N2", period_end="2026-09-30")

        assert fallen(ask(world, period="2026-09")) == {"MR122": (1, 0), "": (1, 1)}
        assert fallen(ask(world, cluster="US")) == {"MR103": (2, 1)}

    def test_without_any_period_the_definition_is_left_out_and_says_so(self, world: World) -> None:
        del world.definition["period"]

        funnel = ask(world)

        assert "give --period" in funnel.scopes[0].skipped
        assert funnel.exit_code == 0

    def test_an_enabled_definition_each(self, world: World) -> None:
        world.further["second"] = {**world.definition, "statuses": ["Open"]}
        world.further["third"] = {**world.definition, "enabled": False}

        funnel = ask(world)

        assert [scope.context.name for scope in funnel.scopes] == ["monthly", "second"]
        assert [rule.code for rule in funnel.scopes[1].rules] == ["MR123"]


class TestBrokenData:
    @pytest.mark.parametrize(
        ("relation", "values", "told"),
        [
            ("customers", {"name": ""}, "customers.name is empty"),
            ("invoices", {"total": "12,50"}, "invoices.total is not a decimal number"),
            ("invoices", {"date": "2026-02-30"}, "invoices.date is not a date"),
            ("invoices", {"period_end": "", "date": None}, "invoices.period_end is empty"),
            ("invoices", {"meta": "[]"}, "invoices.meta is not a JSON object"),
            ("addresses", {"address": ""}, "addresses.address is empty"),
        ],
    )
    def test_rows_against_the_contract_are_told_as_the_planner_does(
        self, world: World, relation: str, values: dict[str, Any], told: str
    ) -> None:
        world.change(relation, **values)

        funnel = ask(world)

        (fault,) = funnel.faults
        assert fault.code == "MR006"
        assert told in fault.evidence[0]
        assert (funnel.primary, funnel.exit_code) == ("MR006", 4)

    @pytest.mark.parametrize("total", ["-12.50", "0", "7", "100.00", None, ""])
    def test_sound_totals_pass(self, world: World, total: str | None) -> None:
        world.change("invoices", total=total)

        assert ask(world).faults == ()


class TestRun:
    def test_what_the_run_sent_is_no_error_whatever_the_rules_say_today(self, world: World) -> None:
        run = world.run()
        world.sent(run)
        world.change("customers", suspended=True)

        funnel = ask(world)

        assert fallen(funnel) == {"MR508": (1, 1)}
        assert (funnel.primary, funnel.exit_code) == ("", 0)
        assert [(s.state, s.messages, s.answer) for s in funnel.scopes[0].states] == [
            (MessageState.SENT, 1, "250 2.0.0")
        ]

    def test_refused_messages_are_counted_by_answer_with_examples(self, world: World) -> None:
        customer(world, "C2")
        world.add_invoice("I2", "N2", customer="C2")
        run = world.run()
        world.settle(run, MessageState.REJECTED, reason="MR506", code=550, enhanced="5.1.1",
                     reply="no such user", stage="rcpt")  # fmt: skip
        world.move(run, RunStatus.FINISHED)

        funnel = ask(world, run=str(run.id))

        (state,) = funnel.scopes[0].states
        assert (state.code, state.answer, state.messages) == ("MR506", "550 5.1.1", 2)
        assert [each.customer for each in state.examples] == ["C1", "C2"]
        assert (funnel.primary, funnel.exit_code) == ("MR506", 4)

    def test_what_became_eligible_since_is_told(self, world: World) -> None:
        world.change("invoices", status="Open")
        run = world.run()
        world.move(run, RunStatus.FINISHED)
        world.change("invoices", status="Approved")

        assert fallen(ask(world)) == {"MR124": (1, 1)}

    def test_a_usual_period_after_the_latest_run_is_looked_at_instead(self, world: World) -> None:
        world.sent(world.run(period="2026-09"))

        assert ask(world).scopes[0].context.run is None

    def test_redirected_runs_say_nothing_of_everybody(self, world: World) -> None:
        world.sent(world.run(redirect_to="me@sender.test"))

        funnel = ask(world)

        assert funnel.scopes[0].context.run is None
        assert fallen(funnel) == {"": (1, 1)}


class TestCsv:
    def test_one_row_for_an_invoice_in_scope_and_one_for_who_has_none(self, world: World) -> None:
        plant_each_rule(world)
        world.add_invoice("OTHER2", "N", customer="OTHER", period_end="2026-08-31")
        world.add_invoice("SUSP2", "N", customer="SUSP")
        world.add_invoice("I9", "N9", period_end="2026-08-31")  # C1 has one that goes

        assert sorted(rows_of(world), key=str) == sorted(
            [
                ("BAD", "BAD1", "MR107", ""),
                ("GHOST", "GHOST1", "MR101", ""),
                ("NOADDR", "NOADDR1", "MR105", ""),
                ("NODOC", "NODOC1", "MR401", ""),
                ("NONE", None, "MR121", ""),
                ("OPEN", "OPEN1", "MR123", ""),
                ("OTHER", None, "MR122", ""),
                ("OUT", None, "MR103", ""),
                ("SUSP", "SUSP1", "MR102", ""),
                ("SUSP", "SUSP2", "MR102", ""),
            ],
            key=str,
        )

    def test_of_a_run_what_its_ledger_says_comes_first_and_only_once(self, world: World) -> None:
        plant_each_rule(world)
        run = world.run(cluster="Europe")
        world.settle(run, MessageState.REJECTED, reason="MR506", code=550, reply="no")
        world.move(run, RunStatus.FINISHED)

        rows = rows_of(world, run=str(run.id))

        assert ("C1", "I1", "MR506", "rejected") in rows
        assert ("SUSP", "SUSP1", "MR102", "skipped") in rows
        assert ("NONE", None, "MR121", "") in rows
        assert len({row[:2] for row in rows}) == len(rows) == 10

    def test_pages_follow_each_other_without_gap_or_repetition(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("msgrun.doctor.places._PAGE", 2)
        plant_each_rule(world)
        expected = sorted(rows_of(world), key=str)
        monkeypatch.undo()

        assert sorted(rows_of(world), key=str) == expected
        assert len(expected) == 9

    def test_nothing_in_it_is_run_as_a_formula(self, world: World) -> None:
        world.change("customers", name="=cmd|'/c calc'!A1", suspended=True)
        stream = io.StringIO()
        write_header(stream)

        ask(world, sink=lambda rows: write_missing(rows, stream))

        header, row = stream.getvalue().splitlines()
        assert header == ",".join(COLUMNS)
        assert ",'=cmd" in row

    def test_while_rows_are_written_no_transaction_is_open(self, world: World) -> None:
        world.change("customers", suspended=True)

        def write(rows: Iterator[Missing]) -> None:
            for _ in rows:
                world.add("clusters", name="written meanwhile", parent=None)

        ask(world, sink=write)

    def test_at_most_a_page_is_read_ahead(self, world: World) -> None:
        people = [
            {"code": f"K{n:05}", "name": "N", "cluster": "DE", "suspended": False}
            for n in range(1800)
        ]
        with world.database.write() as connection:
            connection.execute(insert(world.database.tables.customers), people)
        workspace, statements = world.workspace, []
        event.listen(
            workspace.database._engine,
            "before_cursor_execute",
            lambda *args: statements.append(args[2]),
        )
        rows: list[Missing] = []

        def sink(missing: Iterator[Missing]) -> None:
            before = len(statements)
            rows.append(next(missing))
            first = len(statements) - before
            rows.extend(missing)
            assert len(statements) - before > 3 * (first - 1)  # the rest came page by page

        examine(workspace, today=TODAY, offline=True, sink=sink)

        assert len(rows) == len({row.who.customer for row in rows}) == 1800


class TestServersAndDomains:
    def test_each_server_is_asked_once_for_all_definitions(
        self, world: World, tmp_path: Path
    ) -> None:
        world.further["second"] = dict(world.definition)
        with running_sink(tmp_path / "mail") as sink:
            world.server["port"] = sink.port

            funnel = ask(world, offline=False)

        assert [each.status for each in funnel.servers] == [Status.PASS]
        assert funnel.exit_code == 0

    def test_a_server_that_refuses_is_an_error(self, world: World) -> None:
        funnel = ask(world, offline=False)

        assert (funnel.primary, funnel.exit_code) == ("MR603", 4)

    def test_a_server_that_stays_silent_is_unknown_when_time_is_up(
        self, world: World, silent_port: int
    ) -> None:
        world.server |= {"port": silent_port, "timeout": 30}

        funnel = ask(world, offline=False, deadline=Deadline.after(0.3))

        assert [(each.code, each.status) for each in funnel.servers] == [("MR091", Status.UNKNOWN)]
        assert funnel.exit_code == 5


class TestSuppression:
    def test_a_code_accepted_for_everybody_decides_nothing_and_is_named(self, world: World) -> None:
        customer(world, "SUSP", suspended=True)
        world.add_invoice("SUSP1", "N", customer="SUSP")
        world.sections["[doctor.suppress]"] = {"code": "MR102", "reason": "they left"}

        funnel = ask(world)

        assert (funnel.exit_code, funnel.suppressed) == (0, ("MR102",))
        assert fallen(funnel)["MR102"] == (1, 1)

    @pytest.mark.parametrize(
        "limits", [{"customer": "SUSP"}, {"until": f"{TODAY - timedelta(days=1)}"}], ids=str
    )
    def test_what_is_accepted_for_some_or_no_longer_counts(
        self, world: World, limits: dict[str, Any]
    ) -> None:
        customer(world, "SUSP", suspended=True)
        world.add_invoice("SUSP1", "N", customer="SUSP")
        world.sections["[doctor.suppress]"] = {"code": "MR102", "reason": "they left", **limits}

        assert ask(world).exit_code == 4


class TestOutput:
    def test_json_lines_begin_with_the_scope_and_end_with_the_verdict(self, world: World) -> None:
        plant_each_rule(world)

        lines = [json.loads(json.dumps(each)) for each in funnel_documents(ask(world))]

        assert lines[0]["schema"] == 1
        assert [each["kind"] for each in lines] == [
            "scope", *["rule"] * 10, "server", "verdict"
        ]  # fmt: skip
        assert lines[0]["definitions"] == [
            {"definition": "monthly", "run": None, "period": "2026-10", "cluster": "Europe",
             "customers": 9, "unknown_customers": 1, "invoices": 9, "in_scope": 7,
             "skipped": None}
        ]  # fmt: skip
        assert lines[5] == {
            "kind": "rule", "definition": "monthly", "run": None, "period": "2026-10",
            "code": "MR102", "title": "Customer suspended", "severity": "error",
            "in_scope": True, "invoices": 1, "customers": 1, "customers_left": 5,
            "examples": [{"customer": "SUSP", "name": "Name SUSP", "invoice": "N-SUSP1",
                          "invoice_id": "SUSP1"}],
        }  # fmt: skip
        assert lines[-1]["exit_code"] == 4

    def test_text_shows_the_numbers_and_no_control_characters(self, world: World) -> None:
        world.change("customers", name="A\x1b[31mcme", suspended=True)
        stream = io.StringIO()

        print_funnel(Printer(stream), ask(world))

        text = stream.getvalue()
        assert "1 customer, 1 invoice, 1 of them in scope" in text
        assert "MR102  Customer suspended" in text
        assert "\x1b" not in text


def with_mapped_source(world: World) -> Workspace:
    """Return the world with every relation read by a SELECT over the same tables."""
    file = world.workspace.config.path
    tables = world.database.tables
    lines = ["[source]"]
    for name in ("customers", "addresses", "clusters", "invoices", "documents"):
        table = tables.relation(name).fullname
        lines.append(f'{name} = "SELECT * FROM {table}"')
    file.write_text(file.read_text() + "\n" + "\n".join(lines) + "\n")
    return Workspace.of(load_config(file, environ={}))
