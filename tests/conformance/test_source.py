"""The source: one suite over own and mapped tables, on SQLite and PostgreSQL."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from billing_data import TOTALS, Billing, fill_own_tables, foreign_billing
from sqlalchemy import exc as sa_exc
from sqlalchemy import func, insert, select, text

from msgrun.database import Database, attach_files, detach_files
from msgrun.errors import DatabaseError, SourceError
from msgrun.model import Address, Period
from msgrun.source import Snapshot, Source

OCTOBER = Period(date(2026, 10, 1), date(2026, 10, 31), "2026-10")


@contextmanager
def taken(database: Database, source: Source, **filters: Any) -> Iterator[Snapshot]:
    with database.connect(attach=True) as connection:
        yield source.snapshot(connection, **filters)


def rows(snapshot: Snapshot, relation: str, *names: str) -> list[tuple[Any, ...]]:
    table = getattr(snapshot, relation)
    columns = [table.c[name] for name in names]
    found = snapshot.connection.execute(select(*columns).order_by(*columns))
    return [tuple(row) for row in found]


def ids(snapshot: Snapshot) -> list[str]:
    return [row[0] for row in rows(snapshot, "invoices", "id")]


# What a snapshot holds


def test_a_snapshot_holds_every_relation_as_text_of_the_contract(billing: Billing) -> None:
    with taken(billing.database, billing.source) as snapshot:
        assert rows(snapshot, "customers", "code", "name", "cluster", "suspended", "language") == [
            ("1", "Acme GmbH", "DE", "0", None),
            ("2", "Žluťoučký 株式会社", "All", "1", None),
            ("3", "acme north", "DE", "0", None),
        ]
        assert rows(snapshot, "clusters", "name", "parent") == [("All", None), ("DE", "All")]
        assert rows(snapshot, "addresses", "customer", "key", "address", "display_name") == [
            ("1", "invoice", "a@acme.test", None),
            ("1", "invoice", "b@acme.test", "Berta"),
            ("1", "invoices", "old@acme.test", None),
            ("2", "invoice", "c@example.test", None),
        ]
        assert rows(snapshot, "invoices", "id", "customer", "number", "status", "period_end") == [
            ("10", "1", "INV-10", "Approved", None),
            ("11", "1", None, "Pending", None),
            ("12", "2", "INV-12", "Approved", None),
        ]
        assert rows(snapshot, "documents", "invoice", "transformation", "path", "has_content") == [
            ("10", "pdf", "10.pdf", "0"),
            ("10", "ubl", None, "1"),
            ("12", "pdf", "12.pdf", "0"),
        ]


def test_totals_keep_their_decimals(billing: Billing) -> None:
    with taken(billing.database, billing.source) as snapshot:
        totals = dict(rows(snapshot, "invoices", "id", "total"))

    assert {name: float(total) for name, total in totals.items()} == {
        name: float(total) for name, total in TOTALS.items()
    }
    assert totals["10"] == "3.96"


def test_the_tables_join_with_the_ledger_and_each_other(billing: Billing) -> None:
    ledger = billing.database.tables.message
    with taken(billing.database, billing.source) as snapshot:
        customers, invoices = snapshot.customers, snapshot.invoices
        joined = (
            select(func.count())
            .select_from(invoices.join(customers, customers.c.code == invoices.c.customer))
            .outerjoin(ledger, ledger.c.customer == customers.c.code)
        )
        assert snapshot.connection.execute(joined).scalar_one() == 3


@pytest.mark.parametrize(
    ("period", "expected"),
    [
        (OCTOBER, ["10", "12"]),
        (Period(date(2026, 10, 2), date(2026, 10, 30), "x"), []),
        (Period(date(2026, 11, 1), date(2026, 11, 1), "x"), ["11"]),
    ],
)
def test_a_period_holds_both_its_days(
    billing: Billing, period: Period, expected: list[str]
) -> None:
    with taken(billing.database, billing.source, period=period) as snapshot:
        assert ids(snapshot) == expected


def test_documents_follow_their_invoices(billing: Billing) -> None:
    with taken(billing.database, billing.source, invoices={"12", "99"}) as snapshot:
        assert ids(snapshot) == ["12"]
        assert rows(snapshot, "documents", "invoice") == [("12",)]
        assert len(rows(snapshot, "customers", "code")) == 3


def test_the_customers_filter_narrows_their_rows_alone(billing: Billing) -> None:
    with taken(billing.database, billing.source, customers=["1"]) as snapshot:
        assert rows(snapshot, "customers", "code") == [("1",)]
        assert len(rows(snapshot, "addresses", "address")) == 3
        assert ids(snapshot) == ["10", "11"]
        assert rows(snapshot, "clusters", "name") == [("All",), ("DE",)]


def test_filters_take_more_ids_than_a_statement_holds(billing: Billing) -> None:
    many = [str(number) for number in range(12, 70_000)]
    with taken(billing.database, billing.source, invoices=many, customers=["2", *many]) as snapshot:
        assert ids(snapshot) == ["12"]


def test_no_ids_mean_no_invoices(billing: Billing) -> None:
    with taken(billing.database, billing.source, invoices=[]) as snapshot:
        assert ids(snapshot) == []


def test_an_id_that_only_looks_equal_is_another_invoice(billing: Billing) -> None:
    with taken(billing.database, billing.source, invoices=["010", "12 ", "1e1"]) as snapshot:
        assert ids(snapshot) == []


def test_a_second_snapshot_replaces_the_first(billing: Billing) -> None:
    with billing.database.connect(attach=True) as connection:
        billing.source.snapshot(connection)
        again = billing.source.snapshot(connection, period=OCTOBER)
        assert ids(again) == ["10", "12"]
        connection.commit()
        again.drop()
        with pytest.raises(sa_exc.DBAPIError):
            ids(again)


def test_the_connection_is_left_in_no_transaction_and_may_write(billing: Billing) -> None:
    database = billing.database
    with database.connect(attach=True) as connection:
        snapshot = billing.source.snapshot(connection)
        assert not connection.in_transaction()
        if database.is_sqlite:
            detach_files(connection, database.attach)
        connection.execution_options(begin="write")
        with connection.begin():
            server = database.tables.server
            connection.execute(insert(server).from_select(["name"], select(snapshot.invoices.c.id)))
        assert connection.execute(select(func.count()).select_from(server)).scalar_one() == 3


def test_a_snapshot_is_indexed_as_often_as_it_is_taken(billing: Billing) -> None:
    with billing.database.connect(attach=True) as connection:
        for _ in range(2):
            snapshot = billing.source.snapshot(connection)
        assert not snapshot.invoices.indexes  # the shared Table keeps nothing of a connection
        listing = (
            "SELECT name FROM temp.sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
            if billing.database.is_sqlite
            else "SELECT indexname FROM pg_indexes WHERE schemaname LIKE 'pg_temp%'"
            " AND indexname NOT LIKE '%wanted%'"
        )
        assert len(connection.execute(text(listing)).all()) == 7


def test_unmapped_relations_of_a_mapped_source_are_empty(database: Database) -> None:
    fill_own_tables(database)
    source = literal_source(database, clusters=None, documents=None)
    with taken(database, source) as snapshot:
        assert rows(snapshot, "clusters", "name") == []
        assert rows(snapshot, "documents", "invoice", "has_content") == []


def test_the_attached_file_is_never_written(sqlite_database: Database, tmp_path: Path) -> None:
    billing = foreign_billing(sqlite_database, tmp_path)
    assert billing.file is not None
    before = hashlib.sha256(billing.file.read_bytes()).hexdigest()

    with (
        taken(billing.database, billing.source, period=OCTOBER) as snapshot,
        pytest.raises(sa_exc.OperationalError, match="readonly"),
    ):
        snapshot.connection.exec_driver_sql("DELETE FROM billing.invoice")

    assert hashlib.sha256(billing.file.read_bytes()).hexdigest() == before
    assert not list(tmp_path.glob("billing*-*"))


def test_a_select_that_writes_is_refused_on_postgresql(postgresql_database: Database) -> None:
    with postgresql_database.write() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE public.victim (n int);"
            "CREATE FUNCTION public.spoil() RETURNS text LANGUAGE sql AS"
            " 'INSERT INTO public.victim VALUES (1) RETURNING ''C1'''"
        )
    source = literal_source(postgresql_database, customers="SELECT spoil() AS code, 'n' AS name")

    with (
        pytest.raises(SourceError, match=r"customers: .*read-only transaction.*MR006"),
        taken(postgresql_database, source),
    ):
        pass

    with postgresql_database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM public.victim")).scalar_one() == 0


# What is wrong with a mapping

GOOD = {
    "customers": "SELECT 'C1' AS code, 'Acme' AS name",
    "addresses": "SELECT 'C1' AS customer, 'invoice' AS key, 'a@acme.test' AS address",
    "clusters": "SELECT 'All' AS name, NULL AS parent",
    "invoices": "SELECT 'I1' AS id, 'C1' AS customer, 'N1' AS number, 'Approved' AS status,"
    " '2026-10-31' AS date",
    "documents": "SELECT 'I1' AS invoice, 'pdf' AS transformation, 'a.pdf' AS filename,"
    " 'a.pdf' AS path",
}


def literal_source(database: Database, **selects: str | None) -> Source:
    return Source(database, GOOD | selects, Path())


def complaint(database: Database, source: Source, **filters: Any) -> str:
    with pytest.raises(SourceError) as caught, taken(database, source, **filters):
        pass
    assert "MR006" in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 2
    return caught.value.message


def with_invoice(**columns: str) -> str:
    values = {"id": "'I1'", "customer": "'C1'", "number": "'N1'", "status": "'Approved'"}
    values |= {"date": "'2026-10-31'"} | columns
    return "SELECT " + ", ".join(f"{value} AS {name}" for name, value in values.items())


@pytest.mark.parametrize(
    ("relation", "sql", "parts"),
    [
        ("customers", "SELECT nonsense FROM nowhere", ["customers", "nowhere"]),
        ("invoices", "SELEC 1", ["invoices", "syntax"]),
        ("customers", "SELECT 'a' AS cod, 'b' AS name", ["'code'", "cod, name", "mean 'cod'"]),
        ("addresses", "SELECT 'a' AS customer, 'k' AS key", ["'address'", "customer, key"]),
        ("clusters", "SELECT 'a' AS name", ["'parent' is missing"]),
        (
            "invoices",
            "SELECT 1 AS id, 1 AS customer, 1 AS number, 1 AS status",
            ["'period_end' or 'date'"],
        ),
        (
            "documents",
            "SELECT 'I1' AS invoice, 'pdf' AS transformation, 'a' AS filename",
            ["'path' or 'content'"],
        ),
        ("customers", "SELECT 'a' AS code, 'b' AS name, 'c' AS code", ["'code' comes twice"]),
        ("customers", "SELECT NULL AS code, 'b' AS name", ["customers.code is empty", "NULL"]),
        ("customers", "SELECT '' AS code, 'b' AS name", ["customers.code is empty"]),
        ("customers", "SELECT 'C7' AS code, '' AS name", ["customers.name is empty", "'C7'"]),
        ("addresses", "SELECT 'C1' AS customer, NULL AS key, 'a' AS address", ["addresses.key"]),
        ("addresses", "SELECT 'C1' AS customer, 'k' AS key, '' AS address", ["addresses.address"]),
        ("addresses", "SELECT '' AS customer, 'k' AS key, 'a' AS address", ["addresses.customer"]),
        ("clusters", "SELECT NULL AS name, 'All' AS parent", ["clusters.name is empty"]),
        ("invoices", with_invoice(id="''"), ["invoices.id is empty"]),
        ("invoices", with_invoice(customer="NULL"), ["invoices.customer is empty", "'I1'"]),
        ("invoices", with_invoice(status="''"), ["invoices.status is empty", "'I1'"]),
        (
            "documents",
            "SELECT 'I1' AS invoice, '' AS transformation, 'f' AS filename, 'p' AS path",
            ["documents.transformation is empty", "'f'"],
        ),
        (
            "customers",
            "SELECT 'C1' AS code, 'b' AS name UNION ALL SELECT 'C1', 'c'",
            ["customers.code comes more than once", "code='C1'"],
        ),
        (
            "clusters",
            "SELECT 'A' AS name, NULL AS parent UNION ALL SELECT 'A', 'A'",
            ["clusters.name comes more than once"],
        ),
        (
            "invoices",
            f"{with_invoice()} UNION ALL {with_invoice()}",
            ["invoices.id comes more than once", "id='I1'"],
        ),
        (
            "documents",
            f"{GOOD['documents']} UNION ALL {GOOD['documents']}",
            ["documents.invoice, transformation, filename comes more than once", "'a.pdf'"],
        ),
        (
            "customers",
            "SELECT 'C1' AS code, 'b' AS name, 'maybe' AS suspended",
            ["customers.suspended", "code='C1'", "'maybe'"],
        ),
        (
            "customers",
            "SELECT 'C1' AS code, 'b' AS name, '[1]' AS meta",
            ["customers.meta", "code='C1'", "'[1]'"],
        ),
        ("customers", "SELECT 'C1' AS code, 'b' AS name, '{' AS meta", ["customers.meta"]),
        ("invoices", with_invoice(meta="'nope'"), ["invoices.meta", "id='I1'", "'nope'"]),
        ("invoices", with_invoice(date="'31.10.2026'"), ["invoices.date", "id='I1'", "31.10.2026"]),
        ("invoices", with_invoice(date="'2026-02-30'"), ["invoices.date", "'2026-02-30'"]),
        ("invoices", with_invoice(date="'2026-10-31x'"), ["invoices.date"]),
        ("invoices", with_invoice(date="'20261031'"), ["invoices.date"]),
        ("invoices", with_invoice(period_start="'soon'"), ["invoices.period_start", "'soon'"]),
        ("invoices", with_invoice(period_end="'later'"), ["invoices.period_end", "'later'"]),
        ("invoices", with_invoice(date="NULL"), ["invoices.period_end is empty", "id='I1'"]),
        ("invoices", with_invoice(total="'1,50'"), ["invoices.total", "id='I1'", "'1,50'"]),
        ("invoices", with_invoice(total="'1.'"), ["invoices.total"]),
    ],
)
def test_a_bad_source_is_named_with_relation_column_and_rows(
    database: Database, relation: str, sql: str, parts: list[str]
) -> None:
    source = literal_source(database, **{relation: sql})

    messages = [complaint(database, source), complaint(database, source, period=OCTOBER)]

    for part in [relation, *parts]:
        assert all(part in message for message in messages)


def test_a_good_source_of_literals_passes(database: Database) -> None:
    with taken(database, literal_source(database), period=OCTOBER) as snapshot:
        assert ids(snapshot) == ["I1"]


@pytest.mark.parametrize("day", ["'31.10.2025'", "'0000-00-00'", "'2019-02-29'", "NULL"])
def test_a_date_that_no_period_holds_is_an_error_not_a_silent_loss(
    database: Database, day: str
) -> None:
    lost = f"{with_invoice()} UNION ALL {with_invoice(id=repr('I2'), date=day)}"

    message = complaint(database, literal_source(database, invoices=lost), period=OCTOBER)

    assert "id='I2'" in message


def test_only_the_first_three_bad_rows_are_shown(database: Database) -> None:
    bad = " UNION ALL ".join(with_invoice(id=f"'I{n}'", total="'x'") for n in range(5))

    message = complaint(database, literal_source(database, invoices=bad))

    assert "I2" in message
    assert "I3" not in message


def test_control_characters_of_the_data_are_shown_escaped(database: Database) -> None:
    bell = "char(27)" if database.is_sqlite else "chr(27)"
    sql = f"SELECT 'C' || {bell} || '[31m' AS code, '' AS name"

    message = complaint(database, literal_source(database, customers=sql))

    assert "\x1b" not in message
    assert r"\x1b[31m" in message


@pytest.mark.parametrize("word", ["1", "TRUE", "t", "Yes", "0", "false", "F", "no", ""])
def test_every_way_to_write_suspended_is_read(database: Database, word: str) -> None:
    sql = f"SELECT 'C1' AS code, 'n' AS name, '{word}' AS suspended"
    with taken(database, literal_source(database, customers=sql)) as snapshot:
        expected = "1" if word.lower() in {"1", "true", "t", "yes"} else "0"
        assert rows(snapshot, "customers", "suspended") == [(expected,)]


def test_casts_with_colons_survive_on_postgresql(postgresql_database: Database) -> None:
    sql = r"SELECT 7::text AS code, E'a\:b%s' || '10:30' AS name, '{}'::jsonb AS meta"
    with taken(postgresql_database, literal_source(postgresql_database, customers=sql)) as snapshot:
        assert rows(snapshot, "customers", "code", "name") == [("7", "a:b%s10:30")]


def test_a_lost_or_locked_database_is_not_blamed_on_the_select(
    postgresql_database: Database,
) -> None:
    source = literal_source(
        postgresql_database,
        customers="SELECT 'C1' AS code, pg_terminate_backend(pg_backend_pid())::text AS name",
    )
    with pytest.raises(DatabaseError), taken(postgresql_database, source):
        pass


# Loading what messages are made of


def load(
    billing: Billing, *wanted: tuple[str, list[str]], transformations: Any = ("pdf", "ubl")
) -> Any:
    with billing.database.read(attach=True) as connection:
        return billing.source.load(
            connection, wanted, key="invoice", transformations=transformations
        )


def test_a_context_holds_customer_addresses_invoices_and_documents(billing: Billing) -> None:
    (context,) = load(billing, ("1", ["11", "10"]))

    assert (context.customer.code, context.customer.name) == ("1", "Acme GmbH")
    assert context.customer.meta == {"vat": "DE1"}
    assert context.customer.suspended is False
    assert context.addresses == (Address("a@acme.test"), Address("b@acme.test", "Berta"))
    assert [invoice.id for invoice in context.invoices] == ["11", "10"]
    assert [invoice.label for invoice in context.invoices] == ["Concept", "INV-10"]
    assert context.invoices[1].total == "3.96"
    assert [(d.invoice, d.transformation, d.path, d.content) for d in context.documents] == [
        ("10", "pdf", "10.pdf", None),
        ("10", "ubl", None, b"<ubl/>"),
    ]


def test_contexts_come_in_order_and_none_stands_for_what_is_gone(billing: Billing) -> None:
    contexts = load(billing, ("2", ["12"]), ("404", ["10"]), ("1", ["10", "404"]), ("1", ["10"]))

    assert [context and context.customer.code for context in contexts] == ["2", None, None, "1"]
    assert contexts[0].customer.suspended is True


def test_only_the_wanted_transformations_are_loaded(billing: Billing) -> None:
    (pdf,) = load(billing, ("1", ["10"]), transformations=["pdf"])
    (none,) = load(billing, ("1", ["10"]), transformations=[])

    assert [document.filename for document in pdf.documents] == ["10.pdf"]
    assert none.documents == ()


def test_an_invoice_says_whose_it_is_and_is_not_made_to_fit(billing: Billing) -> None:
    (context,) = load(billing, ("2", ["10"]))

    assert context.customer.code == "2"
    assert context.invoices[0].customer == "1"


def test_load_sees_the_source_as_it_is_now(billing: Billing) -> None:
    load(billing, ("1", ["11"]))
    billing.execute(
        "UPDATE {0}invoices SET number = 'INV-11' WHERE id = '11'",
        "UPDATE invoice SET number = 'INV-11' WHERE id = 11",
    )

    (context,) = load(billing, ("1", ["11"]))

    assert context.invoices[0].label == "INV-11"


def test_load_takes_many_messages_at_once(billing: Billing) -> None:
    contexts = load(billing, *[("1", ["10"]), ("3", [str(n) for n in range(3000)])] * 600)

    assert len(contexts) == 1200
    assert contexts[0].customer.code == "1"
    assert contexts[1] is None


@pytest.mark.parametrize("others", [0, 1, 2, 3, 7, 8, 9, 511, 512, 513])
def test_load_finds_the_same_beside_any_number_of_others(billing: Billing, others: int) -> None:
    (alone,) = load(billing, ("1", ["11", "10"]))

    gone = [(f"gone{n}", [f"none{n}"]) for n in range(others)]
    contexts = load(billing, *gone, ("1", ["11", "10"]))

    assert contexts == [*[None] * others, alone]


def test_load_tells_what_it_was_asked_for_before_from_what_it_is_asked_for(
    billing: Billing,
) -> None:
    for names in (["pdf"], ["ubl"], ["ubl", "pdf"], ["pdf"]):
        (context,) = load(billing, ("1", ["10"]), transformations=names)
        assert [document.transformation for document in context.documents] == names
    with billing.database.read(attach=True) as connection:
        for key, found in (("invoice", 2), ("nobody's", 0), ("invoice", 2)):
            (context,) = billing.source.load(
                connection, [("1", ["10"])], key=key, transformations=[]
            )
            assert context
            assert len(context.addresses) == found


def test_load_refuses_an_invoice_that_comes_twice(database: Database) -> None:
    source = literal_source(database, invoices=f"{with_invoice()} UNION ALL {with_invoice()}")
    with (
        database.read() as connection,
        pytest.raises(SourceError, match=r"invoices\.id comes more than once.*I1.*MR006"),
    ):
        source.load(connection, [("C1", ["I1"])], key="invoice", transformations=[])


@pytest.mark.parametrize(
    ("expression", "id_as_text"),
    [
        ("7", "7"),
        ("CAST(7 AS smallint)", "7"),
        ("CAST(12345678901 AS bigint)", "12345678901"),
        ("3 + 4", "7"),
        ("CAST(7 AS numeric)", "7"),
        ("'007'", "007"),
        ("'INV-' || CAST(7 AS varchar(9))", "INV-7"),
        ("-7", "-7"),
        ("CAST('A7' AS char(2))", "A7"),
    ],
)
def test_ids_of_every_type_are_found_and_their_look_alikes_are_not(
    database: Database, expression: str, id_as_text: str
) -> None:
    source = literal_source(database, invoices=with_invoice(id=expression))
    with database.read() as connection:
        found = source.numbers(connection, [id_as_text, "07", "7.0", " 7", "+7", "inv-7"])
    with taken(database, source, invoices=[id_as_text]) as snapshot:
        assert ids(snapshot) == list(found) == [id_as_text]


# Views


def test_numbers_are_todays_and_leave_out_what_is_gone(billing: Billing) -> None:
    with billing.database.read(attach=True) as connection:
        found = billing.source.numbers(connection, ["11", "12", "404", "12"])

    assert {name: invoice.label for name, invoice in found.items()} == {
        "11": "Concept",
        "12": "INV-12",
    }


@pytest.mark.parametrize(
    ("wanted", "codes"),
    [
        ("1", ["1"]),
        ("ACME", ["1", "3"]),
        ("株式", ["2"]),
        ("Žlu", ["2"]),
        ("100%", []),
        ("_", []),
        ("nobody", []),
    ],
)
def test_customers_are_found_by_code_or_part_of_a_name(
    billing: Billing, wanted: str, codes: list[str]
) -> None:
    with billing.database.read(attach=True) as connection:
        found = billing.source.find_customers(connection, wanted)

    assert [customer.code for customer in found] == codes


def test_a_code_in_another_case_wins_over_parts_of_names(database: Database) -> None:
    sql = "SELECT 'cu1' AS code, 'n' AS name UNION ALL SELECT 'X', 'CU1 Ltd'"
    source = literal_source(database, customers=sql)
    with database.read() as connection:
        assert [c.code for c in source.find_customers(connection, "CU1")] == ["cu1"]
        assert [c.code for c in source.find_customers(connection, "X")] == ["X"]


def test_the_source_lists_what_suggestions_need(billing: Billing) -> None:
    with billing.database.read(attach=True) as connection:
        source = billing.source
        assert source.customer_codes(connection, limit=2) == [
            ("1", "Acme GmbH"),
            ("2", "Žluťoučký 株式会社"),
        ]
        assert source.customer_codes(connection, "north", limit=5) == [("3", "acme north")]
        assert source.keys_histogram(connection) == {"invoice": 2, "invoices": 1}
        assert source.cluster_names(connection) == ["All", "DE"]
        assert source.statuses(connection) == {"Approved": 2, "Pending": 1}


def test_attached_files_can_be_seen_again_for_another_snapshot(
    sqlite_database: Database, tmp_path: Path
) -> None:
    billing = foreign_billing(sqlite_database, tmp_path)
    with billing.database.connect(attach=True) as connection:
        billing.source.snapshot(connection)
        detach_files(connection, billing.database.attach)
        attach_files(connection, billing.database.attach)
        assert ids(billing.source.snapshot(connection)) == ["10", "11", "12"]
