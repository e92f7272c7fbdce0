"""Very many customers with an address, an invoice and a document each, made by the database itself.

A few of them fall at each rule.
"""

from pathlib import Path

from msgrun.database import Database

_CONFIG = """\
[database]
url = "{url}"
[servers.default]
host = "127.0.0.1"
port = {port}
security = "none"
connections = {connections}
[senders.billing]
address = "billing@acme.test"
[definitions.monthly]
from_key = "billing"
recipient_key = "invoice"
subject = "Invoice {{{{ invoice.number }}}}"
text = "monthly.txt"
documents = ["pdf"]
cluster = "All"
period = "2026-10"
"""

_ROWS = {
    "clusters (name, parent)": "SELECT 'All', NULL UNION ALL SELECT 'Europe', 'All' "
    "UNION ALL SELECT 'Elsewhere', NULL",
    "customers (code, name, cluster, suspended)": "SELECT {code}, 'Customer ' || n, "
    "CASE WHEN n % 20 = 3 THEN 'Elsewhere' ELSE 'Europe' END, n % 53 = 0 FROM numbers",
    "addresses (customer, key, address)": "SELECT {code}, "
    "CASE WHEN n % 101 = 0 THEN 'invoices' ELSE 'invoice' END, CASE WHEN n % 211 = 0 "
    "THEN 'nobody' ELSE 'c' || n || '@d' || (n % 20000) || '.test' END FROM numbers",
    "invoices (id, customer, number, status, date, period_end, currency, total)": "SELECT "
    "'i' || n, {owner}, 'INV-' || n, CASE WHEN n % 41 = 0 THEN 'Open' ELSE 'Approved' END, "
    "'2026-11-01', CASE WHEN n % 29 = 0 THEN '2026-09-30' ELSE '2026-10-31' END, 'EUR', "
    "n || '.00' FROM numbers",
    "documents (invoice, transformation, filename, media_type, path)": "SELECT 'i' || n, 'pdf', "
    "'INV-' || n || '.pdf', 'application/pdf', {path} FROM numbers WHERE n % 503 <> 0",
}

_SENT = {
    "run (id, uid, definition, status, cluster, children, period, period_start, period_end, "
    "customers, bcc, resend, created_by, created_at)": "SELECT 1, 'bench', 'monthly', 'finished', "
    "'All', {true}, '2026-10', '2026-10-01', '2026-10-31', '[]', '[]', {false}, 'bench', "
    "'2026-11-03T08:00:00.000000Z'",
    "run_revision (run_id, number, frozen, created_at)": "SELECT 1, 1, '{frozen}', "
    "'2026-11-03T08:00:00.000000Z'",
    "message (id, run_id, number, revision, customer, recipients, state, message_id, attempts, "
    "code, enhanced, reply, updated_at)": "SELECT n, 1, n, 1, {owner}, '[]', 'sent', "
    "'<' || n || '@acme.test>', 1, 250, '2.0.0', 'Ok: queued as ' || n, "
    "'2026-11-03T09:00:00.000000Z' FROM numbers",
    "message_invoice (message_id, invoice, definition, generation)": "SELECT n, 'i' || n, "
    "'monthly', 1 FROM numbers",
}


def middle(customers: int) -> str:
    """Return the code of a customer in the middle."""
    return f"C{customers // 2:07}"


def write_config(folder: Path, url: str, port: int = 1, connections: int = 2) -> None:
    """Write the workspace; nobody listens on port 1."""
    config = _CONFIG.format(url=url, port=port, connections=connections)
    (folder / "msgrun.toml").write_text(config, "utf-8")
    (folder / "monthly.txt").write_text("Dear {{ customer.name }}", "utf-8")


def fill(
    database: Database, customers: int, *, sent: bool, shared_document: str | None = None
) -> None:
    """Make the tables and fill them.

    Args:
        sent: whether a finished run has a message for every invoice.
        shared_document: the path of the one file that is everybody's; without it, each has a
            path of its own, and no file is there.
    """
    database.upgrade()
    sqlite = database.is_sqlite
    numbers = (
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL "  # noqa: S608 - a number alone
        f"SELECT n + 1 FROM numbers WHERE n < {customers}) "
        if sqlite
        else f"WITH numbers (n) AS (SELECT generate_series(1, {customers})) "
    )
    words = {
        "code": _code("n", sqlite=sqlite),
        # One in 257 customers has no invoice, and the one before it two.
        "owner": _code("CASE WHEN n % 257 = 0 THEN n - 1 ELSE n END", sqlite=sqlite),
        "true": "1" if sqlite else "true",
        "false": "0" if sqlite else "false",
        "frozen": _FROZEN,
        "path": f"'{shared_document}'" if shared_document else "'i' || n || '.pdf'",
    }
    prefix = "msgrun_" if sqlite else "msgrun."
    for head, rows in {**_ROWS, **(_SENT if sent else {})}.items():
        with database.write() as connection:
            raw = connection.connection.cursor()
            filled = rows
            for name, word in words.items():
                filled = filled.replace("{" + name + "}", word)
            raw.execute(f"INSERT INTO {prefix}{head} {numbers}{filled}")
    with database.connect() as connection:
        connection.exec_driver_sql("ANALYZE")
        connection.commit()


_FROZEN = (
    '{"name": "monthly", "definition": {"enabled": true, "from_key": "billing", '
    '"recipient_key": "invoice", "statuses": ["Approved"], "documents": ["pdf"], "bcc": []}, '
    '"templates": {}}'
)


def _code(number: str, *, sqlite: bool) -> str:
    if sqlite:
        return f"'C' || printf('%07d', {number})"
    return f"'C' || lpad(({number})::text, 7, '0')"
