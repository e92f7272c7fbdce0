"""An address that is plain to see is judged as the validator judges it."""

from email_validator import validate_email
from hypothesis import example, given, settings
from hypothesis import strategies as st

from msgrun.compose.mime import _ORDINARY, _validated, mailbox
from msgrun.errors import ComposeError
from msgrun.model import Address

LABEL = st.text(st.sampled_from("abz059-x"), max_size=66)
LOCAL = st.text(st.sampled_from("abz09._+-'Aé"), max_size=70)
DOMAIN = st.lists(LABEL | st.sampled_from(["com", "local", "arpa", "xn", "xn--a"]), max_size=6)
ADDRESSES = st.builds("{}@{}".format, LOCAL, DOMAIN.map(".".join))
LIKELY = st.from_regex(r"[a-z0-9.]{1,70}@([a-z0-9-]{1,66}\.){1,5}[a-z]{1,34}", fullmatch=True)


@settings(max_examples=1500, deadline=None)
@given(LIKELY | ADDRESSES)
@example("ann@acme.example")
@example("ann@acme.local")
@example("ann@local.test")
@example("ann@ab--c.de")
@example("ann@xn--a.de")
@example("info@acme.de")
@example("a" * 64 + "@" + "a" * 63 + ".de")
@example("a@" + "a." * 125 + "de")
@example("a@" + "a" * 64 + ".de")
def test_the_short_way_ends_where_the_long_one_does(address):
    try:
        short = mailbox(Address(address)).address
    except ComposeError as error:
        short = error.finding
    try:
        long = _validated(address)
    except ComposeError as error:
        long = error.finding

    assert short == long
    if _ORDINARY.fullmatch(address) and short == address:
        valid = validate_email(address, check_deliverability=False, test_environment=True)
        assert valid.ascii_email == address


def test_most_addresses_are_ordinary():
    for address in ("ann.other+x@mail.acme-works.co.uk", "a_b@acme.de", "1@2.io"):
        assert _ORDINARY.fullmatch(address)
