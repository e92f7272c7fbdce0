"""`msgrun show-context`: what templates see is what is shown."""

import re

import pytest

from cli.golden_text import same_as_golden
from cli.program import Program
from msgrun.compose.render import VARIABLES, RunInfo, SenderInfo, variables_of
from msgrun.errors import ExitCode
from msgrun.model import Customer, Document, Invoice, MessageContext


def described(msgrun: Program) -> None:
    rows = (
        "code,name,cluster,language,meta\n"
        'CU1,Müller [/red] GmbH,Europe,nl-BE,"{""contact"": ""Ann"", ""pin"": ""4711""}"\n'
        "CU4,Still Open,Americas,tlh,\n"
    )
    assert msgrun("import", msgrun.write("customers-more.csv", rows)).code == 0


def without_jinja(out: str) -> str:
    """Leave out what Jinja has: another version has more."""
    return re.sub("(and Jinja's own:).*", r"\1 …", out)


def test_a_customers_values_are_shown_name_by_name(msgrun: Program) -> None:
    described(msgrun)

    done = msgrun("show-context", "monthly", "CU1")

    assert done.code == ExitCode.DONE
    same_as_golden("show_context", without_jinja(done.out))


def test_the_names_and_types_are_shown_without_a_customer(msgrun: Program) -> None:
    done = msgrun("show-context", "monthly")

    assert done.code == ExitCode.DONE
    same_as_golden("show_context_types", without_jinja(done.out))


def test_the_document_holds_the_values_the_language_and_what_can_be_called(
    msgrun: Program,
) -> None:
    described(msgrun)

    shown = msgrun("show-context", "monthly", "CU1", "--json").json

    assert list(shown) == [
        *("schema", "definition", "customer", "eligible", "language", "unknown_language"),
        *("variables", "filters", "functions"),
    ]
    assert (shown["schema"], shown["customer"], shown["eligible"]) == (1, "CU1", True)
    assert (shown["language"], shown["unknown_language"]) == ("nl-BE", None)
    assert shown["variables"]["customer"]["meta"]["contact"] == "Ann"
    assert shown["variables"]["invoice"]["total"] == "1250.50"
    assert {"money", "date", "number"} <= shown["filters"].keys()
    assert {"image", "range"} <= shown["functions"].keys()
    assert all({**shown["filters"], **shown["functions"]}.values())


def test_a_customer_who_gets_nothing_now_is_shown_with_the_newest_invoice(msgrun: Program) -> None:
    described(msgrun)

    done = msgrun("show-context", "monthly", "CU4")
    shown = msgrun("show-context", "monthly", "CU4", "--json").json

    assert "no message would be sent now" in done.out
    assert "the language 'tlh' is not known; sums and dates are written as in 'en'" in done.out
    assert (shown["eligible"], shown["variables"]["invoice"]["number"]) == (False, "INV-4")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("monthl",), ExitCode.NOT_FOUND),
        (("monthly", "CU9"), ExitCode.NOT_FOUND),
        (("monthly", "CU1", "--period", "soon"), ExitCode.USAGE),
        ((), ExitCode.USAGE),
    ],
)
def test_a_name_that_leads_nowhere_is_told(msgrun: Program, arguments, code) -> None:
    done = msgrun("show-context", *arguments)

    assert done.code == code
    assert "Traceback" not in done.err


def test_every_name_that_templates_see_is_described() -> None:
    context = MessageContext(
        Customer("C", "N"), (), (Invoice("1", "C", "N", "Approved"),), (Document("1", "pdf", "f"),)
    )

    seen = variables_of(context, SenderInfo("", ""), RunInfo("", ""))

    kinds = {
        name: type(value[0]) if isinstance(value, list) else type(value)
        for name, value in seen.items()
    }
    assert kinds == {name: record for name, (record, _) in VARIABLES.items()}
    assert {name for name, value in seen.items() if isinstance(value, list)} == {
        name for name, (_, many) in VARIABLES.items() if many
    }
