"""TLS towards the mail server: what we demand, and what a failed handshake means."""

import ssl
from pathlib import Path
from typing import Final

DAY: Final = 86400
EXPIRY_WARNING_DAYS: Final = 14

CERTIFICATE_FINDINGS: Final = {
    62: "MR608",  # X509_V_ERR_HOSTNAME_MISMATCH
    64: "MR608",  # X509_V_ERR_IP_ADDRESS_MISMATCH
    10: "MR609",  # X509_V_ERR_CERT_HAS_EXPIRED
    9: "MR610",  # X509_V_ERR_CERT_NOT_YET_VALID
}
"""OpenSSL's verify codes; every other one is about the issuer (MR611)."""

NOTHING_IN_COMMON: Final = (
    "UNSUPPORTED_PROTOCOL",
    "PROTOCOL_VERSION",
    "NO_PROTOCOLS",
    "VERSION_TOO_LOW",
    "HANDSHAKE_FAILURE",
)
"""Parts of OpenSSL's reasons when the server has no TLS 1.2 with a cipher of today."""


def client_context(ca_file: Path | None, verify: bool) -> ssl.SSLContext:
    """Return a context that speaks TLS 1.2 or later.

    Args:
        ca_file: the only certificates to trust; None for the system's.
        verify: whether the certificate and its host name are checked.

    Raises:
        OSError: `ca_file` cannot be read, or holds no certificate.
    """
    context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def handshake_finding(exc: BaseException, *, implicit: bool) -> tuple[str, str]:
    """Return the finding and the text of a failed handshake.

    Args:
        exc: what the handshake raised.
        implicit: whether TLS came first (`tls`), rather than after STARTTLS.
    """
    if isinstance(exc, ssl.SSLCertVerificationError):
        finding = CERTIFICATE_FINDINGS.get(exc.verify_code, "MR611")
        return finding, f"certificate: {exc.verify_message} (verify code {exc.verify_code})"
    if isinstance(exc, ssl.SSLError):
        reason = exc.reason or str(exc)
        if any(part in reason for part in NOTHING_IN_COMMON):
            return "MR613", f"no common TLS version from 1.2 on: {reason}"
        if implicit:
            return "MR606", f"the server does not begin with TLS: {reason}"
        return "MR606", f"TLS failed after STARTTLS: {reason}"
    finding = "MR606" if implicit else "MR603"
    return finding, f"the TLS handshake was not answered: {str(exc) or type(exc).__name__}"


def describe(secured: ssl.SSLObject, now: float) -> list[str]:
    """Return version, cipher and certificate of a TLS connection, as evidence.

    Args:
        now: seconds since the epoch.
    """
    cipher = secured.cipher()
    evidence = [f"{secured.version()}, {cipher[0] if cipher else 'no cipher'}"]
    certificate = secured.getpeercert()
    if certificate:
        names = ", ".join(str(name[1]) for name in certificate.get("subjectAltName", ()))
        until = str(certificate["notAfter"])
        days = int(_left(until, now) // DAY)
        left = f"{days} day{'' if days == 1 else 's'} left"
        evidence.append(f"certificate for {names} until {until}, {left}")
    return evidence


def expires_soon(secured: ssl.SSLObject, now: float) -> bool:
    """Whether the server's certificate expires within 14 days of `now` (MR612)."""
    certificate = secured.getpeercert()
    if not certificate:
        return False
    return _left(str(certificate["notAfter"]), now) < EXPIRY_WARNING_DAYS * DAY


def _left(until: str, now: float) -> float:
    """Return the seconds to a time as certificates have it."""
    return ssl.cert_time_to_seconds(until) - now
