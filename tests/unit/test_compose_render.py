"""Templates: data stays data, faults are named with file and line."""

from dataclasses import replace

import pytest

from msgrun.compose.render import Rendered, Renderer, RunInfo, SenderInfo, TemplateSources
from msgrun.errors import ComposeError
from msgrun.model import Address, Customer, Document, Invoice, MessageContext

NAMES = {"subject": "subject of monthly", "text": "templates/m.txt", "html": "templates/m.html"}
CONTEXT = MessageContext(
    customer=Customer("C1", "Acme", meta={"contact": "Ann"}),
    addresses=(Address("a@acme.test"),),
    invoices=(
        Invoice("1", "C1", "INV-1", "Approved", total="10.00"),
        Invoice("2", "C1", None, "Approved"),
    ),
    documents=(Document("1", "pdf", "INV-1.pdf", content=b"%PDF-"),),
)


def render(
    subject: str = "S", text: str | None = "T", html: str | None = None, customer: str = "Acme"
) -> Rendered:
    context = replace(CONTEXT, customer=replace(CONTEXT.customer, name=customer))
    renderer = Renderer(TemplateSources(subject, text, html, NAMES))
    return renderer.render(
        context, SenderInfo("Billing", "b@us.test"), RunInfo("monthly", "2026-10")
    )


def failure(**templates: str | None) -> ComposeError:
    with pytest.raises(ComposeError) as caught:
        render(**templates)
    return caught.value


def test_every_documented_variable_is_filled_in():
    text = (
        "{{ customer.code }} {{ customer.meta.contact }} {{ invoice.number }} {{ invoice.total }} "
        "{{ invoices | length }} {{ documents[0].filename }} {{ documents[0].transformation }} "
        "{{ sender.name }} {{ sender.address }} {{ run.definition }} {{ run.period }}"
    )

    assert render(text=text).text == (
        "C1 Ann INV-1 10.00 2 INV-1.pdf pdf Billing b@us.test monthly 2026-10"
    )


def test_an_invoice_without_a_number_is_a_concept():
    assert render(text="{{ invoices[1].number }} {{ invoices[1].label }}").text == "Concept Concept"


@pytest.mark.parametrize("evil", ["{{7*7}}", "{% for x in range(9) %}", "{# gone #}", "{{"])
def test_template_code_in_data_stays_literal(evil):
    rendered = render("{{ customer.name }}", "{{ customer.name }}", "{{ customer.name }}", evil)

    assert rendered == Rendered(evil, evil, evil)


def test_html_is_escaped_and_text_is_not():
    value = "<script>&"

    rendered = render("{{ customer.name }}", "{{ customer.name }}", "{{ customer.name }}", value)

    assert rendered == Rendered(value, value, "&lt;script&gt;&amp;")


def test_block_tags_leave_no_blank_lines():
    text = "a\n  {% if true %}\nb\n  {% endif %}\nc"

    assert render(text=text).text == "a\nb\nc"


@pytest.mark.parametrize("broken", ["{{ customer.name", "{% if %}", "{{ 1 | nosuchfilter }}"])
def test_a_syntax_error_names_file_line_and_excerpt(broken):
    error = failure(text=f"Hello\n{broken}")

    assert error.finding == "MR301"
    assert "templates/m.txt, line 2" in error.message
    assert broken in error.message


def test_an_undefined_field_names_itself_its_line_and_the_nearest():
    error = failure(html="<p>\n{{ customer.nmae }}")

    assert error.finding == "MR302"
    assert "templates/m.html, line 2" in error.message
    assert "'customer.nmae'" in error.message
    assert "customer.name" in error.hint


def test_an_undefined_variable_names_the_nearest():
    error = failure(subject="{{ invoise.number }}")

    assert (error.finding, "subject of monthly, line 1" in error.message) == ("MR302", True)
    assert "invoice" in error.hint


def test_a_missing_meta_field_may_have_a_default():
    assert render(text="{{ customer.meta.nick | default('you') }}").text == "you"
    error = failure(text="{{ customer.meta.nick }}")
    assert error.finding == "MR302"
    assert "default(" in error.hint


def test_none_is_never_printed():
    error = failure(text="Total:\n{{ invoice.currency }}")

    assert error.finding == "MR302"
    assert "line 2" in error.message
    assert render(text="{{ invoice.currency or 'EUR' }}").text == "EUR"


@pytest.mark.parametrize(
    "bad",
    [
        "{{ 1 / 0 }}",
        "{% for i in range(10**6) %}x{% endfor %}",
        "{{ customer.__class__.__mro__ }}",
        "{{ customer.meta.update({}) }}",
        "{{ '\ud800' }}",
    ],
)
def test_any_other_failure_is_contained_and_placed(bad):
    error = failure(text=f"x\n{bad}")

    assert error.finding == "MR303"
    assert "templates/m.txt" in error.message


def test_a_sandbox_violation_shows_its_line():
    assert "line 3" in failure(text="x\ny\n{{ customer.meta.clear() }}").message


def test_the_subject_loses_surrounding_space():
    assert render(subject=" \n Invoice {{ invoice.number }}\n").subject == "Invoice INV-1"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "   ",
        "a\r\nBcc: x@evil.test",
        "a\nb",
        "a\tb",
        "a\x00b",
        "a\x85b",
        "a\u2028b",
        "=?UTF-8?Q?hello=0ABcc:_x@evil.test?=",
        "x" * 256,
    ],
)
def test_a_subject_that_could_forge_or_break_a_header_is_refused(value):
    with pytest.raises(ComposeError) as caught:
        render(subject="{{ customer.name }}", customer=value)

    assert caught.value.finding == "MR304"


def test_a_subject_of_255_characters_is_allowed():
    assert len(render(subject="x" * 255).subject) == 255


def test_an_empty_body_is_left_out_beside_a_full_one():
    assert render(text=" \n", html="<p>x</p>") == Rendered("S", None, "<p>x</p>")


@pytest.mark.parametrize(("text", "html"), [(" \n", "\n"), ("", None), (None, " ")])
def test_no_body_at_all_is_refused(text, html):
    assert failure(text=text, html=html).finding == "MR305"
