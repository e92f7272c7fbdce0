"""Logging in to a mail server (RFC 4954): with a password, or with an access token (XOAUTH2)."""

import asyncio
import base64
from typing import Final

import aiosmtplib
from pydantic import SecretStr

from msgrun.model import Stage
from msgrun.transport.server import ConnectionFault, ServerSettings
from msgrun.transport.tokens import TokenError, TokenSource

UNKNOWN_MECHANISM: Final = frozenset({500, 501, 502, 504})


class Login:
    """Logs in on one connection, and knows what must not be shown of it.

    Args:
        settings: of the server.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._where = f"{settings.host}:{settings.port}"
        self._token: SecretStr | None = None

    async def log_in(self, smtp: aiosmtplib.SMTP, username: str) -> str:
        """Log in; return how, for people.

        Raises:
            ConnectionFault: the server offers no mechanism of ours, or there is no token.
            aiosmtplib.SMTPException: the server refuses, or the connection is lost.
        """
        if self._settings.tokens is not None:
            return await self._by_token(smtp, username, self._settings.tokens)
        return await self._by_password(smtp, username)

    async def _by_password(self, smtp: aiosmtplib.SMTP, username: str) -> str:
        secret = self._settings.password
        password = secret.get_secret_value() if secret else ""
        encrypted = self._settings.security != "none"
        ours = ("plain", "login", "cram-md5") if encrypted else ("cram-md5", "plain", "login")
        common = [mechanism for mechanism in ours if mechanism in smtp.server_auth_methods]
        for mechanism in common:
            login = getattr(smtp, f"auth_{mechanism.replace('-', '')}")
            try:
                await login(username, password)
            except aiosmtplib.SMTPAuthenticationError as exc:
                # One try a connection, or a wrong password locks the account.
                if exc.code in UNKNOWN_MECHANISM and mechanism != common[-1]:
                    continue
                raise
            return f"{mechanism.upper()} as {username}"
        raise self._not_offered(smtp, "PLAIN, LOGIN or CRAM-MD5 is needed")

    async def _by_token(self, smtp: aiosmtplib.SMTP, username: str, tokens: TokenSource) -> str:
        if "xoauth2" not in smtp.server_auth_methods:
            raise self._not_offered(smtp, "a token needs XOAUTH2")
        try:
            # The command may take seconds: in a thread, for the other connections' sake.
            token = self._token = await asyncio.to_thread(tokens.token)
        except TokenError as exc:
            text = f"{self._where}: no access token for {username}: {exc.message}"
            raise ConnectionFault(Stage.AUTH, "MR601", None, text) from None
        try:
            await smtp.auth_xoauth2(username, token.get_secret_value())
        except aiosmtplib.SMTPAuthenticationError:
            tokens.forget()
            raise
        return f"XOAUTH2 as {username}"

    def _not_offered(self, smtp: aiosmtplib.SMTP, needed: str) -> ConnectionFault:
        offered = ", ".join(smtp.server_auth_methods).upper() or "no AUTH"
        return ConnectionFault(
            Stage.AUTH, "MR614", None, f"{self._where} offers {offered}; {needed}"
        )

    def without_secret(self, text: str) -> str:
        """Take password or token, plain or as AUTH encodes it, out of what the server echoes."""
        username = self._settings.username or ""
        given = (
            (self._settings.password, f"\0{username}\0", ""),
            (self._token, f"user={username}\1auth=Bearer ", "\1\1"),
        )
        for secret, before, behind in given:
            value = secret.get_secret_value() if secret else ""
            if value:
                for form in (before + value + behind, value):
                    text = text.replace(base64.b64encode(form.encode()).decode(), "***")
                text = text.replace(value, "***")
        return text
