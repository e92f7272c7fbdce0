"""The architecture page says what the code says."""

from pathlib import Path

from msgrun.states import diagrams

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"


def test_state_diagrams_are_those_of_the_table_of_moves():
    page = PAGE.read_text("utf-8")

    shown = page.split("<!-- states:begin -->\n")[1].split("\n<!-- states:end -->")[0]

    assert shown == diagrams().strip()


def test_every_module_of_the_package_is_on_the_map():
    page = PAGE.read_text("utf-8")
    package = PAGE.parents[1] / "src" / "msgrun"
    modules = [each.stem for each in package.iterdir() if each.suffix == ".py" or each.is_dir()]
    named = [name for name in modules if not name.startswith("_")]

    missing = [name for name in named if name not in page]

    assert missing == []
