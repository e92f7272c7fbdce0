"""How many messages go to one provider: from a threshold on, its rules for bulk mail hold."""

from collections.abc import Iterable, Mapping

from sqlalchemy import Text, cast, func, or_, select

from msgrun.deliverability.providers import BULK, domains_of, over_threshold, provider_of
from msgrun.doctor.findings import Finding, Stage, Status, found
from msgrun.doctor.situation import RunFacts
from msgrun.states import MessageState
from msgrun.workspace import Workspace


def bulk_of_run(
    workspace: Workspace, run: RunFacts | None, domains: Iterable[str]
) -> list[Finding]:
    """Return MR843 for a run with as many messages to the provider of a customer.

    Args:
        domains: of the customer's addresses.
    """
    if run is None or run.counts.in_scope < BULK:
        return []
    asked = dict.fromkeys(filter(None, map(provider_of, domains)))
    numbers = {each: _number(workspace, run.row.id, domains_of(each)) for each in asked}
    return _finding(f"run {run.row.id}", {k: n for k, n in numbers.items() if n >= BULK}, BULK)


def bulk_finding(subject: str, domains: Iterable[str], threshold: int = BULK) -> list[Finding]:
    """Return MR843, an information, where a provider gets as many as that."""
    return _finding(subject, over_threshold(domains, threshold), threshold)


def _finding(subject: str, over: Mapping[str, int], threshold: int) -> list[Finding]:
    if not over:
        return []
    told = f"{subject}: {_counts(over)}; from {threshold} a day on, rules for bulk senders hold"
    return [found("MR843", Stage.SENDER, told, status=Status.PASS, subject=subject)]


def _counts(over: Mapping[str, int]) -> str:
    return ", ".join(f"{number} recipients at {provider}" for provider, number in over.items())


def _number(workspace: Workspace, run: int, domains: Iterable[str]) -> int:
    """Count the messages of a run that go to one of the domains, skipped ones left out."""
    message = workspace.database.tables.message
    text = func.lower(cast(message.c.recipients, Text))
    to = or_(*(text.contains(f'@{domain}"') for domain in domains))
    query = select(func.count()).where(
        message.c.run_id == run, message.c.state != MessageState.SKIPPED, to
    )
    with workspace.database.read() as connection, connection.begin():
        return connection.execute(query).scalar_one()
