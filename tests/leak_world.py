"""A billing world in which everything looks alike, and the check that nothing was mixed up.

Customers and invoices have ids that are prefixes of one another or differ in case only, files
have the same names, some files and addresses are shared; only the contents say whose they are.
"""

import random
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import Parser
from email.policy import default
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from billing_world import World
from moody_sink import Kept
from msgrun.config import load_config
from msgrun.database import Database
from msgrun.workspace import Workspace

ARCHIVE = "archive@acme.test"
ACCOUNTANT = "books@accountant.test"
TERMS = b"%PDF-1.4\nthe same terms for everybody\n"

_CODE = re.compile(r"\b[Cc]\d+\b")
_INVOICE = re.compile(r"\[([Ii]\d+)\]")
_CONFIG = """
[database]
url = "{url}"
[source]
documents_root = "documents"
[servers.default]
host = "127.0.0.1"
port = {port}
security = "none"
connections = {connections}
messages_per_connection = 40
timeout = 10
dot_timeout = 20
[senders.billing]
address = "billing@acme.test"
name = "Müller, Acme & Söhne"
reply_to = "help@acme.test"
[definitions.monthly]
from_key = "billing"
recipient_key = "invoice"
subject = "{{{{ customer.code }}}}: {{{{ invoices | map(attribute='number') | join(', ') }}}} ü"
text = "monthly.txt"
html = "monthly.html"
documents = ["pdf", "terms"]
period = "2026-10"
collate = {collate}
bcc = ["{archive}"]
"""
_TEXT = """Dear {{ customer.name }} ({{ customer.code }}),
{% for each in invoices %}
{{ each.number }} [{{ each.id }}]
{% endfor %}
"""
_HTML = "<p>{{ customer.name }}: {% for each in invoices %}[{{ each.id }}] {% endfor %}</p>"

Row = dict[str, Any]


@dataclass
class Holdings:
    """What belongs to one customer."""

    code: str
    addresses: list[str] = field(default_factory=list)
    documents: dict[str, list[bytes]] = field(default_factory=dict)
    """Invoice id to the contents of its documents."""


@dataclass
class LeakWorld:
    """A workspace, and whose everything is.

    Attributes:
        holdings: by customer code.
        messages: how many messages a whole run makes.
    """

    world: World
    holdings: dict[str, Holdings]
    messages: int

    def read_all(self, kept: Sequence[Kept], refused: Collection[str]) -> dict[str, Kept]:
        """Check every message that arrived; return them by Message-ID, each of which comes once.

        Args:
            kept: what arrived.
            refused: addresses that the server never takes.
        """
        found: dict[str, Kept] = {}
        ledger = {message.message_id: message for message in self.world.messages()}
        for each in kept:
            message_id, code, invoices = self._read(each, refused)
            assert message_id in ledger, f"leak: {message_id} is unknown to the ledger"
            assert message_id not in found, f"{message_id} arrived twice"
            row = ledger[message_id]
            assert (row.customer, set(row.invoices)) == (code, invoices), (
                f"leak: {message_id} should be {row.customer}'s {row.invoices}, "
                f"but it is {code}'s {invoices}"
            )
            found[message_id] = each
        sent = Counter(invoice for key in found for invoice in ledger[key].invoices)
        assert max(sent.values(), default=1) == 1, "an invoice arrived twice"
        return found

    def _read(self, kept: Kept, refused: Collection[str]) -> tuple[str, str, set[str]]:
        """Check one message with the standard parser; return Message-ID, customer and invoices."""
        # As text: an address that needs SMTPUTF8 is UTF-8 in the header (RFC 6532).
        message = Parser(EmailMessage, policy=default).parsestr(kept.data.decode())
        assert isinstance(message, EmailMessage)
        assert not any(part.defects for part in message.walk())
        bodies = {kind: _content(message, kind) for kind in ("plain", "html")}
        owners = set(_CODE.findall(message["Subject"]))
        assert len(owners) == 1, f"leak: the subject names {owners}"
        (code,) = owners
        own = self.holdings[code]
        for kind, body in bodies.items():
            assert set(_CODE.findall(body)) == owners, f"leak: the {kind} text is not {code}'s"
        to = [each.addr_spec for each in message["To"].addresses]
        names = " ".join(each.display_name for each in message["To"].addresses)
        assert sorted(to) == sorted(own.addresses), f"leak: {code}'s message is to {to}"
        assert set(_CODE.findall(names)) <= owners, f"leak: {code}'s message is to {names}"
        due = {*own.addresses, ARCHIVE} - set(refused)
        assert set(kept.recipients) == due, f"leak: {code}'s message went to {kept.recipients}"
        invoices = set(_INVOICE.findall(bodies["plain"]))
        assert invoices, f"{code}'s message is about nothing"
        assert invoices == set(_INVOICE.findall(bodies["html"])), f"leak: {code}'s text and HTML"
        assert invoices <= own.documents.keys(), f"leak: {code} is told of {invoices}"
        attached = Counter(part.get_content() for part in message.iter_attachments())
        wanted = Counter(content for key in invoices for content in own.documents[key])
        assert attached == wanted, f"leak: {code}'s message holds {_named(attached - wanted)}"
        return str(message["Message-ID"]), code, invoices


