"""Templates: no way out of the sandbox, customer data is never code, and nothing runs for ever."""

import time
from typing import Any

import pytest

from msgrun.compose import limits
from msgrun.compose.render import Rendered, Renderer, RunInfo, SenderInfo, TemplateSources
from msgrun.errors import ComposeError
from msgrun.model import Address, Customer, Document, Invoice, MessageContext

INVOICES = tuple(Invoice(str(n), "C1", f"INV-{n}", "Approved", total="10.00") for n in range(3))
HOSTILE = "{{7*7}}{% raw %}<script>alert('x')</script>&\"{# #}"


def context(name: str = "Acme", **meta: Any) -> MessageContext:
    return MessageContext(
        customer=Customer("C1", name, meta=meta),
        addresses=(Address("a@acme.test"),),
        invoices=INVOICES,
        documents=(Document("1", "pdf", "INV-1.pdf", content=b"%PDF-"),),
    )


def render(
    text: str, about: MessageContext | None = None, names: dict[str, str] | None = None
) -> Rendered:
    renderer = Renderer(TemplateSources("S", text, text, names or {}))
    sender, run = SenderInfo("Billing", "b@us.test"), RunInfo("monthly", "2026-10")
    return renderer.render(about or context(), sender, run)


def finding(text: str) -> str:
    with pytest.raises(ComposeError) as caught:
        render(text)
    return caught.value.finding


ESCAPES = [
    "{{ ''.__class__.__mro__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__']['__mro__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ ''|attr('__cl' ~ 'ass__') }}",
    "{{ ''['\\x5f\\x5fclass\\x5f\\x5f'] }}",
    "{{ customer.__init__.__globals__ }}",
    "{{ customer.__class__ }}",
    "{{ customer.__dataclass_fields__ }}",
    "{{ customer['__class__'] }}",
    "{{ customer|attr('__class__') }}",
    "{{ customer.__slots__ }}",
    "{{ invoice.__reduce__() }}",
    "{{ sender.__module__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ range.__globals__ }}",
    "{{ dict.__base__ }}",
    "{{ (1).__class__ }}",
    "{{ ().__class__.__base__.__subclasses__() }}",
    "{{ '{0.__class__.__init__.__globals__}'.format(customer) }}",
    "{{ '{0.__class__}'|format(customer) }}{{ ('{0.__class__}'|attr('format'))(customer) }}",
    "{{ ''.format_map({}).__class__ }}",
    "{{ '%s'.__mod__(customer) }}",
    "{{ customer.meta.update({'x': 1}) }}",
    "{{ customer.meta.clear() }}",
    "{{ customer.meta.pop('x', 1) }}{{ customer.meta.setdefault('x', 1) }}",
    "{{ invoices.append(1) }}",
    "{{ invoices.clear() }}",
    "{{ documents.pop() }}",
    "{% for i in [1] %}{{ loop.__class__ }}{% endfor %}",
    "{% macro m() %}{% endmacro %}{{ m.__call__.__globals__ }}",
    "{% macro m() %}{% endmacro %}{{ m._func.__globals__ }}",
    "{{ [customer]|selectattr('__class__')|map(attribute='__class__')|list }}",
    "{{ [customer]|sort(attribute='__class__.__name__') }}",
    "{{ (('x' for i in [1]).gi_frame) }}",
    "{{ lipsum.__globals__ }}",
    "{{ lipsum() }}",
    "{{ [1, 2]|random }}",
    "{{ get_flashed_messages.__globals__ }}",
    "{{ config.items() }}",
    "{{ request }}",
    "{{ open('/etc/passwd').read() }}",
    "{{ __import__('os') }}",
    "{% include '/etc/passwd' %}",
    "{% import '/etc/passwd' as x %}",
    "{% extends '/etc/passwd' %}",
    "{% from 'os' import system %}",
]


@pytest.mark.parametrize("template", ESCAPES)
def test_no_template_gets_out_of_the_sandbox(template: str) -> None:
    assert finding(template) in {"MR301", "MR302", "MR303"}


@pytest.mark.parametrize(
    "template",
    [
        "{{ [customer]|map(attribute='__class__')|list }}",
        "{{ [customer]|map('attr', '__class__')|list }}",
        "{{ [customer]|groupby('__class__') }}",
    ],
)
def test_a_filter_that_looks_attributes_up_finds_nothing_there(template: str) -> None:
    text = render(template).text

    assert text is not None
    assert "Undefined" in text
    assert "class" not in text


