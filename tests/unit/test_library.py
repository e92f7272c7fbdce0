"""msgrun can be used without its command line."""

import subprocess
import sys

import pytest

import msgrun


@pytest.mark.parametrize(
    "name",
    ["Workspace", "deliver", "diagnose", "load_config", "plan_run", "restart", "start", "stop"],
)
def test_what_the_package_offers_is_there(name):
    assert callable(getattr(msgrun, name))


def test_what_it_does_not_offer_is_an_ordinary_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'sned'"):
        _ = msgrun.sned


def test_importing_the_package_loads_nothing_heavy():
    program = (
        "import msgrun, sys; print(sorted({'sqlalchemy', 'rich', 'pydantic'} & set(sys.modules)))"
    )

    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert told.stdout.strip() == "[]"
