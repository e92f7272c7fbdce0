"""What is read out of delivery status notifications, and out of what only looks like one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msgrun.bounces.dsn import Failure, Notice, read_notice
from notices import notice

ID = "<7.0a1b@acme.test>"

# Exchange Online writes several lines of one field, and no Original-Recipient.
EXCHANGE = b"""\
From: postmaster@acme.test
Subject: Undeliverable: Invoice
Content-Type: multipart/report; boundary="x"; report-type="delivery-status"

--x
Content-Type: text/html

<p>Your message could not be delivered.</p>
--x
Content-Type: message/delivery-status

Reporting-MTA: dns;AM0.prod.outlook.test
Original-Envelope-Id: 7.0a1b@acme.test

Final-Recipient: rfc822;full@customer.test
Action: failed
Status: 5.2.2
Diagnostic-Code: smtp;554 5.2.2 mailbox full;
 STOREDRV.Deliver.Exception:QuotaExceededException

Final-Recipient: rfc822;fine@customer.test
Action: relayed
Status: 2.0.0
--x
Content-Type: text/rfc822-headers

Message-ID:
 <7.0a1b@acme.test>
Subject: Invoice
--x--
"""


RECEIPT = b"""\
Content-Type: multipart/report; report-type=disposition-notification; boundary=x

--x
Content-Type: message/disposition-notification

Disposition: automatic-action/MDN-sent-automatically; displayed
--x--
"""


def test_a_postfix_notice_names_message_recipient_status_and_words() -> None:
    found = read_notice(notice(ID, ["a@customer.test"]))

    words = "550 5.1.1 <a@customer.test>: Recipient address rejected: User unknown"
    failure = Failure("a@customer.test", "failed", "5.1.1", words, "mx.customer.test")
    assert found == Notice(ID, "", (failure,))
    assert failure.hard


def test_folded_fields_and_recipients_that_were_reached() -> None:
    found = read_notice(EXCHANGE)

    assert found is not None
    assert (found.message_id, found.envelope_id) == (ID, "7.0a1b@acme.test")
    (failure,) = found.failures
    assert failure.address == "full@customer.test"
    assert failure.diagnostic.endswith("mailbox full; STOREDRV.Deliver.Exception:"
                                       "QuotaExceededException")  # fmt: skip
    assert not failure.hard, "the mailbox is there"


def test_the_headers_alone_are_enough() -> None:
    found = read_notice(notice(ID, ["a@customer.test"], headers_only=True))

    assert found is not None
    assert found.message_id == ID


def test_a_delay_is_not_final() -> None:
    found = read_notice(notice(ID, ["a@customer.test"], action="delayed", status="4.4.1"))

    assert found is not None
    assert not found.failures[0].final
    assert not found.failures[0].hard


@pytest.mark.parametrize(
    "mail",
    [
        b"",
        b"Subject: Out of office\n\nI am away.\n",
        RECEIPT,
        notice(ID, ["a@customer.test"], action="delivered", status="2.0.0"),
        notice(ID, []),
    ],
)
def test_what_tells_of_no_failure_is_no_notice(mail: bytes) -> None:
    assert read_notice(mail) is None


def test_a_notice_inside_the_returned_message_is_not_read() -> None:
    inner = notice("<other@acme.test>", ["victim@customer.test"]).decode()
    outer = "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: message/rfc822\n\n"
    mail = f"{outer}{inner}\n--o--\n"

    assert read_notice(mail.encode()) is None


def test_nothing_in_it_can_play_tricks_on_a_terminal() -> None:
    mail = notice(ID, ["a@customer.test"], diagnostic="550 \x1b[2J\u202egone")

    found = read_notice(mail)

    assert found is not None
    assert found.failures[0].diagnostic.isprintable()


@given(st.binary(max_size=2000))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    read_notice(data)
    read_notice(notice(ID, ["a@customer.test"])[:700] + data)
