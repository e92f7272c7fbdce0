"""How many messages go to one provider: from a threshold on, its rules for bulk mail hold."""

from collections.abc import Iterable, Iterator, Mapping

from sqlalchemy import select

from msgrun.deliverability.providers import BULK, over_threshold
from msgrun.doctor.findings import Finding, Stage, Status, found
from msgrun.doctor.situation import RunFacts
from msgrun.ledger.rows import addresses_of
from msgrun.states import MessageState
from msgrun.workspace import Workspace


def bulk_of_run(workspace: Workspace, run: RunFacts | None) -> list[Finding]:
    """Return MR843 for a run with as many messages to one provider."""
    if run is None or run.summary.counts.in_scope < BULK:
        return []
    return bulk_finding(f"run {run.row.id}", _domains_of(workspace, run.row.id))


def bulk_finding(subject: str, domains: Iterable[str], threshold: int = BULK) -> list[Finding]:
    """Return MR843, an information, where a provider gets as many as that."""
    over = over_threshold(domains, threshold)
    if not over:
        return []
    told = f"{subject}: {_counts(over)}; from {threshold} a day on, rules for bulk senders hold"
    return [found("MR843", Stage.SENDER, told, status=Status.PASS, subject=subject)]


def _counts(over: Mapping[str, int]) -> str:
    return ", ".join(f"{number} recipients at {provider}" for provider, number in over.items())


def _domains_of(workspace: Workspace, run: int) -> Iterator[str]:
    """Yield the domain of each recipient of a run, skipped messages left out."""
    message = workspace.database.tables.message
    wanted = select(message.c.recipients).where(
        message.c.run_id == run, message.c.state != MessageState.SKIPPED
    )
    with workspace.database.read() as connection, connection.begin():
        rows = list(connection.scalars(wanted))
    for recipients in rows:
        for each in addresses_of(recipients):
            yield each.address.rpartition("@")[2].lower()
