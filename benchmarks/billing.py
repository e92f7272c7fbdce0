"""The billing data that a benchmark sends: customers, an invoice each, a PDF of 30 kB each."""

import csv
import random
from collections.abc import Iterator
from pathlib import Path

PDF_BYTES = 30_000

_CONFIG = """\
[database]
url = "{url}"
[source]
documents_root = "{billing}/documents"
[servers.default]
host = "127.0.0.1"
port = {port}
security = "none"
connections = {connections}
[senders.billing]
address = "billing@acme.test"
name = "Acme Billing"
[definitions.monthly]
from_key = "billing"
recipient_key = "invoice"
subject = "Invoice {{{{ invoice.number }}}}"
text = "{billing}/monthly.txt"
html = "{billing}/monthly.html"
documents = ["pdf"]
cluster = "All"
period = "2026-10"
"""
_TEXT = """\
Dear {{ customer.name }},

please find attached invoice {{ invoice.number }} of {{ invoice.date }}.
Its total is {{ invoice.currency }} {{ invoice.total }}.

Kind regards
Acme Billing
"""
_HTML = """\
<p>Dear {{ customer.name }},</p>
<p>please find attached invoice <b>{{ invoice.number }}</b> of {{ invoice.date }}.<br>
Its total is {{ invoice.currency }} {{ invoice.total }}.</p>
<p>Kind regards<br>Acme Billing</p>
"""


def write_billing(folder: Path, messages: int, pdf_bytes: int = PDF_BYTES) -> list[Path]:
    """Write templates, documents and the files to import; return the latter."""
    (folder / "documents").mkdir(parents=True)
    (folder / "monthly.txt").write_text(_TEXT, "utf-8")
    (folder / "monthly.html").write_text(_HTML, "utf-8")
    chance = random.Random(messages)  # noqa: S311 - the same bytes each time
    for number in range(1, messages + 1):
        body = b"%PDF-1.4\n" + chance.randbytes(pdf_bytes - 16) + b"\n%%EOF\n"
        (folder / "documents" / f"i{number}.pdf").write_bytes(body)
    return [_table(folder, name, messages) for name in _ROWS]


def write_config(folder: Path, billing: Path, url: str, port: int, connections: int) -> Path:
    """Write the workspace of one run; return its configuration."""
    path = folder / "msgrun.toml"
    path.write_text(
        _CONFIG.format(url=url, billing=billing, port=port, connections=connections), "utf-8"
    )
    return path


def _customer(number: int) -> dict[str, str]:
    return {"code": f"C{number}", "name": f"Customer {number}", "cluster": "All"}


def _address(number: int) -> dict[str, str]:
    return {"customer": f"C{number}", "key": "invoice", "address": f"c{number}@customer.test"}


def _invoice(number: int) -> dict[str, str]:
    return {
        "id": f"i{number}",
        "customer": f"C{number}",
        "number": f"INV-{number}",
        "status": "Approved",
        "date": "2026-10-31",
        "currency": "EUR",
        "total": f"{number}.00",
    }


def _document(number: int) -> dict[str, str]:
    return {
        "invoice": f"i{number}",
        "transformation": "pdf",
        "filename": f"INV-{number}.pdf",
        "media_type": "application/pdf",
        "path": f"i{number}.pdf",
    }


_ROWS = {
    "clusters": lambda _number: {"name": "All", "parent": ""},
    "customers": _customer,
    "addresses": _address,
    "invoices": _invoice,
    "documents": _document,
}


def _table(folder: Path, name: str, messages: int) -> Path:
    def rows() -> Iterator[dict[str, str]]:
        for number in range(1, 2 if name == "clusters" else messages + 1):
            yield _ROWS[name](number)

    path = folder / f"{name}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(_ROWS[name](1)))
        writer.writeheader()
        writer.writerows(rows())
    return path
