"""What the demo is made of: the sample PDF, the sample data, and the quickstart."""

import csv
import re
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from msgrun.catalogue import CATALOGUE
from msgrun.compose.render import Rendered, Renderer, RunInfo, SenderInfo, TemplateSources
from msgrun.config import load_config, load_templates
from msgrun.demo.data import CLUSTERS, MIN_CUSTOMERS, Sample, write_sample
from msgrun.demo.pdf import MAX_LINES, invoice_pdf
from msgrun.model import Address, Customer, Document, Invoice, MessageContext

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart"


# --- the PDF ------------------------------------------------------------------------------


def pdf_objects(data: bytes) -> list[bytes]:
    """Follow a PDF from its end as a viewer does; return the objects by number."""
    assert data.startswith(b"%PDF-1.4\n")
    start = int(re.search(rb"startxref\n(\d+)\n%%EOF\n\Z", data)[1])
    table = re.match(rb"xref\n0 (\d+)\n((?:.{19}\n)+)trailer\n<< /Size (\d+) ", data[start:])
    entries = table[2].splitlines(keepends=True)
    assert int(table[1]) == int(table[3]) == len(entries)
    assert entries[0] == b"0000000000 65535 f \n"
    objects = []
    for number, entry in enumerate(entries[1:], 1):
        offset = int(re.fullmatch(rb"(\d{10}) 00000 n \n", entry)[1])
        body = re.match(rb"%d 0 obj\n(.*?)\nendobj\n" % number, data[offset:], re.DOTALL)
        objects.append(body[1])
    return objects


def test_a_pdf_is_well_formed_from_its_cross_reference_table_on() -> None:
    objects = pdf_objects(invoice_pdf("Invoice INV-1", ["Müller GmbH", "Total\tEUR 12.00"]))

    assert b"/Type /Catalog" in objects[0]
    assert b"/Count 1" in objects[1]
    length, content = re.fullmatch(
        rb"<< /Length (\d+) >>\nstream\n(.*)\nendstream", objects[3], re.DOTALL
    ).groups()
    assert int(length) == len(content)


def test_a_pdf_shows_its_title_and_lines_in_win_ansi() -> None:
    content = pdf_objects(invoice_pdf("Invoice", ["Müller € (a\\b)\tEUR 1.00"]))[3]

    assert b"(Invoice) Tj" in content
    assert b"(M\xfcller \x80 \\(a\\\\b\\)) Tj" in content
    assert b"400 726 Td (EUR 1.00) Tj" in content


def test_letters_beyond_win_ansi_become_the_nearest_one_or_a_question_mark() -> None:
    content = pdf_objects(invoice_pdf("Invoice", ["Dvořák 漢 a\x1bb"]))[3]

    assert b"(Dvor\xe1k ? a b) Tj" in content


def test_more_lines_than_fit_on_the_page_are_an_error() -> None:
    invoice_pdf("Invoice", [""] * MAX_LINES)

    with pytest.raises(ValueError, match="do not fit"):
        invoice_pdf("Invoice", [""] * (MAX_LINES + 1))


# --- the sample data ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return write_sample(tmp_path_factory.mktemp("sample"))


