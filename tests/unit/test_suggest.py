"""Which known name a mistyped one most probably meant."""

import pytest

from msgrun.suggest import did_you_mean, near_miss, nearest, plain, same_when_normalised


@pytest.mark.parametrize(
    "written",
    [
        "invoice ",
        " invoice",
        "in voice",
        "Invoice",
        "INVOICES",
        "invoices",
        "inv\u043eice",  # Cyrillic o
        "\u0399nvoice",  # Greek capital iota
        "invoice\u200b",  # zero width space
        "invoice\u00a0",  # no-break space
        "ｉｎｖｏｉｃｅ",  # full width
    ],
)
def test_names_that_look_the_same_are_the_same_when_normalised(written: str) -> None:
    assert same_when_normalised(written, "invoice")
    assert near_miss(written, ["billing", "invoice", "invo"]) == "invoice"


@pytest.mark.parametrize(
    ("a", "b"), [("invoice", "invoce"), ("dunning", "invoice"), ("e", "es"), ("gas", "ga")]
)
def test_names_that_differ_are_not_the_same(a: str, b: str) -> None:
    assert not same_when_normalised(a, b)


def test_plurals_of_either_kind_are_the_same_as_their_singular() -> None:
    assert same_when_normalised("addresses", "address")
    assert same_when_normalised("Boxes", "box")


def test_a_slip_of_a_letter_is_a_near_miss() -> None:
    assert near_miss("invoce", ["dunning", "invoice"]) == "invoice"
    assert near_miss("invioce", ["dunning", "invoice"]) == "invoice"


def test_a_known_name_is_no_near_miss_of_another() -> None:
    assert near_miss("invoice", ["invoices", "invoice"]) is None


@pytest.mark.parametrize(("word", "known"), [("cc", "bcc"), ("invoice", "invoicing"), ("a", "b")])
def test_names_further_apart_are_no_near_miss(word: str, known: str) -> None:
    assert near_miss(word, [known]) is None


def test_three_slips_are_no_near_miss_however_long_the_name_is() -> None:
    assert near_miss("monthly-invoice-europXYZ", ["monthly-invoice-europabc"]) is None


def test_the_nearest_names_come_first_and_are_limited() -> None:
    known = ["host", "import", "ports", "port", "report"]

    assert nearest("portt", known)[:2] == ["port", "ports"]
    assert len(nearest("portt", known, 2)) == 2
    assert nearest("xyz", known) == []


def test_did_you_mean_names_the_nearest_or_else_lists_what_is_known() -> None:
    assert did_you_mean("portt", ["host", "port"]) == "did you mean 'port'?"
    assert did_you_mean("xyz", ["host", "port"]) == "known: host, port"
    assert did_you_mean("xyz", []) == ""
    assert did_you_mean("xyz", (f"{n:02}" for n in range(12))).endswith("08, 09 and 2 more")


def test_a_suggestion_shows_what_the_eye_does_not_see() -> None:
    assert did_you_mean("invoice", ["invoice\u200b "]) == "did you mean 'invoice\\u200b '?"
    assert did_you_mean("xyz", ["a\x1b[31m"]) == "known: 'a\\x1b[31m'"


def test_plain_spells_names_as_people_type_them():
    assert plain("Müller GmbH") == "muller gmbh"
    assert plain("Conceição") == "conceicao"
