"""Delivery status notifications as mail servers write them."""

from collections.abc import Sequence

FAILED = ("5.1.1", "550 5.1.1 <{address}>: Recipient address rejected: User unknown")


def notice(
    message_id: str,
    addresses: Sequence[str],
    *,
    status: str = FAILED[0],
    diagnostic: str = FAILED[1],
    action: str = "failed",
    envelope_id: str = "",
    headers_only: bool = False,
) -> bytes:
    """Return what Postfix sends back for a message that did not reach some addresses."""
    recipients = "".join(
        f"\nFinal-Recipient: rfc822; {address}\n"
        f"Original-Recipient: rfc822;{address}\n"
        f"Action: {action}\n"
        f"Status: {status}\n"
        "Remote-MTA: dns; mx.customer.test\n"
        f"Diagnostic-Code: smtp; {diagnostic.format(address=address)}\n"
        for address in addresses
    )
    envelope = f"Original-Envelope-Id: {envelope_id}\n" if envelope_id else ""
    returned = f"From: billing@acme.test\nSubject: Invoice\nMessage-ID: {message_id}\n"
    kind = "text/rfc822-headers" if headers_only else "message/rfc822"
    body = "" if headers_only else "\nThe invoice.\n"
    text = f"""\
Return-Path: <>
From: MAILER-DAEMON@relay.test (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: billing@acme.test
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="F0.1/relay.test"

This is a MIME-encapsulated message.

--F0.1/relay.test
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

I'm sorry to have to inform you that your message could not be delivered.

--F0.1/relay.test
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.test
{envelope}X-Postfix-Queue-ID: F0
Arrival-Date: Tue,  3 Nov 2026 07:00:00 +0000 (UTC)
{recipients}
--F0.1/relay.test
Content-Description: Undelivered Message
Content-Type: {kind}

{returned}{body}
--F0.1/relay.test--
"""
    return text.encode()