def rows(sample_or_folder: Sample | Path, relation: str) -> list[dict[str, str]]:
    folder = (
        sample_or_folder
        if isinstance(sample_or_folder, Path)
        else sample_or_folder.documents_root.parent
    )
    with (folder / f"{relation}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def of(sample: Sample, relation: str, fault: str) -> list[dict[str, str]]:
    return [r for r in rows(sample, relation) if r["customer"] == sample.planted[fault].customer]


def test_the_files_have_the_columns_of_the_contract(sample: Sample) -> None:
    headers = {path.stem: path.read_text("utf-8").splitlines()[0] for path in sample.files}

    assert headers == {
        "clusters": "name,parent",
        "customers": "code,name,cluster,suspended,language,timezone,meta",
        "addresses": "customer,key,address,display_name",
        "invoices": "id,customer,number,status,type,date,period_start,period_end,"
        "currency,total,meta",
        "documents": "invoice,transformation,filename,media_type,path",
    }


def test_the_same_seed_gives_the_same_bytes(sample: Sample, tmp_path: Path) -> None:
    again = write_sample(tmp_path / "again")
    other = write_sample(tmp_path / "other", seed=8)

    def content(of: Sample) -> dict[str, bytes]:
        folder = of.documents_root.parent
        files = (path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    assert content(again) == content(sample)
    assert (again.planted, again.refused) == (sample.planted, sample.refused)
    assert content(other) != content(sample)


@pytest.mark.parametrize("customers", [MIN_CUSTOMERS, 120, 500])
def test_any_number_of_customers_has_all_the_faults(tmp_path: Path, customers: int) -> None:
    sample = write_sample(tmp_path, customers=customers)

    codes = [row["code"] for row in rows(sample, "customers")]
    invoices = rows(sample, "invoices")
    assert len(codes) == len(set(codes)) == sample.customers == customers
    assert len({row["name"] for row in rows(sample, "customers")}) == customers
    assert len(invoices) == len({row["id"] for row in invoices}) == sample.invoices
    assert len({fault.customer for fault in sample.planted.values()}) == 10
    assert sum(not row["number"] for row in invoices) == 2


def test_too_few_customers_for_the_faults_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least"):
        write_sample(tmp_path, customers=MIN_CUSTOMERS - 1)


def test_every_planted_code_is_in_the_catalogue(sample: Sample) -> None:
    assert {fault.code for fault in sample.planted.values()} <= set(CATALOGUE)


def test_no_address_is_shared_and_all_are_under_the_domain_for_tests(sample: Sample) -> None:
    addresses = [row["address"] for row in rows(sample, "addresses")]

    assert len(addresses) == len(set(addresses))
    assert all(re.fullmatch(r"[a-z]+[@.][a-z0-9-]+\.test", address) for address in addresses)


def test_names_go_beyond_ascii_and_hold_commas(sample: Sample) -> None:
    names = [row["name"] for row in rows(sample, "customers")]

    assert any(not name.isascii() for name in names)
    assert any("," in name for name in names)


def test_customers_stand_in_the_tree_and_the_archive_is_apart(sample: Sample) -> None:
    clusters = {row["name"]: row["parent"] for row in rows(sample, "clusters")}

    assert [(name, parent or None) for name, parent in clusters.items()] == list(CLUSTERS)
    assert [name for name, parent in clusters.items() if not parent] == ["All Customers", "Archive"]
    assert {row["cluster"] for row in rows(sample, "customers")} <= set(clusters)


def test_each_fault_is_in_the_data_of_its_customer_only(sample: Sample) -> None:
    customers = {row["code"]: row for row in rows(sample, "customers")}
    planted = {fault: sample.planted[fault].customer for fault in sample.planted}
    documents = Counter(row["invoice"] for row in rows(sample, "documents"))
    files = {path.name for path in sample.documents_root.iterdir()}
    listed = {row["invoice"]: row["path"] for row in rows(sample, "documents")}
    keyed = {row["customer"] for row in rows(sample, "addresses") if row["key"] == "invoice"}
    any_key = {row["customer"] for row in rows(sample, "addresses")}
    invoices = rows(sample, "invoices")

    suspended = {code for code, row in customers.items() if row["suspended"] == "true"}
    archived = {code for code, row in customers.items() if row["cluster"] == "Archive"}
    unapproved = {row["customer"] for row in invoices if row["status"] != "Approved"}
    elsewhere = {row["customer"] for row in invoices if row["period_end"] != "2026-10-31"}
    no_row = {row["customer"] for row in invoices if documents[row["id"]] != 1}
    no_file = {
        row["customer"]
        for row in invoices
        if row["id"] in listed and listed[row["id"]] not in files
    }
    malformed = {row["customer"] for row in rows(sample, "addresses") if "@" not in row["address"]}
    refused = {
        row["customer"] for row in rows(sample, "addresses") if row["address"] in sample.refused
    }

    assert {
        "suspended": suspended,
        "wrong cluster": archived,
        "wrong status": unapproved,
        "other period": elsewhere,
        "missing document row": no_row,
        "missing document file": no_file,
        "malformed address": malformed,
        "refused address": refused,
        "no address": set(customers) - any_key,
        "wrong key": any_key - keyed,
    } == {fault: {code} for fault, code in planted.items()}


def test_the_wrong_key_is_a_near_miss(sample: Sample) -> None:
    assert [row["key"] for row in of(sample, "addresses", "wrong key")] == ["invoices"]


def test_the_refused_customer_has_no_other_address(sample: Sample) -> None:
    (row,) = of(sample, "addresses", "refused address")

    assert sample.refused == {
        row["address"]: f"550 5.1.1 <{row['address']}>: Recipient address rejected: User unknown"
    }


def test_every_document_of_the_sample_is_a_pdf_of_its_own_customer(sample: Sample) -> None:
    owner = {row["id"]: row["customer"] for row in rows(sample, "invoices")}
    for row in rows(sample, "documents"):
        path = sample.documents_root / row["path"]
        if owner[row["invoice"]] == sample.planted["missing document file"].customer:
            continue
        content = pdf_objects(path.read_bytes())[3]
        assert f"(Customer {owner[row['invoice']]})".encode() in content


# --- the quickstart -----------------------------------------------------------------------


def test_the_quickstart_finds_every_file_that_it_names() -> None:
    settings = tomllib.loads((QUICKSTART / "msgrun.toml").read_text("utf-8"))
    root = QUICKSTART / settings["source"]["documents_root"]
    monthly = settings["definitions"]["monthly"]

    assert (QUICKSTART / monthly["text"]).is_file()
    assert (QUICKSTART / monthly["html"]).is_file()
    for row in rows(QUICKSTART / "data", "documents"):
        pdf_objects((root / row["path"]).read_bytes())


def rendered_quickstart(invoice: Invoice) -> Rendered:
    config = load_config(QUICKSTART / "msgrun.toml", environ={})
    sources = {part: source for part, (_, source) in load_templates(config, "monthly").items()}
    context = MessageContext(
        customer=Customer("CU1", "Müller & <Söhne>"),
        addresses=(Address("a@customer.test"),),
        invoices=(invoice,),
        documents=(Document(invoice.id, "pdf", "INV-1.pdf"),),
    )
    sender, run = SenderInfo("Acme Billing", "billing@acme.test"), RunInfo("monthly", "2026-10")
    return Renderer(TemplateSources(**sources)).render(context, sender, run)


def test_the_quickstart_templates_render_neatly() -> None:
    period = {"period_start": "2026-10-01", "period_end": "2026-10-31"}
    invoice = Invoice("i", "CU1", "INV-1", "Approved", currency="EUR", total="12.00", **period)

    without = rendered_quickstart(invoice)
    due = rendered_quickstart(replace(invoice, meta={"due_date": "2026-11-15"}))

    assert without.subject == "Invoice INV-1"
    assert "  Amount due    EUR 12.00\n\nAttached:\n  - INV-1.pdf\n\nIf any" in without.text
    assert "EUR 12.00\n  Please pay by 2026-11-15\n\nAttached" in due.text
    assert "Müller &amp; &lt;Söhne&gt;" in due.html
    assert "2026-11-15" in due.html


def test_the_quickstart_sends_to_loopback_only() -> None:
    settings = tomllib.loads((QUICKSTART / "msgrun.toml").read_text("utf-8"))

    assert {server["host"] for server in settings["servers"].values()} == {"127.0.0.1"}
    assert all(row["address"].endswith(".test") for row in rows(QUICKSTART / "data", "addresses"))