@pytest.mark.parametrize(
    "name", ["m.html", "m.txt", "m.tpl", "m.j2", "mail", "m.HTML.jinja", "a/b.md", ""]
)
def test_html_is_escaped_whatever_its_file_is_called(name: str) -> None:
    about = context(HOSTILE, note=HOSTILE)
    rendered = render(
        "{{ customer.name }}|{{ customer.meta.note }}", about, {"html": name, "text": name}
    )

    escaped = "{{7*7}}{% raw %}&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&#34;{# #}"
    assert rendered.html == f"{escaped}|{escaped}"
    assert rendered.text == f"{HOSTILE}|{HOSTILE}"


@pytest.mark.parametrize(
    "template",
    [
        "{{ customer.name }}",
        "{{ customer.name ~ '' }}",
        "{{ customer.name + '' }}",
        "{{ '%s' % customer.name }}",
        "{{ '%s'|format(customer.name) }}",
        "{{ '{}'.format(customer.name) }}",
        "{{ [customer.name]|join('') }}",
        "{{ customer.name|replace('\\n', '') }}",
        "{{ customer.name|trim }}",
        "{{ customer.name|default('-') }}",
        "{{ customer.name * 1 }}",
        "{{ customer.name|truncate(999) }}",
        "{{ customer['name'] }}",
        "{{ customer|attr('name') }}",
        "{{ [customer]|map(attribute='name')|first }}",
        "{% set x %}{{ customer.name }}{% endset %}{{ x }}",
        "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(customer.name) }}",
        "{% filter trim %}{{ customer.name }}{% endfilter %}",
        "{% for x in [customer.name] %}{{ x }}{% endfor %}",
        "{% set ns = namespace(x='') %}{% set ns.x = ns.x ~ customer.name %}{{ ns.x }}",
    ],
)
def test_no_way_of_writing_it_makes_data_code_or_markup(template: str) -> None:
    rendered = render(template, context(HOSTILE))

    assert rendered.html is not None
    assert rendered.text is not None
    assert "<" not in rendered.html
    assert "{{7*7}}" in rendered.html
    assert rendered.text == HOSTILE


def test_data_is_never_compiled_a_second_time() -> None:
    twice = "{{ customer.meta.a }}{{ customer.meta.b }}"

    assert render(twice, context(a="{{", b="7*7}}")).text == "{{7*7}}"


