"""Templates that refer to others: found beside the definition's, kept with the run, paid for."""

from pathlib import Path
from typing import Any

import pytest

from msgrun.compose.gathering import gather_templates
from msgrun.compose.render import Rendered, Renderer, RunInfo, SenderInfo
from msgrun.compose.templates import TemplateSources
from msgrun.config import Config, load_config
from msgrun.errors import ComposeError, ConfigError
from msgrun.model import Address, Customer, Invoice, MessageContext

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
GIF = b"GIF89a" + bytes(40)
CONFIG = """
[database]
url = "sqlite:///billing.db"
[senders.billing]
address = "billing@acme.test"
[definitions.monthly]
from_key = "billing"
recipient_key = "invoice"
subject = "Invoice {{ invoice.number }}"
%s
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "templates" / "parts").mkdir(parents=True)
    return tmp_path


def config_of(folder: Path, settings: str, **files: str | bytes) -> Config:
    """Write a workspace; a name of `files` has "__" for "/" and "_" for "."."""
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / "msgrun.toml").write_text(CONFIG % settings, encoding="utf-8")
    return load_config(folder / "msgrun.toml", environ={})


def renderer_of(config: Config) -> Renderer:
    definition = config.definition("monthly").model_dump(mode="json")
    return Renderer(TemplateSources.of(gather_templates(config, "monthly"), definition))


def rendered(renderer: Renderer, language: str | None = None, **more: Any) -> Rendered:
    customer = Customer("C1", "Acme & Co", language=language, meta={"points": 1234567.5, **more})
    invoice = Invoice(
        "1", "C1", "INV-1", "Approved", date="2026-10-05", currency="EUR", total="1234.5"
    )
    context = MessageContext(customer, (Address("a@acme.test"),), (invoice,), ())
    return renderer.render(context, SenderInfo("Billing", "b@us.test"), RunInfo("m", "2026-10"))


def refusal(config: Config) -> ComposeError:
    with pytest.raises(ComposeError) as caught:
        renderer_of(config)
    return caught.value


TEXT = 'text = "templates/m.txt"'
HTML = 'html = "templates/m.html"\ntext_from_html = false'


def test_layouts_includes_and_macros_are_found_beside_the_template_or_the_configuration(folder):
    config = config_of(
        folder,
        HTML,
        templates__m_html="{% extends 'base.html' %}{% import 'parts/m.html' as m %}"
        "{% block body %}{{ m.bold(customer.name) }}{% include 'shared.html' %}{% endblock %}",
        templates__base_html="<html>{% block body %}{% endblock %}{{ invoice.number }}</html>",
        templates__parts__m_html="{% macro bold(x) %}<b>{{ x }}</b>{% endmacro %}",
        shared_html="<i>{{ sender.name }}</i>",
    )

    found = rendered(renderer_of(config))

    assert found.html == "<html><b>Acme &amp; Co</b><i>Billing</i>INV-1</html>"


def test_a_run_needs_no_file_again_once_it_is_frozen(folder):
    config = config_of(
        folder,
        HTML,
        templates__m_html="{% include 'part.html' %}<img src=\"{{ image('logo.png') }}\">",
        templates__part_html="part",
        templates__logo_png=PNG,
    )
    frozen = gather_templates(config, "monthly")
    for file in folder.glob("templates/*.*"):
        file.unlink()

    definition = config.definition("monthly").model_dump(mode="json")
    found = rendered(Renderer(TemplateSources.of(frozen, definition)))

    assert found.html is not None
    assert found.html.startswith("part<img")
    assert [image.content for image in found.images] == [PNG]


def test_what_a_run_of_an_earlier_version_has_stored_is_composed_as_it_was():
    frozen = {
        "subject": ("definitions.monthly.subject", "S"),
        "html": ("/srv/m.html", "<style>p {color: red}</style><p>x</p>"),
    }

    found = rendered(Renderer(TemplateSources.of(frozen, {"html": "m.html", "subject": "S"})))

    assert found == Rendered("S", None, "<style>p {color: red}</style><p>x</p>")


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("{% include 'gone.txt' %}", "there is no file 'gone.txt'"),
        ("{% include ['gone.txt', 'too.txt'] %}", "there is no file 'gone.txt' or 'too.txt'"),
        ("{% extends '../secret.txt' %}", "'../secret.txt' leads out of its folder"),
        ("{% include '/etc/hostname' %}", "'/etc/hostname' is not relative"),
        ("{% include 'a\\\\b.txt' %}", "is not relative"),
        ("{% include customer.name %}", "not written out"),
        ("{% include 'link.txt' %}", "there is no file 'link.txt'"),
    ],
)
def test_a_reference_that_cannot_be_kept_is_refused_with_file_and_line(folder, reference, told):
    outside = folder.parent / f"{folder.name}-secret.txt"
    outside.write_text("secret", encoding="utf-8")
    (folder / "templates" / "link.txt").symlink_to(outside)
    config = config_of(folder, TEXT, templates__m_txt=f"x\n{reference}\n")

    error = refusal(config)

    assert error.finding == "MR301"
    assert f"{folder}/templates/m.txt, line 2: " in error.message
    assert told in error.message


def test_a_fault_in_an_included_file_is_named_with_that_file(folder):
    including = "{% include 'part.txt' %}"
    config = config_of(folder, TEXT, templates__m_txt=including, templates__part_txt="a\n{% if %}")

    assert f"{folder}/templates/part.txt, line 2: " in refusal(config).message

    config = config_of(folder, TEXT, templates__part_txt="a\nb\n{{ customer.nam }}")
    with pytest.raises(ComposeError) as caught:
        rendered(renderer_of(config))
    assert caught.value.finding == "MR302"
    assert f"{folder}/templates/part.txt, line 3: 'customer.nam'" in caught.value.message
    assert "customer.name" in caught.value.hint


def test_included_templates_are_paid_for_from_the_same_purse(folder):
    long = "x" * 4000
    config = config_of(
        folder,
        TEXT,
        templates__m_txt="{% for n in range(1000) %}{% include 'part.txt' %}{% endfor %}",
        templates__part_txt=long,
    )

    with pytest.raises(ComposeError) as caught:
        rendered(renderer_of(config))

    assert caught.value.finding == "MR303"
    assert "OverspentError" in caught.value.message


def test_a_template_that_includes_itself_without_end_fails_one_message(folder):
    config = config_of(folder, TEXT, templates__m_txt="{% include 'm.txt' %}")

    with pytest.raises(ComposeError) as caught:
        rendered(renderer_of(config))

    assert caught.value.finding == "MR303"


def test_what_an_imported_file_works_out_for_one_customer_is_not_shown_to_the_next(folder):
    config = config_of(
        folder,
        TEXT,
        templates__m_txt="{% import 'sums.txt' as sums %}{{ sums.fee }}",
        templates__sums_txt="{% set fee = '5' | money('EUR') %}",
    )
    renderer = renderer_of(config)

    assert rendered(renderer, "en").text == "€5.00"
    assert rendered(renderer, "nl").text == "€\xa05,00"


def test_pictures_are_sent_once_and_only_where_they_are_shown(folder):
    config = config_of(
        folder,
        HTML,
        templates__m_html="{% if customer.meta.logo %}{{ image('a.png') }} {{ image('b.gif') }} "
        "{{ image('a.png') }} {{ image('copy.png') }}{% endif %}x",
        templates__a_png=PNG,
        templates__b_gif=GIF,
        templates__copy_png=PNG,
    )
    renderer = renderer_of(config)

    shown = rendered(renderer, logo=True)
    assert [(each.filename, each.content) for each in shown.images] == [
        ("a.png", PNG),
        ("b.gif", GIF),
    ]
    assert shown.html is not None
    assert shown.html.count(f"cid:{shown.images[0].content_id}") == 3
    assert rendered(renderer, logo=False).images == ()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"<svg onload=x>", "is no PNG, JPEG or GIF"),
        (PNG + bytes(1_000_001), "has 1,000,049 bytes"),
        (None, "there is no file 'a.png'"),
    ],
)
def test_only_pictures_of_a_fitting_size_are_taken(folder, content, told):
    files = {} if content is None else {"templates__a_png": content}
    config = config_of(folder, HTML, templates__m_html="\n{{ image('a.png') }}", **files)

    error = refusal(config)

    assert error.finding == "MR301"
    assert "m.html, line 2: " in error.message
    assert told in error.message


def test_a_picture_whose_name_is_worked_out_is_refused(folder):
    config = config_of(folder, HTML, templates__m_html="{{ image(customer.name) }}")

    assert "not written out" in refusal(config).message


def test_a_file_that_is_no_text_is_a_fault_of_the_configuration(folder):
    config = config_of(
        folder, TEXT, templates__m_txt="{% include 'x.txt' %}", templates__x_txt=b"\xff\xfe"
    )

    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        gather_templates(config, "monthly")


def test_customers_get_the_template_of_their_language(folder):
    config = config_of(
        folder,
        f'{TEXT}\nsubjects = {{ nl = "Factuur" }}',
        templates__m_txt="English",
        templates__m_nl_txt="Nederlands",
    )
    (folder / "templates" / "m.nl-BE.txt").write_text("Vlaams", encoding="utf-8")
    (folder / "templates" / "m.old.txt").write_text("{% broken", encoding="utf-8")
    renderer = renderer_of(config)

    assert renderer.languages == {"nl", "nl-be"}
    assert rendered(renderer, "nl").text == "Nederlands"
    assert rendered(renderer, "nl_BE").text == "Vlaams"
    assert rendered(renderer, "nl-NL").subject == "Factuur"
    assert rendered(renderer, "fr").text == "English"
    assert rendered(renderer, "fr").subject == "Invoice INV-1"
    assert rendered(renderer).text == "English"


def test_a_variant_that_cannot_be_compiled_is_told_before_a_run(folder):
    config = config_of(folder, TEXT, templates__m_txt="x", templates__m_nl_txt="\n{{ oops")

    error = refusal(config)

    assert error.finding == "MR301"
    assert "m.nl.txt, line 2" in error.message


def test_sums_dates_and_numbers_are_written_in_the_customers_language(folder):
    config = config_of(
        folder,
        f'{TEXT}\nlanguage = "de"',
        templates__m_txt="{{ invoice.total | money(invoice.currency) }} {{ invoice.date | "
        "date('long') }} {{ customer.meta.points | number }} {{ invoice.total | number(2) }}",
    )
    renderer = renderer_of(config)

    german = "1.234,50\xa0€ 5. Oktober 2026 1.234.567,5 1.234,50"
    assert rendered(renderer, "en-US").text == "€1,234.50 October 5, 2026 1,234,567.5 1,234.50"
    assert rendered(renderer, "nl").text == "€\xa01.234,50 5 oktober 2026 1.234.567,5 1.234,50"
    assert rendered(renderer, None).text == german
    assert rendered(renderer, "tlh-KL").text == german


@pytest.mark.parametrize(
    ("expression", "finding"),
    [
        ("{{ invoice.period_end | date }}", "MR302"),
        ("{{ invoice.totl | money('EUR') }}", "MR302"),
        ("{{ invoice.total | money(invoice.meta.get('currency')) }}", "MR302"),
        ("{{ 'ten' | money('EUR') }}", "MR303"),
        ("{{ '1e99999999' | number }}", "MR303"),
        ("{{ 'NaN' | number }}", "MR303"),
        ("{{ '1' | money('a lot') }}", "MR303"),
        ("{{ '2026-13-01' | date }}", "MR303"),
        ("{{ '1' | number(9999) }}", "MR303"),
    ],
)
def test_a_value_that_is_no_sum_or_day_fails_the_message(folder, expression, finding):
    config = config_of(folder, TEXT, templates__m_txt=expression)

    with pytest.raises(ComposeError) as caught:
        rendered(renderer_of(config))

    assert caught.value.finding == finding


def test_styles_are_written_into_the_elements_and_nothing_is_loaded(folder):
    config = config_of(
        folder,
        f'{HTML}\ncss = "templates/mail.css"',
        templates__m_html="<html><head><link rel=stylesheet href=secret.css><style>p {color: red} "
        "@media print {p {color: blue}}</style></head><body>{% for n in [1, 2] %}<p>{{ n }}</p>"
        "{% endfor %}</body></html>",
        templates__mail_css="p {margin: 0}",
        secret_css="p {border: 9px}",
    )

    html = rendered(renderer_of(config)).html

    assert html is not None
    assert html.count("color: red") == 2
    assert html.count("margin: 0") == 2
    assert "@media print" in html
    assert "9px" not in html


def test_html_without_styles_or_with_inlining_off_stays_as_it_is_written(folder):
    written = "<P>x<p>y"
    config = config_of(folder, HTML, templates__m_html=written)
    assert rendered(renderer_of(config)).html == written

    styled = "<style>p {color: red}</style><P>x"
    config = config_of(folder, f"{HTML}\ninline_css = false", templates__m_html=styled)
    assert rendered(renderer_of(config)).html == styled


def test_a_text_is_derived_from_html_where_there_is_none(folder):
    config = config_of(
        folder,
        'html = "templates/m.html"',
        templates__m_html="<style>p {color: red}</style><h1>{{ customer.name }}</h1><p>See "
        '<a href="https://acme.test/?a=1&amp;b=2">your account</a>',
    )

    found = rendered(renderer_of(config))

    assert found.text == "Acme & Co\n\nSee your account (https://acme.test/?a=1&b=2)\n"
