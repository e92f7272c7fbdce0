"""A run keeps all that its templates refer to: a restart needs none of the files again."""

from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from billing_world import DEFINITION, World, address, code, make_world
from msgrun.control.start import plan_run
from msgrun.database import Database
from msgrun.demo.sink import Sink
from msgrun.doctor.composing import template_drift
from msgrun.doctor.context import Context, definition_today
from msgrun.errors import PreflightError
from msgrun.ledger import runs

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)


def write(world: World, **files: str | bytes) -> None:
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (world.folder / name.replace("_", ".")).write_bytes(data)


def received(sink: Sink) -> dict[str, EmailMessage]:
    found = {}
    for entry in sink.received:
        message = message_from_bytes(Path(entry.path).read_bytes(), policy=policy.default)
        assert isinstance(message, EmailMessage)
        found[message["To"].addresses[0].addr_spec] = message
    return found


@pytest.fixture
def rich(world: World) -> World:
    """A world whose template has a layout and a picture."""
    write(
        world,
        monthly_html="{% extends 'base.html' %}{% block body %}{{ customer.name }}{% endblock %}",
        base_html="<p>first</p>{% block body %}{% endblock %}<img src=\"{{ image('a.png') }}\">",
        a_png=PNG,
    )
    world.reconfigure('text = "monthly.txt"', 'html = "monthly.html"')
    return world


def test_a_restart_uses_the_layouts_and_pictures_of_the_run_though_the_files_are_gone(
    rich: World, sink: Sink
) -> None:
    sink.refuse[address(1)] = "450 4.2.1 Later"
    rich.start()
    sink.refuse.clear()
    (rich.folder / "base.html").unlink()
    (rich.folder / "a.png").unlink()

    ending, _ = rich.restart()

    assert ending.summary.counts.sent == 4
    message = received(sink)[address(1)]
    html = message.get_body(("html",))
    assert html is not None
    assert "<p>first</p>N 1" in html.get_content()
    picture = next(part for part in message.walk() if part.get_content_type() == "image/png")
    assert picture.get_payload(decode=True) == PNG
    assert f"cid:{picture['Content-ID'].strip('<>')}" in html.get_content()
    text = message.get_body(("plain",))
    assert text is not None
    assert text.get_content().split() == ["first", "N", "1"]


def test_what_has_changed_in_a_layout_or_picture_is_told(rich: World) -> None:
    rich.start(limit=1)
    write(rich, base_html="<p>second</p>{{ image('a.png') }}", a_png=PNG + b"x")
    (row,) = rich.runs()
    with rich.database.read() as connection, connection.begin():
        was = runs.revisions(connection, rich.database.tables, row.id)[1]

    today = definition_today(rich.workspace, DEFINITION)
    drift = list(template_drift(Context(DEFINITION, was, today, was=was, run=row)))

    layout, picture = drift
    assert layout.startswith("file:base.html: line 1: run 1 had '<p>first</p>{% block body")
    assert layout.endswith("""it is "<p>second</p>{{ image('a.png') }}" now""")
    assert picture == "image:a.png: differs from that of run 1"


def test_a_layout_that_is_missing_is_told_before_anything_is_written(rich: World) -> None:
    (rich.folder / "base.html").unlink()

    with pytest.raises(PreflightError, match=r"monthly\.html, line 1: there is no file.*MR301"):
        rich.start()

    assert rich.runs() == []


def test_every_language_is_tried_before_a_run_however_late_its_first_customer_comes(
    database: Database, tmp_path: Path, sink: Sink
) -> None:
    world = make_world(database, tmp_path, sink.port, customers=130)
    write(world, monthly_nl_txt="{{ customer.meta.aanhef }}")
    world.change("customers", {"code": code(120)}, language="nl-BE")

    _, checked = plan_run(world.workspace, DEFINITION, world.selection())

    assert [(note.code, note.customer) for note in checked.notes] == [("MR302", code(120))]
    assert checked.tried == 101
