"""Findings about mail domains in the name service (MR8xx)."""

from msgrun.catalogue.entry import CodeInfo

ENTRIES = (
    CodeInfo(
        "MR801",
        "Recipient's domain does not exist",
        "error",
        "The name service (DNS) says that the domain of the address, the part behind the @, does "
        "not exist. Usually it is mistyped, or the company has given it up. Nothing can be "
        "delivered there, though your own server may accept the message first and send it back "
        "later. The evidence shows the look-up and its answer.",
        "Correct the address in the billing data. If the domain is new, wait until it is "
        "published; then run `msgrun restart RUN --failed`.",
    ),
    CodeInfo(
        "MR802",
        "Null MX",
        "error",
        'The domain of the address publishes the record "MX 0 .", which says that it takes no '
        "mail at all (RFC 7505). It exists, but has no mailboxes. Any message to it is refused. "
        "The evidence shows the record.",
        "Ask the customer for an address under another domain.",
    ),
    CodeInfo(
        "MR803",
        "No MX, A or AAAA",
        "error",
        "The domain of the address exists, but names no host that takes its mail: it has no MX "
        "record and no address of its own, or the hosts in its MX records have no address. "
        "Nothing can be delivered there. The evidence lists the look-ups.",
        "Correct the address in the billing data, or tell the customer that the domain cannot "
        "receive mail. Its administrator needs a record such as "
        '"acme.net. IN MX 10 mail.acme.net.".',
    ),
    CodeInfo(
        "MR811",
        "SPF: none",
        "warning",
        "The domain of the From address publishes no SPF record, the list of hosts that may send "
        "for it (RFC 7208). Receivers cannot tell its mail from a forgery by SPF, and large "
        "providers may refuse it or put it in the spam folder. A relay that uses a domain of its "
        "own for bounces may still pass. The evidence shows the look-up.",
        "Have the administrator of the domain publish a record such as "
        '"acme.net. IN TXT "v=spf1 ip4:ADDRESS ~all"", with the outbound address or the include '
        "that your relay asks for.",
    ),
    CodeInfo(
        "MR812",
        "SPF: several",
        "warning",
        'The domain of the From address publishes more than one record that begins with "v=spf1". '
        "Receivers then take none of them (RFC 7208, 4.5), as if SPF had failed with an error. "
        "The evidence shows the records word for word.",
        "Merge them into one record, as the doctor proposes, and remove the others.",
    ),
    CodeInfo(
        "MR813",
        "SPF: over 10 look-ups, or a loop",
        "warning",
        "Evaluating the SPF record takes more than 10 look-ups, or more than 2 that find nothing, "
        "or a record includes itself. Receivers give up there and count it as an error "
        "(RFC 7208, 4.6.4), whichever server sends. The evidence shows how many look-ups there "
        "are and the record.",
        "Remove what is not used any more, and put addresses (`ip4:`, `ip6:`) in place of "
        "`include:`, `a`, `mx`, `ptr`, `exists:` and `redirect=`, which need a look-up each.",
    ),
    CodeInfo(
        "MR814",
        "SPF: declared outbound IP does not pass",
        "warning",
        "An address declared as `outbound_ips` of the server may not send for the domain of the "
        "From address: its SPF record does not let it pass, or has a mistake so that nothing "
        "passes. Receivers then rely on DKIM alone, and may refuse the message. The evidence "
        "names the mechanism that decided, and shows the record word for word.",
        "Add the address to the record, for example "
        '"acme.net. IN TXT "v=spf1 ip4:ADDRESS …"", or correct `outbound_ips` under '
        "`[servers.NAME]`.",
    ),
    CodeInfo(
        "MR821",
        "DKIM: selector's record missing",
        "warning",
        "A selector is declared under which the signer's public key should be published, but DNS "
        "has no such record. Signatures made with that key cannot be verified, and count as none. "
        "The evidence shows the name that was looked up.",
        "Publish the key that your signer shows, as in "
        '"SELECTOR._domainkey.acme.net. IN TXT "v=DKIM1; k=rsa; p=…"", or correct '
        "`dkim_selectors` or `dkim_domain` under `[senders.KEY]`.",
    ),
    CodeInfo(
        "MR822",
        "DKIM: bad key",
        "warning",
        "The record of a declared DKIM selector cannot be used: it is malformed, its key was "
        "revoked (an empty p=), is shorter than 1024 bits (RFC 8301), or is there twice. "
        "Signatures made with it count as none. The evidence shows what is wrong and the record "
        "word for word.",
        "Publish the signer's key again, whole and in one record: "
        '"SELECTOR._domainkey.acme.net. IN TXT "v=DKIM1; k=rsa; p=…"". Use an RSA key of 2048 '
        "bits.",
    ),
    CodeInfo(
        "MR823",
        "DKIM: a received sample does not verify or align",
        "warning",
        "In the received message given with `--headers`, no DKIM signature both verifies and "
        "speaks for the domain of the From address. Either the relay does not sign, or signs for "
        "another domain, or something changed the message afterwards; also a mail program that "
        "saves a message can change it. The evidence shows each signature with what is wrong, "
        "and the key's record.",
        "Have the relay sign with a key of the From domain, after everything that changes the "
        "message. Save the sample anew with all header fields, as the receiver stored it.",
    ),
    CodeInfo(
        "MR831",
        "DMARC: none",
        "warning",
        "Neither the domain of the From address nor one above it publishes a DMARC policy, which "
        "says what receivers should do with mail that is not shown to be its own (RFC 9989). "
        "Google, Yahoo and Microsoft want one from whoever sends much. The evidence shows each "
        "look-up, from the domain up.",
        'Publish a record, to begin with "_dmarc.acme.net. IN TXT "v=DMARC1; p=none; '
        'rua=mailto:dmarc@acme.net"".',
    ),
    CodeInfo(
        "MR832",
        "DMARC: invalid",
        "warning",
        "The DMARC record has a mistake: it does not begin with exactly v=DMARC1, there are "
        "several, or a tag has a value that is not allowed. Receivers ignore what they cannot "
        "read, or the whole record (RFC 9989, 4.7). The evidence shows what is wrong and the "
        "record word for word.",
        'Publish one correct record, as in "_dmarc.acme.net. IN TXT "v=DMARC1; p=none; '
        'rua=mailto:dmarc@acme.net"".',
    ),
    CodeInfo(
        "MR833",
        "Neither SPF nor DKIM aligned with From",
        "warning",
        "Receivers cannot tie the message to the domain of its From address: neither SPF (which "
        "hosts may send for a domain) nor DKIM (a signature) passes for that domain. It is an "
        "error where the domain's DMARC policy asks to reject such mail, and large providers "
        "refuse it anyway. The evidence shows the server's reply, or the domains and the policy.",
        "Let the administrator of your mail domain publish SPF for the relay that sends for it, "
        "and have the relay sign with DKIM for that domain. Then run `msgrun restart RUN "
        "--failed`.",
    ),
    CodeInfo(
        "MR841",
        "Declared outbound IP has no confirmed PTR",
        "warning",
        "The address from which your mail reaches the receivers has no name in DNS (a PTR "
        "record), or a name that does not lead back to it. Many receivers refuse mail from such "
        "an address. That concerns the relay's own network address, not the recipient. The "
        "evidence shows the server's reply, or the look-ups.",
        "Ask the provider of the outbound address for a PTR record that matches its host name, "
        "or send through a relay that has one. Then run `msgrun restart RUN --failed`.",
    ),
    CodeInfo(
        "MR842",
        "Free-mail From through another server",
        "warning",
        "The From address is a mailbox of a free-mail provider, but the messages leave by another "
        "server. That server can neither pass SPF nor sign for the provider's domain, so "
        "receivers take the message for a forgery, and many refuse it. The evidence shows the "
        "address and the server.",
        "Send from an address under a domain of your own: set `address` under `[senders.KEY]`, "
        "and `reply_to` to the free mailbox if answers should go there.",
    ),
    CodeInfo(
        "MR843",
        "Over the bulk threshold of a provider",
        "info",
        "The run has so many recipients at Google, Yahoo or Microsoft that their rules for bulk "
        "senders hold (5,000 messages a day). They then want SPF, DKIM and DMARC, all three, and "
        "a low rate of complaints. Nothing is wrong by that alone. The evidence shows the number "
        "for each provider.",
        "See that SPF, DKIM and DMARC are in order, and lower `rate_per_minute` under "
        "`[servers.NAME]` for the first runs.",
    ),
)
