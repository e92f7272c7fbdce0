"""The sample billing data for every suite of this folder."""

from pathlib import Path

import pytest
from billing_data import Billing, fill_own_tables, foreign_billing

from msgrun.database import Database
from msgrun.source import Source


@pytest.fixture(params=["own", "mapped"])
def billing(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> Billing:
    """The sample data, each way it can be held."""
    if request.param == "own":
        fill_own_tables(database)
        return Billing(database, Source(database, {}, tmp_path), mapped=False)
    return foreign_billing(database, tmp_path)
