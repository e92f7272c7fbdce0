"""One message of a run that is not written, composed exactly as the run would compose it."""

from datetime import datetime

from msgrun.delivery.composing import Ready, Unsendable, compose_claim
from msgrun.ledger.rows import Claim, Frozen
from msgrun.model import Selection
from msgrun.planning.outline import Planned
from msgrun.workspace import Workspace

REVISION = 1
"""The number of the only revision that such a run has."""


def claim_of(planned: Planned, message_id: str, now: datetime) -> Claim:
    """Return what a worker would hold to compose a planned message; nobody holds it."""
    return Claim(
        id=planned.number,
        number=planned.number,
        revision=REVISION,
        customer=planned.customer,
        recipients=planned.recipients,
        message_id=message_id,
        date=None,
        invoices=planned.invoices,
        attempts=0,
        not_before=now,
    )


def compose_example(
    workspace: Workspace, frozen: Frozen, selection: Selection, planned: Planned, message_id: str
) -> Ready | Unsendable:
    """Compose one planned message from what the source has now.

    Raises:
        PreflightError: from key unknown (MR202), or a template does not compile (MR301).
        SourceError: the billing data is not as the contract wants it.
    """
    revision = workspace.revision(frozen, selection)
    with workspace.database.read(attach=True) as connection, connection.begin():
        claim = claim_of(planned, message_id, workspace.database.now(connection))
        return compose_claim(connection, workspace.source, revision, claim)
