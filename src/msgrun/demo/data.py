"""Sample billing data with planted faults, as CSV and PDF files that `msgrun import` reads."""

import csv
import json
import random
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from msgrun.demo.faults import RECIPIENT_KEY, Account, Planted, plant
from msgrun.demo.pdf import invoice_pdf
from msgrun.model import Address, Customer, Document, Invoice

PERIOD: Final = "2026-10"
MIN_CUSTOMERS: Final = 30

CLUSTERS: Final = (
    ("All Customers", None),
    ("Europe", "All Customers"),
    ("DE", "Europe"),
    ("NL", "Europe"),
    ("FR", "Europe"),
    ("ES", "Europe"),
    ("DK", "Europe"),
    ("Americas", "All Customers"),
    ("US", "Americas"),
    ("BR", "Americas"),
    ("Archive", None),
)
"""The tree as (name, parent); "Archive" stands apart from "All Customers"."""


_SPELLED: Final = str.maketrans("ßøæ", "soa", "'.")


@dataclass(frozen=True, slots=True)
class _Country:
    language: str
    timezone: str
    currency: str
    families: str
    trades: str


_COUNTRIES: Final = MappingProxyType(
    {
        "DE": _Country(
            "de",
            "Europe/Berlin",
            "EUR",
            "Müller Schäfer Weiß Krüger Jäger Größmann Vogel Köhler",
            "Maschinenbau GmbH|Logistik AG|Gartenbau KG|Elektrotechnik GmbH",
        ),
        "NL": _Country(
            "nl",
            "Europe/Amsterdam",
            "EUR",
            "Jansen Visser Coëlho Brouwer Daniëls Dekker",
            "Bloemen B.V.|Scheepvaart N.V.|Fietsen B.V.|Advies B.V.",
        ),
        "FR": _Country(
            "fr",
            "Europe/Paris",
            "EUR",
            "Lefèvre Béranger Garçon Noël Château Moreau",
            "& Fils SARL|Boulangerie SAS|Électricité SARL|Vins S.A.",
        ),
        "ES": _Country(
            "es",
            "Europe/Madrid",
            "EUR",
            "Muñoz Ibáñez Núñez García Peña",
            "Construcciones S.L.|Transportes S.A.|Cerámica S.L.",
        ),
        "DK": _Country(
            "da",
            "Europe/Copenhagen",
            "DKK",
            "Sørensen Kjær Ægidius Østergaard Bjørn",
            "Møbler ApS|Fiskeri A/S|Energi A/S",
        ),
        "US": _Country(
            "en",
            "America/New_York",
            "USD",
            "Harper O'Neill Whitfield Delgado Beaumont",
            "Hardware Inc.|Dental, LLC|Freight Co.|Media Inc.",
        ),
        "BR": _Country(
            "pt",
            "America/Sao_Paulo",
            "BRL",
            "Araújo Gonçalves Simões Conceição Falcão",
            "Café Ltda.|Construções S.A.|Têxtil Ltda.",
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Sample:
    """What `write_sample` wrote.

    Attributes:
        files: the CSV files, in an order in which they can be imported.
        documents_root: the folder that the paths in documents.csv start from.
        customers: number of customers.
        invoices: number of invoices.
        planted: name of the fault → where it is.
        refused: address → the reply line with which the sink is to refuse it.
    """

    files: tuple[Path, ...]
    documents_root: Path
    customers: int
    invoices: int
    planted: dict[str, Planted]
    refused: dict[str, str]


def write_sample(directory: Path, *, customers: int = 120, seed: int = 7) -> Sample:
    """Write customers, addresses, clusters, invoices and documents, the same for the same seed.

    Nearly every customer has one invoice in `PERIOD`, some have two; two invoices are concepts.
    Each planted fault concerns one customer of its own. All addresses end in ".test" (RFC 6761).

    Raises:
        ValueError: fewer than `MIN_CUSTOMERS` customers were asked for.
        OSError: a file cannot be written.
    """
    if customers < MIN_CUSTOMERS:
        raise ValueError(f"the sample needs at least {MIN_CUSTOMERS} customers")
    accounts = _accounts(customers, random.Random(seed))  # noqa: S311 - sample data
    planted, refused = plant(accounts)
    documents_root = directory / "documents"
    documents_root.mkdir(parents=True, exist_ok=True)
    for account in accounts:
        _write_documents(account, documents_root)
    return Sample(
        files=_write_relations(directory, accounts),
        documents_root=documents_root,
        customers=len(accounts),
        invoices=sum(len(account.invoices) for account in accounts),
        planted=planted,
        refused=refused,
    )


def _accounts(count: int, rng: random.Random) -> list[Account]:
    companies = [
        (cluster, f"{family} {trade}")
        for cluster, country in _COUNTRIES.items()
        for family, trade in product(country.families.split(), country.trades.split("|"))
    ]
    rng.shuffle(companies)
    accounts: list[Account] = []
    invoice_number = 1001
    for index in range(count):
        again, place = divmod(index, len(companies))
        cluster, name = companies[place]
        invoices = 2 if index % 9 == 4 else 1
        unique_name = f"{name} {again + 1}" if again else name
        accounts.append(_account(index, unique_name, cluster, invoice_number, invoices, rng))
        invoice_number += invoices
    return accounts


def _account(
    index: int, name: str, cluster: str, first_number: int, invoices: int, rng: random.Random
) -> Account:
    country = _COUNTRIES[cluster]
    code, domain = f"CU{1001 + index}", f"{_slug(name)}.test"
    customer = Customer(
        code=code,
        name=name,
        cluster=cluster,
        language=country.language,
        timezone=country.timezone,
        meta={"purchase_order": f"PO-{rng.randint(10_000, 99_999)}"},
    )
    addresses = [(RECIPIENT_KEY, Address(f"billing@{domain}", name))]
    if index % 11 == 5:
        addresses.append((RECIPIENT_KEY, Address(f"accounts@{domain}", name)))
    if index % 4 == 0:
        addresses.append(("reminder", Address(f"office@{domain}", name)))
    account = Account(customer, addresses, [], [], set())
    for number in range(first_number, first_number + invoices):
        invoice = Invoice(
            id=f"inv-{number:06d}",
            customer=code,
            number=f"INV-{number}",
            status="Approved",
            type="invoice",
            date="2026-11-01",
            period_start="2026-10-01",
            period_end="2026-10-31",
            currency=country.currency,
            total=str(Decimal(rng.randint(1_900, 480_000)).scaleb(-2)),
            meta={"due_date": "2026-11-15"},
        )
        document = Document(
            invoice.id, "pdf", f"INV-{number}.pdf", "application/pdf", f"INV-{number}.pdf"
        )
        account.invoices.append(invoice)
        account.documents.append(document)
        account.files.add(f"INV-{number}.pdf")
    return account


def _slug(name: str) -> str:
    """Return a name as it could stand in a domain name."""
    spelled = name.lower().translate(_SPELLED)
    plain = unicodedata.normalize("NFKD", spelled).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def _write_documents(account: Account, root: Path) -> None:
    invoices = {invoice.id: invoice for invoice in account.invoices}
    for document in account.documents:
        if document.path is None or document.path not in account.files:
            continue
        invoice = invoices[document.invoice]
        lines = [
            account.customer.name,
            f"Customer {invoice.customer}",
            "",
            f"Invoice date\t{invoice.date}",
            f"Period\t{invoice.period_start} to {invoice.period_end}",
            f"Purchase order\t{account.customer.meta['purchase_order']}",
            "",
            f"Services as agreed\t{invoice.currency} {invoice.total}",
            f"Total\t{invoice.currency} {invoice.total}",
            "",
            f"Please pay until\t{invoice.meta['due_date']}",
        ]
        (root / document.path).write_bytes(invoice_pdf(f"Invoice {invoice.label}", lines))


def _write_relations(directory: Path, accounts: Sequence[Account]) -> tuple[Path, ...]:
    relations: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
        "clusters": ("name,parent", [*CLUSTERS]),
        "customers": (
            "code,name,cluster,suspended,language,timezone,meta",
            [
                (c.code, c.name, c.cluster, c.suspended, c.language, c.timezone, c.meta)
                for c in (account.customer for account in accounts)
            ],
        ),
        "addresses": (
            "customer,key,address,display_name",
            [
                (account.customer.code, key, address.address, address.display_name)
                for account in accounts
                for key, address in account.addresses
            ],
        ),
        "invoices": (
            "id,customer,number,status,type,date,period_start,period_end,currency,total,meta",
            [
                (
                    *(i.id, i.customer, i.number, i.status, i.type, i.date),
                    *(i.period_start, i.period_end, i.currency, i.total, i.meta),
                )
                for account in accounts
                for i in account.invoices
            ],
        ),
        "documents": (
            "invoice,transformation,filename,media_type,path",
            [
                (d.invoice, d.transformation, d.filename, d.media_type, d.path)
                for account in accounts
                for d in account.documents
            ],
        ),
    }
    paths = []
    for name, (columns, rows) in relations.items():
        path = directory / f"{name}.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns.split(","))
            writer.writerows([_cell(value) for value in row] for row in rows)
        paths.append(path)
    return tuple(paths)


def _cell(value: Any) -> str:
    """Return a value as it stands in a CSV file; empty for none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
