"""What SQLite's GLOB takes for plain is what the regular expression takes, too."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, literal, select

from msgrun.eligibility import ADDRESS_PATTERN
from msgrun.plain import PlainAddress, PlainDecimal
from msgrun.source.contract import DECIMAL

ENGINE = create_engine("sqlite://")


def plain(kind: type[PlainAddress] | type[PlainDecimal], value: str) -> bool:
    with ENGINE.connect() as connection:
        return bool(connection.execute(select(kind(literal(value)))).scalar_one())


@given(st.text("aZ9.@-+_ ,;\0\né'", max_size=12))
def test_no_address_is_plain_that_the_rule_would_not_take(value: str) -> None:
    if plain(PlainAddress, value):
        assert re.search(ADDRESS_PATTERN, value)


@given(st.text("09.-+e \0\n", max_size=8))
def test_no_total_is_plain_that_the_contract_would_not_take(value: str) -> None:
    if plain(PlainDecimal, value):
        assert re.search(DECIMAL, value)


@pytest.mark.parametrize("value", ["a@b.test", "first.last+tag@mail-1.example.co.uk"])
def test_usual_addresses_are_plain(value: str) -> None:
    assert plain(PlainAddress, value)


@pytest.mark.parametrize("value", ["0", "12.50", "1000"])
def test_usual_totals_are_plain(value: str) -> None:
    assert plain(PlainDecimal, value)


@pytest.mark.parametrize("value", ["a@b.test\0, c@d.test", "a@b", "a@.b.c", "a@b.c.", "a@b@c.d"])
def test_what_is_no_address_is_not_plain(value: str) -> None:
    assert not plain(PlainAddress, value)
