"""Queues letters with django-post_office, or sends what is queued.

Usage: python post_office_queue.py ORDER.json queue|send, with {database, media, port, threads,
processes, from, tls, documents, letters}. `send` prints {"seconds", "sent"}: the time of its
own batch delivery, `send_queued_mail_until_done`, as its management command calls it.
"""

import json
import sys
import time
from pathlib import Path

import django
from django.conf import settings
from django.core.mail.utils import DNS_NAME

ORDER = json.loads(Path(sys.argv[1]).read_text("utf-8"))

# As is advised for Django on SQLite in production: a commit waits for no disk.
_SQLITE = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
}

settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": ORDER["database"],
            "OPTIONS": _SQLITE,
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    EMAIL_HOST="127.0.0.1",
    EMAIL_PORT=ORDER["port"],
    EMAIL_USE_TLS=ORDER["tls"],
    INSTALLED_APPS=["django.contrib.contenttypes", "post_office"],
    LOGGING={
        "version": 1,
        "handlers": {"stderr": {"class": "logging.StreamHandler"}},
        "loggers": {"post_office": {"handlers": ["stderr"], "level": "WARNING"}},
    },
    MEDIA_ROOT=ORDER["media"],
    POST_OFFICE={
        "BATCH_SIZE": 1000,
        "BATCH_DELIVERY_TIMEOUT": 600,
        "LOG_LEVEL": 1,
        "THREADS_PER_PROCESS": ORDER["threads"],
    },
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
    USE_TZ=True,
)
django.setup()

from django.core.files import File  # noqa: E402 - needs the settings
from django.core.management import call_command  # noqa: E402
from django.db import transaction  # noqa: E402
from post_office import mail  # noqa: E402
from post_office.models import STATUS, Email  # noqa: E402


def queue() -> None:
    """Put every letter into the queue, its document with it."""
    call_command("migrate", verbosity=0)
    with transaction.atomic():
        for letter in ORDER["letters"]:
            attachments = None
            if ORDER["documents"]:
                content = File(Path(letter["path"]).open("rb"))  # noqa: SIM115 - closed with the process
                attached = {"file": content, "mimetype": "application/pdf"}
                attachments = {letter["filename"]: attached}
            mail.send(
                letter["to"],
                ORDER["from"],
                subject=letter["subject"],
                message=letter["text"],
                html_message=letter["html"],
                attachments=attachments,
            )


def send() -> None:
    """Send the queue until it is empty."""
    str(DNS_NAME)  # looked up once a process, and no part of sending
    began = time.perf_counter()
    mail.send_queued_mail_until_done(ORDER["database"] + ".lock", processes=ORDER["processes"])
    seconds = time.perf_counter() - began
    sent = Email.objects.filter(status=STATUS.sent).count()
    print(json.dumps({"seconds": seconds, "sent": sent}))


if __name__ == "__main__":
    {"queue": queue, "send": send}[sys.argv[2]]()
