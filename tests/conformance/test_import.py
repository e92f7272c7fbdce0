"""Import: files into msgrun's own tables, all or nothing, on both databases."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from msgrun.database import Database
from msgrun.errors import ImportFileError
from msgrun.importing import ImportCount, import_files
from msgrun.source import Source


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    """SQLite, where a test says nothing else: the checks know no database."""
    return sqlite_database


@pytest.fixture(params=["sqlite", "postgresql"])
def any_database(request: pytest.FixtureRequest) -> Database:
    made: Database = request.getfixturevalue(f"{request.param}_database")
    return made


def write(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def stored(database: Database, relation: str) -> list[dict[str, Any]]:
    table = database.tables.relation(relation)
    with database.read() as connection:
        rows = connection.execute(select(table).order_by(*table.primary_key.columns))
        return [dict(row) for row in rows.mappings()]


def refused(database: Database, *files: Path, replace: bool = False) -> str:
    """Import files that must be refused, and return the message."""
    with pytest.raises(ImportFileError) as caught:
        import_files(database, files, replace=replace)
    assert caught.value.exit_code == 2
    assert caught.value.hint
    return caught.value.message


# What an import does


def test_every_relation_is_loaded_and_counted(any_database: Database, tmp_path: Path) -> None:
    files = [
        write(
            tmp_path,
            "invoices.csv",
            "id,customer,number,status,date,total\n"
            "I1,C1,,Pending,2026-10-31,\nI2,C1,N2,Approved,2026-10-31T23:59,1234.50\n",
        ),
        write(
            tmp_path,
            "customers.csv",
            "code,name,suspended,meta\n"
            'C1,"Žluťoučký, 株式会社",yes,"{""vat"": ""DE1""}"\nC2,Two,,\n',
        ),
        write(tmp_path, "addresses.csv", "customer,key,address\nC1,invoice,a@acme.test\n"),
        write(tmp_path, "clusters.csv", "name,parent\nDE,All\nAll,\n"),
        write(
            tmp_path,
            "documents.csv",
            "invoice,transformation,filename,path\nI1,pdf,I1.pdf,2026/I1.pdf\n",
        ),
    ]

    counts = import_files(any_database, files)

    assert counts == {
        "customers": ImportCount(2, 0, 0),
        "addresses": ImportCount(1, 0, 0),
        "clusters": ImportCount(2, 0, 0),
        "invoices": ImportCount(2, 0, 0),
        "documents": ImportCount(1, 0, 0),
    }
    first, second = stored(any_database, "customers")
    assert (first["name"], first["suspended"]) == ("Žluťoučký, 株式会社", True)
    assert json.loads(first["meta"]) == {"vat": "DE1"}
    assert (second["suspended"], second["meta"]) == (False, None)
    concept, numbered = stored(any_database, "invoices")
    assert (concept["number"], concept["total"]) == (None, None)
    assert (numbered["number"], numbered["total"]) == ("N2", "1234.50")
    assert stored(any_database, "documents")[0]["path"] == "2026/I1.pdf"
    with any_database.connect() as connection:  # what import takes, the source takes too
        Source(any_database, {}, tmp_path).snapshot(connection)


def test_json_lines_keep_types_and_carry_content(any_database: Database, tmp_path: Path) -> None:
    pdf = base64.b64encode(b"%PDF-1.7 \x00").decode()
    invoices = [
        {
            "id": 7,
            "customer": "C1",
            "number": None,
            "status": "Approved",
            "period_end": "2026-10-31",
            "total": 3.96,
            "meta": {"po": "4711"},
        },
        {"id": "8", "customer": "C1", "status": "Approved", "date": "2026-10-31", "total": "10"},
    ]
    documents = [{"invoice": 7, "transformation": "pdf", "filename": "7.pdf", "content": pdf}]
    customers = [{"code": "C1", "name": "One", "suspended": True}]
    files = [
        write(tmp_path, f"{name}.jsonl", "\n".join(map(json.dumps, rows)) + "\n\n")
        for name, rows in (("invoices", invoices), ("documents", documents))
    ]
    files.append(write(tmp_path, "customers.ndjson", json.dumps(customers[0])))

    import_files(any_database, files)

    seven, eight = stored(any_database, "invoices")
    assert (seven["id"], seven["total"], seven["meta"]) == ("7", "3.96", '{"po": "4711"}')
    assert (eight["number"], eight["total"]) == (None, "10")
    assert stored(any_database, "documents")[0]["content"] == b"%PDF-1.7 \x00"
    assert stored(any_database, "customers")[0]["suspended"] is True


def test_a_second_import_updates_by_key(any_database: Database, tmp_path: Path) -> None:
    import_files(
        any_database,
        [write(tmp_path, "customers.csv", "code,name,cluster\nC1,Old,DE\nC2,Two,DE\n")],
    )

    counts = import_files(
        any_database, [write(tmp_path, "customers-2026.csv", "code,name\nC1,New\nC3,Three\n")]
    )

    assert counts == {"customers": ImportCount(inserted=1, updated=1, deleted=0)}
    rows = {row["code"]: (row["name"], row["cluster"]) for row in stored(any_database, "customers")}
    # A column that the file does not have stays as it was.
    assert rows == {"C1": ("New", "DE"), "C2": ("Two", "DE"), "C3": ("Three", None)}


def test_a_row_of_nothing_but_its_key_may_come_again(
    any_database: Database, tmp_path: Path
) -> None:
    file = write(tmp_path, "addresses.csv", "customer,key,address\nC1,invoice,a@acme.test\n")
    import_files(any_database, [file])

    assert import_files(any_database, [file]) == {"addresses": ImportCount(0, 1, 0)}


def test_a_document_that_moves_leaves_its_content_behind(
    any_database: Database, tmp_path: Path
) -> None:
    row = {"invoice": "I1", "transformation": "pdf", "filename": "a.pdf"}
    before = write(tmp_path, "documents.jsonl", json.dumps(row | {"content": "QQ=="}))
    import_files(any_database, [before])

    import_files(
        any_database, [write(tmp_path, "documents.2.jsonl", json.dumps(row | {"path": "a"}))]
    )

    (document,) = stored(any_database, "documents")
    assert (document["path"], document["content"]) == ("a", None)


def test_replace_empties_the_given_relations_alone(any_database: Database, tmp_path: Path) -> None:
    customers = write(tmp_path, "customers.csv", "code,name\nC1,One\nC2,Two\n")
    clusters = write(tmp_path, "clusters.csv", "name,parent\nAll,\n")
    import_files(any_database, [customers, clusters])

    counts = import_files(
        any_database, [write(tmp_path, "customers.csv", "code,name\nC2,Zwei\n")], replace=True
    )

    assert counts == {"customers": ImportCount(inserted=1, updated=0, deleted=2)}
    assert [row["name"] for row in stored(any_database, "customers")] == ["Zwei"]
    assert len(stored(any_database, "clusters")) == 1


def test_a_refused_import_changes_nothing_even_with_replace(
    any_database: Database, tmp_path: Path
) -> None:
    import_files(any_database, [write(tmp_path, "customers.csv", "code,name\nC1,One\n")])
    many = "".join(f"N{n},Name\n" for n in range(2500))
    good = write(tmp_path, "customers.csv", f"code,name\n{many}")
    bad = write(tmp_path, "invoices.csv", "id,customer,number,status,date\nI1,C1,,Open,soon\n")

    refused(any_database, good, bad, replace=True)

    assert [row["code"] for row in stored(any_database, "customers")] == ["C1"]


@pytest.mark.parametrize(
    "content",
    [
        "code,name\nC1,Ä;B\tC\n",
        'code;name\r\nC1;"Ä;B\tC"\r\n',
        'code\tname\nC1\t"Ä;B\tC"',
        "\ufeffcode,name\nC1,Ä;B\tC\n",
        "\ufeffName,CODE\n\nÄ;B\tC,C1\n\n",
    ],
)
def test_csv_comes_with_any_usual_delimiter_line_end_and_mark(
    database: Database, tmp_path: Path, content: str
) -> None:
    import_files(database, [write(tmp_path, "customers.csv", content)])

    (row,) = stored(database, "customers")
    assert (row["code"], row["name"]) == ("C1", "Ä;B\tC")


def test_more_rows_than_a_batch_are_all_written(any_database: Database, tmp_path: Path) -> None:
    rows = "".join(f"C{n},Name {n}\n" for n in range(2501))
    import_files(any_database, [write(tmp_path, "customers.csv", f"code,name\n{rows}")])

    with any_database.read() as connection:
        table = any_database.tables.customers
        assert connection.execute(select(func.count()).select_from(table)).scalar_one() == 2501


# What an import refuses

DOCUMENT = {"invoice": "I", "transformation": "pdf", "filename": "f", "path": "p"}
INVOICES = "id,customer,number,status,date"


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        (
            "customers.csv",
            "code,name,sspended\nC1,One,no\n",
            ["customers.csv:1", "'sspended'", "unknown column", "mean 'suspended'"],
        ),
        ("customers.csv", "code\nC1\n", ["customers.csv:1", "'name'", "missing"]),
        ("customers.csv", "", ["customers.csv:1", "'code'", "missing"]),
        ("customers.csv", "code,name,code\nC1,One,C1\n", ["'code'", "more than once"]),
        ("invoices.csv", "id,customer,number,status\n", ["'period_end' or 'date'", "missing"]),
        ("documents.csv", "invoice,transformation,filename,content\n", ["'content'", "base64"]),
        ("customers.csv", "code,name\nC1,One\nC2\n", ["customers.csv:3", "1 cells", "2"]),
        ("customers.csv", "code,name\n,One\n", ["customers.csv:2", "'code'", "empty"]),
        ("customers.csv", "code,name\nC1,  \n", ["customers.csv:2", "'name'", "empty"]),
        (
            "customers.csv",
            "code,name,suspended\nC1,One,maybe\n",
            ["customers.csv:2", "'suspended'", "neither true nor false", "'maybe'"],
        ),
        ("customers.csv", 'code,name,meta\nC1,One,"[1]"\n', ["'meta'", "JSON object", "'[1]'"]),
        ("customers.csv", "code,name,meta\nC1,One,{\n", ["'meta'", "JSON object"]),
        ("customers.csv", 'code,name\nC1,"One"x\n', ["customers.csv:2", "not CSV"]),
        ("customers.csv", "code,name\nC1,One\0\n", ["'name'", "NUL"]),
        (
            "invoices.csv",
            f"{INVOICES}\nI1,C1,,Open,31.10.2026\n",
            ["invoices.csv:2", "'date'", "not a date", "'31.10.2026'"],
        ),
        ("invoices.csv", f"{INVOICES}\nI1,C1,,Open,2026-02-29\n", ["'date'", "'2026-02-29'"]),
        ("invoices.csv", f"{INVOICES}\nI1,C1,,Open,\n", ["'period_end' or 'date'", "filled"]),
        ("invoices.csv", f"{INVOICES}\nI1,C1,,,2026-10-31\n", ["'status'", "empty"]),
        (
            "invoices.csv",
            f'{INVOICES},total\nI1,C1,,Open,2026-10-31,"1,50"\n',
            ["'total'", "decimal", "'1,50'"],
        ),
        (
            "documents.csv",
            "invoice,transformation,filename,path\nI1,pdf,a.pdf,\n",
            ["'path' or 'content'", "filled"],
        ),
        ("clusters.csv", "name,parent\n,All\n", ["clusters.csv:2", "'name'", "empty"]),
        (
            "customers.csv",
            "code,name\nC1,One\nC2,Two\nC1,Uno\n",
            ["customers.csv:4", "customers.csv:2", "'C1'"],
        ),
        (
            "addresses.csv",
            "customer,key,address\nC,k,a@b.test\nC,k,a@b.test\n",
            ["addresses.csv:3", "addresses.csv:2", "a@b.test"],
        ),
        (
            "customers.csv",
            b"code,name\nC1,One\nC2,M\xfcller\n",
            ["customers.csv:3", "not UTF-8", "byte 5", r"\xfc"],
        ),
        ("customers.csv", "code,name\nC1,One\n".encode("utf-16"), ["customers.csv:1", "not UTF-8"]),
        ("customers.jsonl", '["C1"]\n', ["customers.jsonl:1", "not a JSON object"]),
        (
            "customers.jsonl",
            '{"code": "C1", "name": "One"}\n{"code": \n',
            ["customers.jsonl:2", "not JSON"],
        ),
        ("customers.jsonl", "[" * 200_000, ["customers.jsonl:1", "not JSON"]),
        ("customers.jsonl", '{"code": "C1"}\n', ["customers.jsonl:1", "'name'", "empty"]),
        ("customers.jsonl", '{"code": "C1", "name": ["One"]}\n', ["'name'", "text", "['One']"]),
        ("customers.jsonl", '{"code": true, "name": "One"}\n', ["'code'", "text", "True"]),
        ("customers.jsonl", '{"code": 1.5, "name": "One"}\n', ["'code'", "text"]),
        ("customers.jsonl", '{"code": "C1", "name": "One", "suspended": 2}\n', ["'suspended'"]),
        ("customers.jsonl", r'{"code": "C1", "name": "\ud800"}', ["'name'", "half a character"]),
        ("customers.jsonl", '{"code": "C1", "name": "One", "mta": {}}\n', ["'mta'", "mean 'meta'"]),
        (
            "documents.jsonl",
            '{"invoice": "I", "transformation": "pdf", "filename": "f", "content": "§"}',
            ["'content'", "base64"],
        ),
        (
            "documents.jsonl",
            "\n".join(json.dumps(DOCUMENT | {"content": c}) for c in ("", "QQ==")),
            ["documents.jsonl:2", "only one"],
        ),
        (
            "invoices.jsonl",
            '{"id": 1, "customer": 1, "status": "Open", "date": 20261031}',
            ["'date'", "not a date"],
        ),
        ("customer.csv", "code,name\n", ["'customer' is no relation", "mean 'customers'"]),
        ("customers.xlsx", "", ["customers.xlsx", "unknown kind"]),
    ],
)
def test_a_bad_file_is_named_with_line_column_and_reason(
    database: Database, tmp_path: Path, name: str, content: str | bytes, parts: list[str]
) -> None:
    message = refused(database, write(tmp_path, name, content))

    for part in parts:
        assert part in message
    assert stored(database, "customers") == []


def test_every_bad_row_counts_and_the_first_twenty_are_named(
    database: Database, tmp_path: Path
) -> None:
    bad = "".join(f"C{n},\n" for n in range(25))
    customers = write(tmp_path, "customers.csv", f"code,name\n{bad}")
    clusters = write(tmp_path, "clusters.csv", "name,parent\n,\n")

    message = refused(database, clusters, customers)

    assert "26 problems" in message
    assert "customers.csv:21" in message
    assert "customers.csv:22" not in message
    assert "and 6 more" in message


def test_the_same_key_in_two_files_of_one_import_is_refused(
    database: Database, tmp_path: Path
) -> None:
    first = write(tmp_path, "customers-1.csv", "code,name\nC1,One\n")
    second = write(tmp_path, "customers-2.csv", "code,name\nC1,Uno\n")

    assert "customers-1.csv:2" in refused(database, first, second)
    assert "customers-1.csv:2" in refused(database, first, first)


def test_a_loop_over_the_resulting_tree_is_named(any_database: Database, tmp_path: Path) -> None:
    import_files(any_database, [write(tmp_path, "clusters.csv", "name,parent\nB,A\nA,\nX,B\n")])

    message = refused(any_database, write(tmp_path, "clusters.csv", "name,parent\nA,X\n"))

    assert "A → X → B → A" in message
    assert {row["name"]: row["parent"] for row in stored(any_database, "clusters")}["A"] is None


def test_a_parent_that_is_itself_is_a_loop(database: Database, tmp_path: Path) -> None:
    assert "A → A" in refused(database, write(tmp_path, "clusters.csv", "name,parent\nA,A\n"))


def test_a_file_that_is_not_there_is_named(database: Database, tmp_path: Path) -> None:
    message = refused(database, tmp_path / "customers.csv")

    assert "customers.csv" in message
    assert "No such file" in message
