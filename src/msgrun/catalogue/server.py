"""Findings about the mail server (MR6xx)."""

from msgrun.catalogue.entry import CodeInfo

ENTRIES = (
    CodeInfo(
        "MR601",
        "Host, port, user or password not set",
        "error",
        "The mail server's settings are incomplete: the host, the port, the user name or the "
        "password is missing, or the place that should hold the password (an environment "
        "variable, a file, or the keyring) is empty. Without them no connection is tried and "
        "nothing is sent. The evidence shows each setting and where it comes from, never the "
        "password.",
        "Complete `[servers.NAME]` in `msgrun.toml`. When `password_env` is used, set that "
        "variable in the environment in which msgrun runs; cron jobs and services have their "
        "own environment.",
    ),
    CodeInfo(
        "MR602",
        "Host name does not resolve",
        "error",
        "The name of the mail server could not be turned into a network address, so no "
        "connection was tried. Either the name is mistyped, or the name service (DNS) of this "
        "computer does not know it, which is common with names that exist only inside a "
        "company network. Nothing was sent, and the messages have lost no try. The evidence "
        "shows the name and the answer.",
        "Correct `host` under `[servers.NAME]`, or connect to the network in which that name "
        "is known. Then run `msgrun restart RUN`.",
    ),
    CodeInfo(
        "MR603",
        "Connection refused or timed out",
        "error",
        'The mail server\'s address is known, but no connection came about. "Refused" means '
        'that nothing listens on that port; "timed out" usually means that a firewall drops '
        "the connection. Many providers and clouds block port 25 for outgoing mail. Nothing "
        "was sent, and the messages have lost no try. The evidence shows each address tried, "
        "the error and the time it took.",
        'Check `host` and `port` under `[servers.NAME]`; port 587 with `security = "starttls"` '
        "is the usual choice for sending. Ask the network administrator whether this computer "
        "may connect to it. Then run `msgrun restart RUN`.",
    ),
    CodeInfo(
        "MR604",
        "Only one address family works",
        "warning",
        "The mail server has both an IPv4 and an IPv6 address, and only one of them can be "
        "reached from here. Messages go out through the one that works, but each new "
        "connection may first wait for the other. The evidence shows both.",
        "Repair the other one in the network, or remove its wrong record from the name service "
        "(DNS).",
    ),
    CodeInfo(
        "MR605",
        "No banner, late banner, or not SMTP",
        "error",
        "The connection was made, but the other side did not greet as a mail server does (a "
        "line that begins with 220), or did so too late. Either another kind of service "
        "listens on that port, or the port expects encryption from the first byte, or the "
        "server does not allow this computer to connect. Nothing was sent. The evidence shows "
        "what came, and after how long.",
        'Check `port` under `[servers.NAME]`: 465 needs `security = "tls"`, 587 needs '
        '`security = "starttls"`. If they are right, ask the mail administrator whether this '
        "computer's address is allowed.",
    ),
    CodeInfo(
        "MR606",
        "TLS mode does not fit the port",
        "error",
        "The setting `security` does not fit what the server does on this port. With `tls` the "
        "connection is encrypted (by the protocol TLS) from the first byte; with `starttls` it "
        "begins in clear and changes over. msgrun never guesses the mode and never falls back "
        "to an unencrypted one. Nothing was sent. The evidence shows the port, the mode set, "
        "and how the other mode fared.",
        'Use `security = "tls"` with port 465, and `security = "starttls"` with port 587, '
        "under `[servers.NAME]`.",
    ),
    CodeInfo(
        "MR607",
        "STARTTLS not offered",
        "error",
        "The settings demand an encrypted connection by STARTTLS, but the mail server does not "
        "offer it. Either this port of the server has no encryption, or some device between "
        "here and the server removes the offer. msgrun then sends neither the password nor any "
        "message in clear. The evidence shows what the server offered.",
        'Use the port on which the server offers TLS: usually 465 with `security = "tls"`, or '
        '587 with `security = "starttls"`. If it should be offered here, ask the network '
        "administrator about a filter that changes mail connections.",
    ),
    CodeInfo(
        "MR608",
        "Certificate: other host name",
        "error",
        "The server's certificate, the proof of its identity, is for other names than the "
        "`host` set in `msgrun.toml`. Either the server is addressed by an alias or by a bare "
        "IP address, or the connection ended at another machine. Nothing was sent, and the "
        "password was not shown to it. The evidence lists the names in the certificate.",
        "Set `host` under `[servers.NAME]` to a name that is in the certificate and belongs to "
        "your mail server, or have a certificate issued for the name you use.",
    ),
    CodeInfo(
        "MR609",
        "Certificate expired",
        "error",
        "The validity of the server's certificate, the proof of its identity, has ended. Such "
        "a server cannot be trusted, so no connection is made and nothing is sent. The "
        "evidence shows the dates. If the certificate looks valid to others, the clock of this "
        "computer may be wrong.",
        "Have the mail administrator renew the certificate, and check the clock of this "
        "computer. Then run `msgrun restart RUN`.",
    ),
    CodeInfo(
        "MR610",
        "Certificate not yet valid",
        "error",
        "The validity of the server's certificate, the proof of its identity, begins in the "
        "future. Most often the clock of this computer is behind; sometimes the certificate "
        "was just issued. No connection is made and nothing is sent. The evidence shows the "
        "dates and the time of this computer.",
        "Set the clock of this computer, best automatically (NTP). If it is right, ask the "
        "mail administrator. Then run `msgrun restart RUN`.",
    ),
    CodeInfo(
        "MR611",
        "Certificate from an unknown issuer",
        "error",
        "The server's certificate, the proof of its identity, was issued by an authority that "
        "this computer does not trust. That is usual for a server inside a company with an "
        "authority of its own, and for certificates that a server issued to itself. It can "
        "also mean that somebody stands in between. Nothing was sent, and the password was not "
        "shown. The evidence names the issuer.",
        "Ask for the certificate of your company's authority and set `ca_file` under "
        "`[servers.NAME]` to that file. Do not switch off the check.",
    ),
    CodeInfo(
        "MR612",
        "Certificate expires within 14 days",
        "warning",
        "The mail server's certificate is valid now, but not for much longer. On the day it "
        "expires, every connection will be refused (MR609) and runs will pause. Messages are "
        "sent all the same until then. The evidence shows the date.",
        "Ask the server's administrator to renew the certificate before that date.",
    ),
    CodeInfo(
        "MR613",
        "TLS older than 1.2",
        "error",
        "The mail server offers encryption only in a version older than TLS 1.2. Those "
        "versions are no longer safe (RFC 8996), so no connection is made and nothing is sent. "
        "The evidence shows the version offered.",
        "Ask the mail administrator to switch on TLS 1.2 or 1.3, or use another mail server.",
    ),
    CodeInfo(
        "MR614",
        "AUTH not offered, or no common mechanism",
        "error",
        "A user name and password are set, but the mail server does not let msgrun log in: it "
        "offers no login on this connection, or only methods that msgrun does not have, such "
        "as OAuth. Many servers offer login only on an encrypted connection. Nothing was sent. "
        "The evidence shows the methods offered and those msgrun has.",
        "Set `security` to `tls` or `starttls`, with port 465 or 587. If the server accepts "
        "messages from this computer without a login, remove `username`. If it offers only "
        "OAuth, ask its administrator for a relay that takes user name and password.",
    ),
    CodeInfo(
        "MR615",
        "AUTH refused",
        "error",
        "The mail server did not accept the user name and password. Besides a wrong password "
        "there are other common causes: a provider that wants an app password (Gmail), or an "
        "account for which sending by SMTP is switched off (Microsoft 365). This is a fault of "
        "the settings, not of any message: the run pauses and no message loses a try. The "
        "evidence shows the reply and the user name, never the password.",
        "Check the user name and the place of the password under `[servers.NAME]`. For Gmail "
        "create an app password; for Microsoft 365 have the administrator switch on "
        "authenticated SMTP for the mailbox. Then run `msgrun restart RUN`.",
    ),
    CodeInfo(
        "MR616",
        "Sender refused",
        "error",
        "The mail server does not let this login send with this From address. Usually the "
        "account may only send as itself, or the sender's domain was not verified with the "
        "provider. It concerns every message of this sender. The evidence shows the server's "
        "reply word for word.",
        "Have the right to send as this address given to the account, have the domain "
        "verified, or set `address` under `[senders.NAME]` to one that the account may use. "
        "Then run `msgrun restart RUN`.",
    ),
    CodeInfo(
        "MR617",
        "Recipient refused by our own server",
        "error",
        "Your own mail server refuses to take messages for this recipient, before they ever go "
        "to the customer's server. Either it does not pass on messages for this computer or "
        'login ("relay access denied"), or it knows that the address does not exist. The '
        "evidence shows the reply; it was seen in a trial without sending a message.",
        "When the reply speaks of relaying, set `username` and the password under "
        "`[servers.NAME]`, or ask the mail administrator to allow this computer. When it says "
        "that the user is unknown, correct the address in the billing data.",
    ),
    CodeInfo(
        "MR618",
        "Throttled",
        "warning",
        "The mail server asks to send more slowly: too many messages, connections or logins in "
        "a short time, or the quota of the day is used up. It says nothing against the single "
        "message. msgrun backs off and pauses the run if the server insists, and no message "
        "loses a try. The evidence shows the reply and the rate that is set.",
        "Lower `rate_per_minute` and `connections` under `[servers.NAME]` to what the provider "
        "allows. Then run `msgrun restart RUN`; when a quota of the day is used up, on the "
        "next day.",
    ),
    CodeInfo(
        "MR619",
        "EHLO name is not a full host name",
        "warning",
        "When it connects, msgrun tells the mail server its own name. The name it gave is not a "
        "full host name (such as `mail.example.com`), and this server minds: some refuse the "
        "connection, others count it against the sender. The evidence shows the server's reply.",
        "Set `ehlo` under `[servers.NAME]` to the full host name of this computer.",
    ),
    CodeInfo(
        "MR620",
        "Certificate check switched off",
        "warning",
        "The setting `verify = false` makes msgrun accept any certificate from the mail "
        "server. The connection is still encrypted, but nobody knows with whom: somebody in "
        "between could read the password and every invoice. Messages are sent all the same.",
        "Remove `verify = false` from `[servers.NAME]`. If the server's certificate comes from "
        "your company's own authority, set `ca_file` to the certificate of that authority.",
    ),
)
