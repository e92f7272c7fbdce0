"""`msgrun init`: a commented configuration, templates and a database to begin with."""

from pathlib import Path
from typing import Annotated, Final

import typer

from msgrun.cli.opening import printer_for
from msgrun.errors import UsageError

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="Where; made if missing.")]

_CONFIG: Final = """\
# The configuration of msgrun. Paths are relative to the folder of this file.

[database]
url = "sqlite:///msgrun.db"           # or "postgresql://user@host/name"

[source]                              # without SELECTs: what `msgrun import` has loaded
documents_root = "documents"          # the documents' paths stay under this folder
# An existing billing database is read with one SELECT for each of
# customers, addresses, clusters, invoices, documents:
# customers = "SELECT code, name, cluster FROM debtors"

[servers.default]
host = "127.0.0.1"                    # your mail server
port = 2525                           # 587 with "starttls", 465 with "tls"
security = "none"                     # starttls | tls | none
# username = "billing"
# password_env = "SMTP_PASSWORD"      # the variable that holds the password; or password_file
rate_per_minute = 0                   # 0 = no limit
connections = 2

[senders.billing]                     # the "from key" of definitions
address = "billing@example.com"
name = "Billing"
# reply_to = "support@example.com"
server = "default"

[definitions.monthly]
from_key = "billing"                  # who it is from
recipient_key = "invoice"             # the key of the customers' addresses that it goes to
statuses = ["Approved"]               # invoices in these statuses are sent
subject = "Invoice {{ invoice.number }}"
text = "templates/monthly.txt"
html = "templates/monthly.html"
documents = ["pdf"]                   # all must be there, or the invoice is skipped
collate = false                       # true: one message for all invoices of a customer
# cluster = "All Customers"           # the usual selection; else every customer
period = "previous-month"             # the usual period
deadline = "24h"                      # so long a deferred message is tried again

# [schedules.monthly]                 # `msgrun schedule install` says what starts it
# definition = "monthly"
# cron = "0 7 1 * *"                  # minute hour day month weekday
# timezone = "Europe/Amsterdam"       # default: UTC

# [notify]                            # who is told when a scheduled run does not end well
# mail = ["billing-ops@example.com"]
# sender = "billing"
"""

_TEXT: Final = """\
Dear {{ customer.name }},

please find attached invoice {{ invoice.number }}.

  Amount due    {{ invoice.currency }} {{ invoice.total }}

Kind regards
{{ sender.name }}
"""

_HTML: Final = """\
<!doctype html>
<html>
  <body>
    <p>Dear {{ customer.name }},</p>
    <p>please find attached invoice <strong>{{ invoice.number }}</strong>.</p>
    <p>Amount due: {{ invoice.currency }} {{ invoice.total }}</p>
    <p>Kind regards<br>{{ sender.name }}</p>
  </body>
</html>
"""

_FILES: Final = {
    "msgrun.toml": _CONFIG,
    "templates/monthly.txt": _TEXT,
    "templates/monthly.html": _HTML,
}


def init(directory: Directory = Path()) -> None:
    """Write a commented msgrun.toml, templates and a database; nothing is overwritten."""
    from msgrun.config import load_config
    from msgrun.workspace import Workspace

    for name in _FILES:
        if (directory / name).exists():
            raise UsageError(
                f"{directory / name} is there already; nothing was written",
                "name another folder, or move the file away",
            )
    _write(directory)
    config = load_config(directory / "msgrun.toml", environ={})
    Workspace.of(config).database.ensure()
    line = printer_for(json=False).line
    for name in (*_FILES, "msgrun.db"):
        line(f"wrote {directory / name}")
    line("next: correct [servers.default] and [senders.billing], `msgrun import` your data,")
    line("      then `msgrun plan` says who would get what")


def _write(directory: Path) -> None:
    try:
        for name, content in _FILES.items():
            file = directory / name
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("x", encoding="utf-8") as stream:
                stream.write(content)
        (directory / "documents").mkdir(exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{error.filename} cannot be written: {error.strerror}", "name another folder"
        ) from error