def _content(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    content: str = part.get_content()
    return content


def _named(contents: Counter[bytes]) -> list[bytes]:
    return [content[9:60] for content in contents]


def make_leak_world(
    database: Database,
    folder: Path,
    port: int,
    *,
    messages: int,
    collate: bool,
    connections: int,
    seed: int,
) -> LeakWorld:
    """Write a workspace into `folder` whose run makes just so many messages."""
    chance = random.Random(seed)
    documents = folder / "documents"
    (documents / "shared").mkdir(parents=True)
    (documents / "shared" / "terms.pdf").write_bytes(TERMS)
    rows: dict[str, list[Row]] = {
        name: [] for name in ("customers", "addresses", "invoices", "documents")
    }
    ids = _ids("I", 3 * messages)
    chance.shuffle(ids)
    holdings: dict[str, Holdings] = {}
    made = 0
    for number, code in enumerate(_ids("C", messages), 1):
        own = holdings[code] = Holdings(code)
        _add_customer(rows, own, number, chance)
        count = chance.randint(1, 3) if collate else min(chance.randint(1, 3), messages - made)
        for place in range(count):
            _add_invoice(rows, own, ids.pop(), place, documents, chance)
        made += 1 if collate else count
        if made == messages:
            break
    for listed in rows.values():
        chance.shuffle(listed)  # no order of the source is to be relied on
    _fill(database, rows)
    config = _CONFIG.format(
        url=database.url.render_as_string(hide_password=False),
        port=port,
        connections=connections,
        collate=str(collate).lower(),
        archive=ARCHIVE,
    )
    (folder / "msgrun.toml").write_text(config, encoding="utf-8")
    (folder / "monthly.txt").write_text(_TEXT)
    (folder / "monthly.html").write_text(_HTML)
    world = World(folder, Workspace.of(load_config(folder / "msgrun.toml")))
    return LeakWorld(world, holdings, made)


def _ids(letter: str, count: int) -> list[str]:
    """Return ids that are prefixes of one another; every fifth has a twin in the other case."""

    def listed() -> Iterator[str]:
        for number in range(1, count + 1):
            yield f"{letter}{number}"
            if number % 5 == 0:
                yield f"{letter.lower()}{number}"

    return list(listed())


def _add_customer(
    rows: dict[str, list[Row]], own: Holdings, number: int, chance: random.Random
) -> None:
    code = own.code
    names = [
        "",
        f"{code}",
        f"{code} Müller, Söhne & Co. KG",
        f'"{code}", Inc.',
        f"{code}, 株式会社",
    ]
    rows["customers"].append({"code": code, "name": chance.choice(names[1:])})
    # Local parts are compared without case by some servers: twins must not meet there.
    local = code.lower() if code[0] == "C" else f"{code}.twin"
    boxes = [
        (f"{local}@customer.test", f"{local}@customer.test"),
        (f"ap.{local}@bücher.test", f"ap.{local}@xn--bcher-kva.test"),
        (f"jürgen.{local}@customer.test", f"jürgen.{local}@customer.test"),
        (f"{local}+invoice@customer.test", f"{local}+invoice@customer.test"),
        (ACCOUNTANT, ACCOUNTANT),
    ]
    for written, on_the_wire in chance.sample(boxes, chance.choice([1, 1, 1, 2, 3])):
        named = chance.choice(names) if written != ACCOUNTANT else "Books, Ltd."
        rows["addresses"].append(
            {"customer": code, "key": "invoice", "address": written, "display_name": named}
        )
        own.addresses.append(on_the_wire)
    if number % 3 == 0:
        other = {"customer": code, "key": "legal", "address": f"legal.{local}@customer.test"}
        rows["addresses"].append(other | {"display_name": None})


def _add_invoice(
    rows: dict[str, list[Row]],
    own: Holdings,
    key: str,
    place: int,
    documents: Path,
    chance: random.Random,
) -> None:
    rows["invoices"].append(
        {"id": key, "customer": own.code, "number": f"{own.code}/{place}", "status": "Approved",
         "date": "2026-10-31", "currency": "EUR", "total": "10.00"}
    )  # fmt: skip
    contents = own.documents[key] = [TERMS]
    for name in ["invoice.pdf", "Anlage, Übersicht.pdf"][: chance.choice([1, 1, 2])]:
        body = f"%PDF-1.4\n{own.code} {key} {name}\n{'x' * chance.randrange(500)}\n"
        contents.append(body.encode())
        row = _document(key, "pdf", name)
        if chance.random() < 0.5:
            path = Path(f"{key if key[0] == 'I' else f'{key}-twin'}", name)
            (documents / path).parent.mkdir(exist_ok=True)
            (documents / path).write_bytes(contents[-1])
            row["path"] = str(path)
        else:
            row["content"] = contents[-1]
        rows["documents"].append(row)
    terms = _document(key, "terms", "terms.pdf")
    shared = {"path": "shared/terms.pdf"} if chance.random() < 0.5 else {"content": TERMS}
    rows["documents"].append(terms | shared)


def _document(invoice: str, transformation: str, name: str) -> Row:
    return {
        "invoice": invoice,
        "transformation": transformation,
        "filename": name,
        "media_type": "application/pdf",
        "path": None,
        "content": None,
    }


def _fill(database: Database, rows: dict[str, list[Row]]) -> None:
    with database.write() as connection:
        for name, listed in rows.items():
            connection.execute(insert(database.tables.relation(name)), listed)
