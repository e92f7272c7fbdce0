"""Faults that can stand side by side: how each is planted, and what the doctor says of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Planting:
    """One fault.

    Attributes:
        name: what is wrong.
        code: the base code that it is found by.
        touches: the places that it needs for itself.
        steps: as in `planting.py`.
        blocks: whether the rules hold the invoice back, so that no run is missing.
        dialogue: a scripted mail server that is asked.
        builder: of `builders.py`.
        online: whether a server is asked.
    """

    name: str
    code: str
    touches: frozenset[str]
    steps: Sequence[Mapping[str, Any]] = ()
    blocks: bool = False
    dialogue: Mapping[str, Any] | None = None
    builder: str = ""
    online: bool = False

    def __repr__(self) -> str:
        return f"<{self.name}>"


def _planting(
    name: str, code: str, touches: str, *steps: Mapping[str, Any], **rest: Any
) -> Planting:
    return Planting(name, code, frozenset(touches.split()), steps, **rest)


def _address(address: str) -> Mapping[str, Any]:
    return {"change": "addresses", "address": address}


def _key(key: str) -> Sequence[Mapping[str, Any]]:
    """Give the address another key, and the wanted one to somebody else."""
    return (
        {"change": "addresses", "key": key},
        {"add": "customers", "code": "C2", "name": "Bolt", "cluster": "DE", "suspended": False},
        {"add": "addresses", "customer": "C2", "key": "invoice", "address": "b@bolt.test"},
    )


def _server(name: str, code: str, touches: str = "smtp", **dialogue: Any) -> Planting:
    return _planting(name, code, touches, dialogue=dialogue, online=True)


_INVOICE = "invoice template documents address-at-server"  # without one, nothing is composed
_DEFINITION = "definition template smtp address-at-server"  # without a sender, neither

PLANTINGS: Sequence[Planting] = (
    _planting(
        "suspended", "MR102", "customer", {"change": "customers", "suspended": True}, blocks=True
    ),
    _planting(
        "another cluster", "MR103", "cluster", {"definition": {"cluster": "US"}}, blocks=True
    ),
    _planting(
        "orphan cluster",
        "MR103",
        "cluster",
        {"change": "customers", "cluster": "Gone"},
        blocks=True,
    ),
    _planting("no address", "MR105", "address", *_key("legal"), blocks=True),
    _planting("plural key", "MR105", "address", *_key("invoices"), blocks=True),
    _planting("look-alike key", "MR105", "address", *_key("invоice"), blocks=True),
    _planting("malformed address", "MR107", "address", _address("a.acme.test"), blocks=True),
    _planting("two in one field", "MR107", "address", _address("a@x.test; b@x.test"), blocks=True),
    _planting("placeholder", "MR110", "address", _address("noreply@acme.de")),
    _planting("mistyped domain", "MR111", "address", _address("a@gmial.com")),
    _planting("no invoice", "MR121", _INVOICE, {"empty": "invoices"}, blocks=True),
    _planting(
        "another period",
        "MR122",
        _INVOICE,
        {"change": "invoices", "period_end": "2026-09-30"},
        blocks=True,
    ),
    _planting(
        "open invoice", "MR123", "invoice", {"change": "invoices", "status": "Open"}, blocks=True
    ),
    _planting(
        "status in small letters",
        "MR123",
        "invoice",
        {"definition": {"statuses": ["approved"]}},
        blocks=True,
    ),
    _planting("disabled", "MR201", "definition", {"definition": {"enabled": False}}, blocks=True),
    _planting("unknown from key", "MR202", _DEFINITION, {"definition": {"from_key": "biling"}}),
    _planting(
        "bad sender",
        "MR203",
        "definition address-at-server smtp",
        {"sender": {"address": "billing at x"}},
    ),
    _planting("template syntax", "MR301", "template", {"file": "monthly.txt", "text": "{% if %}"}),
    _planting(
        "undefined variable",
        "MR302",
        "template",
        {"definition": {"subject": "{{ invoice.numbr }}"}},
    ),
    _planting("division", "MR303", "template", {"file": "monthly.txt", "text": "{{ 1 // 0 }}"}),
    _planting(
        "forged subject", "MR304", "template", {"definition": {"subject": "{{ 'a\\nBcc: b' }}"}}
    ),
    _planting(
        "left over", "MR305", "template", {"file": "monthly.txt", "text": "{{ '{{ name }}' }}"}
    ),
    _planting("no document", "MR401", "documents", {"empty": "documents"}, blocks=True),
    _planting(
        "file gone",
        "MR401",
        "documents",
        {"change": "documents", "content": "NULL", "path": "gone.pdf"},
    ),
    _planting("no PDF", "MR403", "documents", {"change": "documents", "content": b"<html>"}),
    _planting(
        "outside",
        "MR407",
        "documents",
        {"change": "documents", "content": "NULL", "path": "../x.pdf"},
    ),
    _planting("blocked type", "MR406", "documents", {"change": "documents", "filename": "a.exe"}),
    _planting("unknown time zone", "MR003", "environment", builder="unknown_zone"),
    _planting("full disk", "MR004", "environment", builder="full_disk"),
    _planting("no host", "MR601", "smtp", {"server": {"host": ""}}),
    _planting("nobody listens", "MR603", "smtp", {"server": {"port": 1}}, online=True),
    _server("no SMTP", "MR605", banner="raw HTTP/1.1 400 Bad Request"),
    _server("sender refused", "MR616", mail="553 5.7.1 Sender address rejected: not owned by user"),
    _server("recipient refused", "MR617", "smtp address", rcpt="554 5.7.1 Relay access denied"),
    _server("TLS wanted", "MR606", mail="530 5.7.0 Must issue a STARTTLS command first"),
    _server("EHLO refused", "MR619", ehlo="504 5.5.2 Helo command rejected"),
)
