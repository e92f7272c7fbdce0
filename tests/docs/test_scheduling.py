"""The page on schedules shows settings that msgrun takes, and commands that there are."""

import re
from pathlib import Path

from msgrun.cli.schedule import schedule
from msgrun.config import load_config

PAGE = (Path(__file__).parents[2] / "docs" / "scheduling.md").read_text("utf-8")

WORKSPACE = """
[database]
url = "postgresql://localhost/x"
[senders.billing]
address = "billing@example.com"
[definitions.monthly]
from_key = "billing"
recipient_key = "invoice"
subject = "x"
text = "x.txt"
"""


def test_the_settings_shown_are_taken_and_are_the_defaults_where_it_says_so(tmp_path: Path) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "msgrun.toml").write_text(WORKSPACE + "".join(blocks), "utf-8")

    shown = load_config(tmp_path / "msgrun.toml", environ={})

    (tmp_path / "msgrun.toml").write_text(
        f'{WORKSPACE}[schedules.monthly]\ndefinition = "monthly"\ncron = "0 7 1 * *"\n', "utf-8"
    )
    bare = load_config(tmp_path / "msgrun.toml", environ={})
    for key in ("missed", "grace", "distributed", "notify"):
        values = [getattr(each.schedules["monthly"], key) for each in (shown, bare)]
        assert values[0] == values[1], key
    assert (shown.notify.on, shown.notify.timeout) == (bare.notify.on, bare.notify.timeout)


def test_every_subcommand_is_on_the_page_and_no_other() -> None:
    known = {command.name for command in schedule.registered_commands}

    assert set(re.findall(r"msgrun schedule ([a-z-]+)", PAGE)) == known
