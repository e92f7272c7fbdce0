"""The faults planted in the sample data, each with the finding that explains it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from msgrun.model import Address, Customer, Document, Invoice

RECIPIENT_KEY: Final = "invoice"
"""The address key that the sample's definition is to use."""


@dataclass(frozen=True, slots=True)
class Planted:
    """One fault in the data: whom it concerns, and the finding that explains it."""

    customer: str
    code: str


@dataclass(slots=True)
class Account:
    """A customer with all that belongs to it, while faults are planted."""

    customer: Customer
    addresses: list[tuple[str, Address]]
    invoices: list[Invoice]
    documents: list[Document]
    files: set[str]


def _suspended(account: Account) -> None:
    account.customer = replace(account.customer, suspended=True)


def _wrong_cluster(account: Account) -> None:
    account.customer = replace(account.customer, cluster="Archive")


def _wrong_key(account: Account) -> None:
    account.addresses = [("invoices", address) for _, address in account.addresses[:1]]


def _no_address(account: Account) -> None:
    account.addresses = []


def _malformed_address(account: Account) -> None:
    address = account.addresses[0][1]
    bad = replace(address, address=address.address.replace("@", "."))
    account.addresses = [(RECIPIENT_KEY, bad)]


def _refused_address(account: Account) -> None:
    account.addresses = account.addresses[:1]  # the only one, so that the message is rejected


def _wrong_status(account: Account) -> None:
    account.invoices = [replace(invoice, status="Open") for invoice in account.invoices]


def _other_period(account: Account) -> None:
    account.invoices = [
        replace(i, date="2026-10-01", period_start="2026-09-01", period_end="2026-09-30")
        for i in account.invoices
    ]


def _no_document_row(account: Account) -> None:
    account.documents, account.files = [], set()


def _no_document_file(account: Account) -> None:
    account.files = set()


def _concept(account: Account) -> None:
    account.invoices = [replace(invoice, number=None) for invoice in account.invoices]
    account.documents = [replace(d, filename="Concept.pdf") for d in account.documents]


_FAULTS: Final[tuple[tuple[str, str, Callable[[Account], None]], ...]] = (
    ("wrong key", "MR106", _wrong_key),
    ("suspended", "MR102", _suspended),
    ("wrong cluster", "MR103", _wrong_cluster),
    ("wrong status", "MR123", _wrong_status),
    ("missing document row", "MR401", _no_document_row),
    ("missing document file", "MR401", _no_document_file),
    ("refused address", "MR506", _refused_address),
    ("malformed address", "MR107", _malformed_address),
    ("no address", "MR105", _no_address),
    ("other period", "MR122", _other_period),
)


def plant(accounts: Sequence[Account]) -> tuple[dict[str, Planted], dict[str, str]]:
    """Spread the faults and two concepts evenly over the customers with a single invoice."""
    single = [account for account in accounts if len(account.invoices) == 1]
    step = len(single) // (len(_FAULTS) + 2)
    places = single[step // 2 :: step]
    planted = {}
    for account, (fault, code, change) in zip(places, _FAULTS, strict=False):
        change(account)
        planted[fault] = Planted(account.customer.code, code)
    for account in places[len(_FAULTS) : len(_FAULTS) + 2]:
        _concept(account)
    refused = places[[fault for fault, _, _ in _FAULTS].index("refused address")]
    address = refused.addresses[0][1].address
    reply = f"550 5.1.1 <{address}>: Recipient address rejected: User unknown"
    return planted, {address: reply}
