"""Each folder of `tests/cli/bad_config` is a faulty msgrun.toml with the error that it must give.

Every line of `expected.txt` must occur within one line of the error; there are no further lines.
"""

from pathlib import Path

import pytest

from msgrun.config import load_config
from msgrun.errors import ConfigError, ExitCode

CASES = Path(__file__).parents[1] / "cli" / "bad_config"


@pytest.mark.parametrize("case", sorted(folder.name for folder in CASES.iterdir()))
def test_a_bad_configuration_says_what_is_wrong_and_where(case: str) -> None:
    file = CASES / case / "msgrun.toml"
    expected = (CASES / case / "expected.txt").read_text(encoding="utf-8").splitlines()

    with pytest.raises(ConfigError) as caught:
        load_config(file, environ={})

    lines = caught.value.message.splitlines()
    assert caught.value.exit_code == ExitCode.USAGE
    assert caught.value.hint
    for line in expected:
        assert any(line in said for said in lines), f"{line!r} is not in {lines}"
    assert len(lines) == len(expected)
    assert all(said.startswith(f"{file}: ") for said in lines)
    assert "hunter" not in caught.value.message + caught.value.hint