GROWING = (
    "{% set ns = namespace(s=START) %}{% for i in range(60) %}{% set ns.s = NEXT %}{% endfor %}"
)
ENDLESS = [
    "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
    "{% for a in range(99999) %}{% for b in range(99999) if false %}x{% endfor %}{% endfor %}",
    "{% set r = range(99999) %}{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}",
    "{% set r = range(99999) %}{% for a in r %}{% for b in r if false %}{% endfor %}{% endfor %}",
    "{% for a in range(99999) %}{% for b in range(9, 99999, 9) %}{% endfor %}{% endfor %}",
    "{% for a in range(3) recursive %}{{ loop(range(99999)) }}{% endfor %}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% for a in range(99999) %}{{ range(99999)|sum }}{% endfor %}",
    "{% set r = range(99999) %}{% for a in r %}{{ r|map('abs')|sum }}{% endfor %}",
    "{% for a in range(99999) %}{{ range(99999)|list|length }}{% endfor %}",
    "{{ range(10**9)|list }}",
    "{{ 'x' * 10**9 }}",
    "{{ 10**9 * 'x' }}",
    "{{ ('x' * 1000) * 10**9 }}",
    "{{ [0] * 10**9 }}",
    "{{ ((0,) * 10**5) * 10**5 }}",
    "{{ 9**(9**9) }}",
    "{{ 9**9**9**9 }}",
    "{{ (-9)**(9**9) }}",
    "{{ 2**(10**9) }}",
    GROWING.replace("START", "3").replace("NEXT", "ns.s * ns.s"),
    GROWING.replace("START", "'xx'").replace("NEXT", "ns.s ~ ns.s"),
    GROWING.replace("START", "'xx'").replace("NEXT", "ns.s + ns.s"),
    GROWING.replace("START", "[1]").replace("NEXT", "ns.s + ns.s"),
    GROWING.replace("START", "'xx'").replace("NEXT", "ns.s|replace('x', ns.s)"),
    GROWING.replace("START", "'xx'").replace("NEXT", "ns.s.replace('x', ns.s)"),
    "{% set big = 'x' * 10**6 %}{% for i in range(99999) %}{{ big }}{% endfor %}",
    "{% set b %}{% for i in range(99999) %}" + "words " * 20 + "{% endfor %}{% endset %}",
    "{% set big = 'x' * 10**6 %}{{ ([big] * 10**6)|join }}",
    "{% set big = 'x' * 10**6 %}{{ big.join([big] * 10**6) }}",
    "{% set big = 'x' * 10**6 %}{% for i in range(99999) %}{% set _ = big|upper %}{% endfor %}",
    "{{ 'x'|center(10**9) }}",
    "{{ 'x'|center(1000000000) }}",
    "{{ 'x'|indent(1000000000) }}{{ 'a\nb'|indent(1000000000) }}",
    "{{ [1]|batch(1000000000, 0)|list }}",
    "{{ [1]|slice(1000000000)|list }}",
    "{{ 1|round(1000000000, 'ceil') }}",
    "{{ 'x'.center(10**9) }}",
    "{{ 'x'.ljust(1000000000) }}",
    "{{ 'x'.rjust(1000000000) }}",
    "{{ 'x'.zfill(1000000000) }}",
    "{{ '\t'.expandtabs(1000000000) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%.1000000000f' % 1 }}",
    "{{ '%*d' % (1000000000, 1) }}",
    "{{ '%1000000000d'|format(1) }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '{:{w}}'.format(1, w=1000000000) }}",
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("template", ENDLESS)
def test_what_would_run_for_ever_or_fill_the_memory_fails_this_message(template: str) -> None:
    began = time.process_time()

    assert finding(template) == "MR303"
    assert time.process_time() - began < 20


def test_the_refusal_names_the_line() -> None:
    with pytest.raises(ComposeError) as caught:
        render("a\nb\n{{ 'x' * 10**9 }}")

    assert "line 3" in caught.value.message
    assert "OverspentError" in caught.value.message


@pytest.mark.parametrize(
    "source", ["{{ " + "(" * 5000 + ")" * 5000 + " }}", "{{ " + "9" * 5000 + " }}"]
)
def test_what_python_cannot_compile_is_a_fault_of_the_template(source: str) -> None:
    assert finding(source) == "MR301"


def test_ordinary_templates_are_far_below_the_limits() -> None:
    rows = tuple(Invoice(str(n), "C1", f"INV-{n}", "Approved", total="10.00") for n in range(5000))
    about = MessageContext(Customer("C1", "Acme"), (), rows, ())
    text = (
        "{{ '=' * 72 }}\n{% for i in invoices %}{{ loop.index }}/{{ loop.length }} "
        "{{ '%-12s' % i.number }} {{ '%10.2f'|format(i.total|float) }} {{ 'EUR'.rjust(5) }} "
        "{{ i.number|replace('INV-', '') }}{{ '{:>8}'.format(i.id) }}\n{% endfor %}"
        "{{ invoices|map(attribute='number')|join(', ')|wordwrap(76)|indent(4) }}"
        "{{ 1.19 ** 2 }} {{ 2 * 3 }} {{ 10000000 * 10000000 }} {{ '%d'|format(1000000000) }}"
    )

    rendered = render(text, about)

    assert rendered.text is not None
    assert rendered.text.count("EUR") == 5000
    assert "5000/5000 INV-4999    " in rendered.text
    assert rendered.text.endswith("100000000000000 1000000000")


def test_each_message_has_a_purse_of_its_own() -> None:
    half = limits.BUDGET // 2 - 1000
    template = f"{{{{ ('x' * {half})|length }}}}"
    renderer = Renderer(TemplateSources("S", template))
    sender, run = SenderInfo("Billing", "b@us.test"), RunInfo("monthly", "2026-10")

    for _ in range(5):
        assert renderer.render(context(), sender, run).text == str(half)


def test_a_template_that_was_refused_leaves_nothing_behind() -> None:
    assert finding(ENDLESS[0]) == "MR303"

    assert render("{{ customer.name }}").text == "Acme"
    assert limits._purse.get() is None


def test_nothing_in_a_template_is_left_to_chance() -> None:
    assert "random" not in limits.Sandbox(records=()).filters
    assert "lipsum" not in limits.Sandbox(records=()).globals
