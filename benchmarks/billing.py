"""The billing data that a benchmark sends: customers, an invoice each, a PDF each if wanted."""

import csv
import random
from collections.abc import Iterator
from dataclasses import dataclass
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
{security}
connections = {connections}
[senders.billing]
address = "billing@acme.test"
name = "Acme Billing"
[definitions.monthly]
from_key = "billing"
recipient_key = "invoice"
subject = "{subject}"
text = "{billing}/monthly.txt"
html = "{billing}/monthly.html"
documents = {documents}
cluster = "All"
period = "2026-10"
"""
TEXT = """\
Dear {{ customer.name }},

please find attached invoice {{ invoice.number }} of {{ invoice.date }}.
Its total is {{ invoice.currency }} {{ invoice.total }}.

Kind regards
Acme Billing
"""
HTML = """\
<p>Dear {{ customer.name }},</p>
<p>please find attached invoice <b>{{ invoice.number }}</b> of {{ invoice.date }}.<br>
Its total is {{ invoice.currency }} {{ invoice.total }}.</p>
<p>Kind regards<br>Acme Billing</p>
"""


SENDER = "Acme Billing <billing@acme.test>"
SUBJECT = "Invoice {{ invoice.number }}"


@dataclass(frozen=True)
class Letter:
    """What other programs are given to send: the same words and document, to the same address."""

    to: str
    subject: str
    text: str
    html: str
    filename: str
    path: str


def write_billing(folder: Path, messages: int, document_bytes: int = PDF_BYTES) -> list[Path]:
    """Write templates, documents and the files to import; return the latter.

    Args:
        document_bytes: the size of each document; 0 for no documents.
    """
    (folder / "documents").mkdir(parents=True)
    (folder / "monthly.txt").write_text(TEXT, "utf-8")
    (folder / "monthly.html").write_text(HTML, "utf-8")
    chance = random.Random(messages)  # noqa: S311 - the same bytes each time
    if document_bytes:
        for number in range(1, messages + 1):
            body = b"%PDF-1.4\n" + chance.randbytes(document_bytes - 16) + b"\n%%EOF\n"
            (folder / "documents" / f"i{number}.pdf").write_bytes(body)
    names = [name for name in _ROWS if document_bytes or name != "documents"]
    return [_table(folder, name, messages) for name in names]


def write_config(
    folder: Path,
    billing: Path,
    url: str,
    port: int,
    connections: int,
    *,
    ca_file: Path | None = None,
    documents: bool = True,
) -> Path:
    """Write the workspace of one run; return its configuration.

    Args:
        ca_file: who signed the server's certificate, for STARTTLS; None for no encryption.
        documents: whether each message has its document.
    """
    security = f'security = "starttls"\nca_file = "{ca_file}"' if ca_file else 'security = "none"'
    path = folder / "msgrun.toml"
    path.write_text(
        _CONFIG.format(
            url=url,
            billing=billing,
            port=port,
            connections=connections,
            security=security,
            subject=SUBJECT,
            documents='["pdf"]' if documents else "[]",
        ),
        "utf-8",
    )
    return path


def letter(billing: Path, number: int) -> Letter:
    """Return message `number`, rendered; `path` is where its document is, if it has one."""
    return Letter(
        to=_address(number)["address"],
        subject=_rendered(SUBJECT, number),
        text=_rendered(TEXT, number),
        html=_rendered(HTML, number),
        filename=_document(number)["filename"],
        path=str(billing / "documents" / _document(number)["path"]),
    )


def flat(billing: Path, number: int) -> dict[str, str]:
    """Return the values of a letter, not rendered, for a program with templates of its own."""
    one = letter(billing, number)
    return {"to": one.to, "path": one.path} | {
        expression.replace(".", "_"): value for expression, value in _values(number).items()
    }


def flat_template(template: str) -> str:
    """Return a template's text with names as `flat` gives them."""
    for expression in _values(1):
        template = template.replace(expression, expression.replace(".", "_"))
    return template


def _values(number: int) -> dict[str, str]:
    invoice = _invoice(number)
    return {"customer.name": _customer(number)["name"]} | {
        f"invoice.{name}": invoice[name] for name in ("number", "date", "currency", "total")
    }


def _rendered(template: str, number: int) -> str:
    for expression, value in _values(number).items():
        template = template.replace("{{ " + expression + " }}", value)
    return template


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
